//! Who counts as what: the instances sorted into members, lost ones and leavers.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::order::rank;
use super::{Change, Health, Instance, Observed, Phase, Wait};
use crate::runtime::time::elapsed;

/// How much an active instance is worth to the group; the smallest leaves first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    NotRunning,
    NotReady,
    Starved,
    Unobserved,
    /// Ready, and not yet for `min_ready`.
    Young,
    Available,
}

/// An active instance that is not lost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member<'a> {
    pub(super) instance: &'a Instance,
    pub(super) standing: Standing,
    /// What is left of `min_ready`, when it is ready.
    remaining: Option<Duration>,
}

impl Member<'_> {
    pub(super) fn outdated(&self) -> bool {
        self.instance.change == Change::Roll
    }

    /// Outdated, and unavailable for a reason that passes by itself.
    pub(super) fn hopeful(&self) -> bool {
        self.outdated()
            && match self.standing {
                Standing::Starved | Standing::Unobserved | Standing::Young => true,
                Standing::NotRunning | Standing::NotReady | Standing::Available => false,
            }
    }

    /// Whether it takes clients.
    pub(super) fn serves(&self) -> bool {
        match self.standing {
            Standing::Young | Standing::Available => true,
            Standing::NotRunning | Standing::NotReady | Standing::Starved | Standing::Unobserved => false,
        }
    }

    /// What the group waits for as long as it has this member.
    pub(super) fn wait(&self) -> Option<Wait> {
        let name = self.instance.name.clone();
        match self.standing {
            Standing::Available => None,
            Standing::Starved => Some(Wait::Backends { name }),
            Standing::NotRunning | Standing::NotReady | Standing::Unobserved | Standing::Young => {
                Some(Wait::Available {
                    name,
                    remaining: self.remaining,
                })
            }
        }
    }
}

/// The group's instances, sorted into who counts as what.
#[derive(Debug)]
pub(super) struct Roster<'a> {
    pub(super) observed: &'a Observed,
    /// Active and not lost, in an order that does not depend on the caller's.
    pub(super) members: Vec<Member<'a>>,
    /// Active, on a dead node.
    pub(super) lost: Vec<&'a Instance>,
    /// Leaving because of a roll, and not lost.
    pub(super) roll_leavers: Vec<&'a Instance>,
    /// Leavers that can come back, the most useful first.
    pub(super) revivable: Vec<&'a Instance>,
    /// Offline, and nothing is waited for any more.
    pub(super) finished: Vec<&'a Instance>,
    /// Members that fit the template.
    pub(super) fresh: u32,
    /// Members that need a new Pod.
    pub(super) outdated: u32,
}

impl<'a> Roster<'a> {
    pub(super) fn new(observed: &'a Observed, now: Timestamp) -> Self {
        let mut sorted: Vec<&Instance> = observed.instances.iter().collect();
        sorted.sort_by_key(|instance| {
            (
                instance.ordinal.is_none(),
                instance.ordinal,
                &instance.name,
                &instance.uid,
            )
        });

        let mut roster = Self {
            observed,
            members: Vec::new(),
            lost: Vec::new(),
            roll_leavers: Vec::new(),
            revivable: Vec::new(),
            finished: Vec::new(),
            fresh: 0,
            outdated: 0,
        };
        for instance in sorted {
            if instance.phase == Phase::Offline {
                if instance.has_pod && instance.change != Change::Roll {
                    roster.revivable.push(instance);
                }
                if !(instance.has_pod && instance.drains) {
                    roster.finished.push(instance);
                }
            }
            match (instance.phase, standing(instance.health, observed.min_ready, now)) {
                (Phase::Active, Some((standing, remaining))) => {
                    let member = Member {
                        instance,
                        standing,
                        remaining,
                    };
                    *(if member.outdated() {
                        &mut roster.outdated
                    } else {
                        &mut roster.fresh
                    }) += 1;
                    roster.members.push(member);
                }
                (Phase::Active, None) => roster.lost.push(instance),
                (Phase::Offline | Phase::Deleting, Some(_)) if instance.change == Change::Roll => {
                    roster.roll_leavers.push(instance);
                }
                (Phase::Offline | Phase::Deleting, _) => {}
            }
        }
        roster
            .revivable
            .sort_by(|left, right| rank(right).cmp(&rank(left)));
        roster
    }

    /// Whether outdated instances are being replaced now.
    pub(super) fn rolling(&self) -> bool {
        self.outdated > 0 && self.observed.may_roll && self.may_change()
    }

    /// Whether the template may be written to existing instances.
    pub(super) fn may_change(&self) -> bool {
        self.observed.may_create && !self.observed.paused
    }

    /// Whether a rollout adds instances before it removes any.
    pub(super) fn surges(&self) -> bool {
        self.observed.limits.max_surge() > 0
    }
}

/// What an active instance of this health is worth, and what is left of `min_ready`; `None` when it is lost.
pub(super) fn standing(
    health: Health,
    min_ready: Duration,
    now: Timestamp,
) -> Option<(Standing, Option<Duration>)> {
    match health {
        Health::Lost => None,
        Health::Unobserved => Some((Standing::Unobserved, None)),
        Health::NotRunning => Some((Standing::NotRunning, None)),
        Health::Starved => Some((Standing::Starved, None)),
        Health::NotReady => Some((Standing::NotReady, None)),
        Health::Ready { since } => {
            // A condition from the future (clocks differ) has been true for no time at all.
            let remaining = min_ready.saturating_sub(elapsed(since, now));
            if remaining.is_zero() {
                Some((Standing::Available, None))
            } else {
                Some((Standing::Young, Some(remaining)))
            }
        }
    }
}
