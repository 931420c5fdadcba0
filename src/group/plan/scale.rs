//! Up to size: how many instances are missing, and what they are called.

use std::collections::BTreeSet;

use super::Observed;
use super::roster::Roster;

/// The instances that are not there and should be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Missing {
    /// How many there should be more, whatever holds them back.
    pub(super) wanted: u32,
    /// How many to create now.
    pub(super) create: u32,
    /// Whether more would be created if those that leave because of a roll were gone.
    pub(super) held_back: bool,
}

/// How many instances to create. During a roll outdated ones do not count towards the goal, only towards the limit.
pub(super) fn missing(roster: &Roster<'_>) -> Missing {
    let observed = roster.observed;
    let members = roster.fresh + roster.outdated;
    let leavers = u32::try_from(roster.roll_leavers.len()).unwrap_or(u32::MAX);
    let limit = observed.replicas.saturating_add(observed.limits.max_surge());

    let towards_goal = if roster.rolling() { roster.fresh } else { members };
    let wanted = observed.replicas.saturating_sub(towards_goal);
    let without_leavers = limit.saturating_sub(members);
    let room = without_leavers.saturating_sub(leavers);
    if observed.may_create {
        Missing {
            wanted,
            create: wanted.min(room),
            held_back: wanted.min(without_leavers) > room,
        }
    } else {
        Missing {
            wanted,
            create: 0,
            held_back: false,
        }
    }
}

/// The smallest ordinals that no instance has, not even a leaving one, and that are not reserved.
pub(super) fn free_ordinals(observed: &Observed, count: u32) -> impl Iterator<Item = u32> + use<> {
    let mut taken: BTreeSet<u32> = observed
        .instances
        .iter()
        .filter_map(|instance| instance.ordinal)
        .collect();
    taken.extend(&observed.reserved_ordinals);
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    (0..=u32::MAX)
        .filter(move |ordinal| !taken.contains(ordinal))
        .take(count)
}
