//! Status conditions, with the rules of apimachinery's `SetStatusCondition`. Pure.

use std::collections::BTreeMap;

pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It cannot be told.
    Unknown,
}

impl Status {
    /// The text of this status in a condition.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }

    /// The status of this text in a condition.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::True, Self::False, Self::Unknown]
            .into_iter()
            .find(|status| status.as_str() == text)
    }
}

impl From<bool> for Status {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// A condition as it shall be from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCondition {
    /// Its type, in `CamelCase`.
    pub type_: String,
    /// Whether it holds.
    pub status: Status,
    /// Why, as one word in `CamelCase`; the API server refuses an empty one.
    pub reason: String,
    /// Why, for people.
    pub message: String,
    /// The `metadata.generation` of the object that this was concluded from.
    pub observed_generation: Option<i64>,
}

/// The condition of this type.
#[must_use]
pub fn find<'list>(conditions: &'list [Condition], type_: &str) -> Option<&'list Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Whether the condition of this type is there and holds.
#[must_use]
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    find(conditions, type_).is_some_and(|condition| condition.status == Status::True.as_str())
}

/// Whether the condition of this type is there, holds, and was concluded from this generation of the object.
#[must_use]
pub fn is_true_for(conditions: &[Condition], type_: &str, generation: Option<i64>) -> bool {
    find(conditions, type_).is_some_and(|condition| {
        condition.status == Status::True.as_str()
            && generation.is_some()
            && condition.observed_generation == generation
    })
}

/// The old conditions with the new ones put in their place, ordered by type. Those of other types are kept.
#[must_use]
pub fn merge(
    old: &[Condition],
    new: impl IntoIterator<Item = NewCondition>,
    now: Timestamp,
) -> Vec<Condition> {
    by_type(
        old.iter()
            .cloned()
            .chain(new.into_iter().map(|new| follow(old, new, now))),
    )
}

/// The new conditions only, ordered by type; from the old ones they take their transition times.
#[must_use]
pub fn replace(
    old: &[Condition],
    new: impl IntoIterator<Item = NewCondition>,
    now: Timestamp,
) -> Vec<Condition> {
    by_type(new.into_iter().map(|new| follow(old, new, now)))
}

/// The last condition of each type, ordered by type.
fn by_type(conditions: impl Iterator<Item = Condition>) -> Vec<Condition> {
    conditions
        .map(|condition| (condition.type_.clone(), condition))
        .collect::<BTreeMap<_, _>>()
        .into_values()
        .collect()
}

/// The new condition with its transition time: that of the old one while the status is the same, else now.
fn follow(old: &[Condition], new: NewCondition, now: Timestamp) -> Condition {
    let status = new.status.as_str();
    let unchanged = find(old, &new.type_).filter(|condition| condition.status == status);
    let last_transition_time = unchanged.map_or_else(
        || whole_seconds(now),
        |condition| condition.last_transition_time.clone(),
    );
    Condition {
        last_transition_time,
        message: new.message,
        observed_generation: new.observed_generation,
        reason: new.reason,
        status: status.to_owned(),
        type_: new.type_,
    }
}

/// The API server keeps whole seconds only: with fractions, what comes back would never equal what was sent.
fn whole_seconds(time: Timestamp) -> Time {
    Time(Timestamp::from_second(time.as_second()).unwrap_or(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EARLY: &str = "2026-11-23T10:00:00Z";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn new(type_: &str, status: Status, reason: &str) -> NewCondition {
        NewCondition {
            type_: type_.to_owned(),
            status,
            reason: reason.to_owned(),
            message: format!("{type_} is {reason}"),
            observed_generation: Some(3),
        }
    }

    fn old() -> Vec<Condition> {
        merge(
            &[],
            [
                new("Ready", Status::False, "NotReady"),
                new("Available", Status::True, "Enough"),
            ],
            at(EARLY),
        )
    }

    fn brief(conditions: &[Condition]) -> Vec<String> {
        let brief = |condition: &Condition| {
            let Condition {
                type_,
                status,
                reason,
                last_transition_time,
                ..
            } = condition;
            format!("{type_}={status} {reason} {}", last_transition_time.0)
        };
        conditions.iter().map(brief).collect()
    }

    #[test]
    fn conditions_are_ordered_by_type_and_times_are_whole_seconds() {
        let conditions = merge(
            &[],
            [new("b", Status::True, "R"), new("a", Status::Unknown, "R")],
            at("2026-11-23T10:00:00.9Z"),
        );
        assert_eq!(
            brief(&conditions),
            [
                "a=Unknown R 2026-11-23T10:00:00Z",
                "b=True R 2026-11-23T10:00:00Z"
            ]
        );
    }

    #[test]
    fn the_time_moves_only_with_the_status() {
        let later = at("2026-11-23T11:00:00Z");
        for (status, reason, expected) in [
            (
                Status::False,
                "NotReady",
                "Ready=False NotReady 2026-11-23T10:00:00Z",
            ),
            (
                Status::False,
                "Crashing",
                "Ready=False Crashing 2026-11-23T10:00:00Z",
            ),
            (
                Status::True,
                "AllReady",
                "Ready=True AllReady 2026-11-23T11:00:00Z",
            ),
            (Status::Unknown, "Lost", "Ready=Unknown Lost 2026-11-23T11:00:00Z"),
        ] {
            let merged = merge(&old(), [new("Ready", status, reason)], later);
            assert_eq!(
                brief(&merged),
                ["Available=True Enough 2026-11-23T10:00:00Z", expected]
            );
        }
    }

    #[test]
    fn unchanged_conditions_give_the_identical_list() {
        let later = at("2026-11-23T11:00:00.5Z");
        let same = [
            new("Ready", Status::False, "NotReady"),
            new("Available", Status::True, "Enough"),
        ];
        assert_eq!(merge(&old(), same.clone(), later), old());
        assert_eq!(replace(&old(), same, later), old());
        assert_eq!(merge(&old(), [], later), old());
    }

    #[test]
    fn replace_drops_what_is_not_named_and_merge_keeps_it() {
        let only = [new("Available", Status::True, "Plenty")];
        let later = at("2026-11-23T11:00:00Z");
        assert_eq!(
            brief(&replace(&old(), only.clone(), later)),
            ["Available=True Plenty 2026-11-23T10:00:00Z"]
        );
        assert_eq!(merge(&old(), only, later).len(), 2);
    }

    #[test]
    fn a_condition_counts_for_its_own_generation_only() {
        let conditions = old();
        assert!(
            is_true(&conditions, "Available")
                && !is_true(&conditions, "Ready")
                && !is_true(&conditions, "Else")
        );
        assert!(is_true_for(&conditions, "Available", Some(3)));
        for generation in [Some(2), Some(4), None] {
            assert!(!is_true_for(&conditions, "Available", generation));
        }
        assert!(!is_true_for(&conditions, "Ready", Some(3)));
        assert_eq!(find(&conditions, "Ready").unwrap().message, "Ready is NotReady");
    }
}
