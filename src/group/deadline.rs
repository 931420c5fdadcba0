//! Whether a rollout makes progress. Pure.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};

use super::observe::Observed;
use super::plan::{Plan, Wait};
use super::validate::Group;
use crate::api::TiProxy;
use crate::api::condition::{ConditionType, Reason};
use crate::runtime::condition;
use crate::runtime::time::elapsed;

/// What a group's `progressDeadlineSeconds` says now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// The time does not count: something is done, clients are given time to leave, or the work stands still on purpose.
    Stopped,
    /// It passes when so much time goes by without progress.
    In(Duration),
    /// It has passed.
    Passed,
}

impl Deadline {
    /// When to look again.
    #[must_use]
    pub fn recheck(self) -> Option<Duration> {
        match self {
            Self::In(left) => Some(left),
            Self::Stopped | Self::Passed => None,
        }
    }
}

/// Judges a group that has not reached its goal.
#[must_use]
pub fn deadline(observed: &Observed, group: &Group, plan: &Plan, now: Timestamp) -> Deadline {
    let stands_still = observed.object.meta().deletion_timestamp.is_some()
        || observed.is_cluster_paused()
        || observed.is_suspended()
        || plan.waiting.contains(&Wait::Paused);
    let drains = observed.instances.iter().any(|instance| {
        instance
            .status
            .as_ref()
            .is_some_and(|status| status.drain.is_some())
    });
    if stands_still || drains || !plan.actions.is_empty() || plan.waiting.is_empty() {
        return Deadline::Stopped;
    }
    let instances = observed.instances.iter();
    let progress = instances.flat_map(|instance| progress(instance)).flatten();
    let last = progress.fold(begin(observed, group.progress_deadline, now), Timestamp::max);
    match group.progress_deadline.saturating_sub(elapsed(last, now)) {
        Duration::ZERO => Deadline::Passed,
        left => Deadline::In(left),
    }
}

/// When the time began to count: when the group was at its goal last. A deadline that has passed stays so until there is
/// progress or another spec.
fn begin(observed: &Observed, limit: Duration, now: Timestamp) -> Timestamp {
    let holding = |kind: ConditionType| {
        condition::find(observed.object.conditions(), kind.as_str())
            .filter(|condition| condition.status == "True")
    };
    if let Some(reconciling) = holding(ConditionType::Reconciling) {
        return reconciling.last_transition_time.0;
    }
    let passed = holding(ConditionType::Stalled).filter(|stalled| {
        stalled.reason == Reason::ProgressDeadlineExceeded.as_str()
            && stalled.observed_generation == observed.object.meta().generation
    });
    let begun = passed.and_then(|stalled| stalled.last_transition_time.0.checked_sub(limit).ok());
    begun.unwrap_or(now)
}

/// When a TiProxy was made, and when it became ready.
fn progress(instance: &TiProxy) -> [Option<Timestamp>; 2] {
    let ready = condition::find(instance.conditions(), ConditionType::Ready.as_str());
    [
        instance.creation_timestamp().map(|time| time.0),
        ready
            .filter(|ready| ready.status == "True")
            .map(|ready| ready.last_transition_time.0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::testing::{group, instance, object, observed};
    use serde_json::{Value, json};

    fn at(text: &str) -> Timestamp {
        format!("2026-11-23T{text}Z").parse().unwrap()
    }

    fn conditions(kind: &str, reason: &str, generation: i64, since: &str) -> Value {
        json!([{"type": kind, "status": "True", "reason": reason, "message": "", "observedGeneration": generation,
            "lastTransitionTime": at(since).to_string()}])
    }

    /// A group of three whose third TiProxy, made at 09:05, does not become ready.
    fn judge(group_conditions: &Value, changes: &Value, spec: &Value, now: &str) -> Deadline {
        let group = group(spec);
        let mut object = object(spec);
        object.status = Some(serde_json::from_value(json!({ "conditions": group_conditions })).unwrap());
        let mut late = json!({"metadata": {"creationTimestamp": at("09:05:00").to_string()},
            "status": {"conditions": crate::group::testing::conditions("False", "False", "NotReady", 1)}});
        crate::instance::testing::lay_over(&mut late, changes);
        let instances = vec![
            instance(&group, 0, &json!({})),
            instance(&group, 1, &json!({})),
            instance(&group, 2, &late),
        ];
        let observed = observed(object, instances);
        let desired = group.instance_spec(&crate::group::testing::discovery());
        let plan = crate::group::plan::plan(&observed.for_plan(&group, Some(&desired)), at(now));
        deadline(&observed, &group, &plan, at(now))
    }

    #[test]
    fn it_passes_so_long_after_the_last_progress() {
        let reconciling = conditions("Reconciling", "Progressing", 3, "09:01:00");
        let minutes = |minutes| Deadline::In(Duration::from_mins(minutes));
        for (now, expected) in [
            ("09:06:00", minutes(9)),
            ("09:15:00", Deadline::Passed),
            ("09:20:00", Deadline::Passed),
        ] {
            assert_eq!(
                judge(&reconciling, &json!({}), &json!({}), now),
                expected,
                "{now}"
            );
        }
        let spec = json!({"progressDeadlineSeconds": 60});
        assert_eq!(
            judge(&reconciling, &json!({}), &spec, "09:06:00"),
            Deadline::Passed
        );
        let since_then = conditions("Reconciling", "Progressing", 3, "09:09:00");
        assert_eq!(judge(&since_then, &json!({}), &json!({}), "09:10:00"), minutes(9));
        let slow = json!({"minReadySeconds": 600});
        assert_eq!(
            judge(&reconciling, &json!({}), &slow, "09:10:00"),
            minutes(15),
            "it is longer than a TiProxy needs"
        );
    }

    #[test]
    fn a_passed_one_stays_so_until_there_is_progress_or_another_spec() {
        let passed = conditions("Stalled", "ProgressDeadlineExceeded", 3, "09:15:00");
        assert_eq!(
            judge(&passed, &json!({}), &json!({}), "09:15:01"),
            Deadline::Passed
        );
        let newer = json!({"metadata": {"creationTimestamp": at("09:16:00").to_string()}});
        assert_eq!(
            judge(&passed, &newer, &json!({}), "09:17:00"),
            Deadline::In(Duration::from_mins(9))
        );
    }

    #[test]
    fn trouble_after_a_long_rest_begins_to_count_when_it_comes() {
        let rest = conditions("Ready", "AllReady", 3, "08:00:00");
        let made_long_ago = json!({"metadata": {"creationTimestamp": at("07:00:00").to_string()}});
        assert_eq!(
            judge(&rest, &made_long_ago, &json!({}), "10:00:00"),
            Deadline::In(Duration::from_mins(10))
        );
    }

    #[test]
    fn time_that_clients_are_given_does_not_count() {
        let reconciling = conditions("Reconciling", "Progressing", 3, "09:01:00");
        let drains = json!({"status": {"drain": {"remainingConnections": 1}}});
        assert_eq!(
            judge(&reconciling, &drains, &json!({}), "10:00:00"),
            Deadline::Stopped
        );
        let changed = json!({"paused": true, "template": {"spec": {"version": "v1.3.1"}}});
        assert_eq!(
            judge(
                &reconciling,
                &json!({"spec": {"version": "v1.3.0"}}),
                &changed,
                "10:00:00"
            ),
            Deadline::Stopped
        );
    }
}
