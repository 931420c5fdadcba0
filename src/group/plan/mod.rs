//! What a group's instances need next: plain data in, a list of actions out.
//!
//! [`plan`] knows no client, clock or randomness, keeps nothing between two calls, and looks at the instances in an
//! order of its own, so that the same objects in any order give the same plan. It is called after every change;
//! whatever part of a plan was not carried out is decided anew from what is there then.
//!
//! # Words
//!
//! * *active*: neither offline nor deleting. *Lost*: active by its object, but on a dead node; it counts as gone.
//! * *fresh*: fits the template (or differs in what needs no new Pod); *outdated*: needs a new Pod.
//! * *available*: [`Health::Ready`] for `min_ready`. *Hopeful*: outdated, and not available for a reason that passes
//!   by itself ([`Health::Starved`], [`Health::Unobserved`], ready but not for long enough).
//! * *leaver*: offline or deleting. The only persisted mark of why it leaves is its content, so a leaver counts as
//!   leaving **because of a roll** exactly while it is outdated. An instance that a scale-in removed and that a later
//!   edit makes outdated therefore holds back creation until it is gone, and a rollback sets leavers that fit again
//!   free of it.
//! * *floor*: `replicas - max_unavailable`. *Surge in progress*: `min(max_surge, fresh, outdated)`; that many may
//!   stay above `replicas` while both revisions exist, also while the rollout is paused.
//!
//! # Rules
//!
//! (a) Nothing is created while active instances and roll leavers are `replicas + max_surge` or more; leavers of a
//! scale-in and lost instances are not counted. (b) An available instance is taken away only if `floor` available
//! ones stay. A hopeful one is taken away only if `floor` available or hopeful ones stay, and, where a surge can bring
//! the evidence, a starved one only while something is available: an outage of TiDB does not move a rollout, and a
//! rollout that ends an outage of its own making is not stuck. Any other unavailable one goes at once. A scale-in
//! always reaches its goal: what is above `replicas` and the surge in progress goes, the least useful first.
//!
//! Where topologies are given, who is created goes where active instances are furthest below their share, and among the
//! equally useful those leave first that are where none should be, then those of the topology furthest above its share.
//! Nothing is moved only because the topologies changed.
//!
//! All decisions are made on the caller's view. They hold against the true state as long as the view contains the
//! caller's own writes: [`Action::Create`] names the object, so a repeated one collides, and every other action
//! carries the UID and resourceVersion it was decided for.
//!
//! # Reading order
//!
//! `roster` sorts the instances into who counts as what, `scale` creates what is missing, `leave` takes away what is
//! too much, `rollout` replaces what is outdated; `budget` is rule (b), `order` says who goes first, and `topology`
//! where. [`counts`] gives the same view to the status.

mod budget;
mod count;
mod leave;
mod limits;
mod order;
mod rollout;
mod roster;
mod scale;
#[cfg(test)]
mod tests;
mod topology;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

pub use count::{Counts, counts};
use leave::Departures;
pub use limits::{Limits, LimitsError};
use roster::Roster;
pub use topology::{Share, Topology};

/// A group as the planner sees it: the user's wish, what is permitted now, and the instances there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// How many active instances the user wants.
    pub replicas: u32,
    /// How far a rollout may go above and below `replicas`.
    pub limits: Limits,
    /// How long an instance is ready before it counts as available.
    pub min_ready: Duration,
    /// Rollouts and in-place changes stop; scaling, healing and deletion go on.
    pub paused: bool,
    /// False while PD is unknown or the spec is invalid: nothing is created, changed or healed; scale-in goes on.
    pub may_create: bool,
    /// False while no running instance may be replaced, for a reason other than `paused`.
    pub may_roll: bool,
    /// Ordinals that must not be used: their volumes still exist, or a foreign object has the name.
    pub reserved_ordinals: BTreeSet<u32>,
    /// Ordinals whose volumes were kept, with the topology that those were made in, where it is known: an instance
    /// that is to go elsewhere takes another ordinal.
    pub retained: BTreeMap<u32, Option<Topology>>,
    /// Where instances go, by weight; empty when the scheduler chooses.
    pub topologies: Vec<Share>,
    /// All instances that are ours, in any order.
    pub instances: Vec<Instance>,
}

/// One `TiProxy` of the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// The object's name.
    pub name: String,
    /// The ordinal in its name; `None` for an adopted object whose name has none. It is ours all the same.
    pub ordinal: Option<u32>,
    /// The object's UID.
    pub uid: String,
    /// The resourceVersion that was read.
    pub resource_version: String,
    /// How it differs from the group's current template.
    pub change: Change,
    /// Whether it takes part or is on its way out.
    pub phase: Phase,
    /// Whether it serves, and if not, why.
    pub health: Health,
    /// The topology that it was placed in; `None` when the scheduler chose.
    pub topology: Option<Topology>,
    /// The user's priority; the smaller, the sooner it leaves.
    pub priority: Option<i64>,
    /// Client connections, when known.
    pub connections: Option<u64>,
}

/// How an instance differs from the group's template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// Not at all.
    None,
    /// In metadata or fields that need no new Pod.
    InPlace,
    /// In something that needs a new Pod.
    Roll,
}

/// Whether an instance takes part in the group or is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Neither offline nor deleting.
    Active,
    /// `spec.offline` is set: it drains, and what ends it is the drain.
    Offline,
    /// It has a deletion timestamp.
    Deleting,
}

/// Whether an instance serves, and if not, why. The first variant that fits, in this order, is the right one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Health {
    /// Its Pod is bound to a node that is dead, and cannot be replaced under its name.
    Lost,
    /// Its status is of an older generation, so nothing is known about its present. Never counted as available, and
    /// not given up on either: a moment after any write to its spec every healthy instance looks like this.
    Unobserved,
    /// No Pod of it runs.
    NotRunning,
    /// Unready only because no TiDB is available to it.
    Starved,
    /// It runs, and is unready for another reason.
    NotReady,
    /// Ready.
    Ready {
        /// Since when, from the condition.
        since: Timestamp,
    },
}

/// An object, as it was when the decision was made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// Its UID: a precondition of every write.
    pub uid: String,
    /// Its resourceVersion: a precondition, because the content decided.
    pub resource_version: String,
}

/// One write. Any prefix of a plan's actions keeps the rules.
///
/// Bringing a leaving instance back (`Revive`, on a rollback or scale-out) belongs before `Create`: it takes the place
/// of a create in `scale::missing`, for leavers that are fresh and not yet deleting. It comes with the drain, before
/// which nothing that leaves can come back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Create the instance of this ordinal from the current template.
    Create {
        /// The smallest ordinal that is free and fits the topology.
        ordinal: u32,
        /// Where it goes; `None` when the scheduler chooses.
        topology: Option<Topology>,
    },
    /// Write the current template to the object; its Pod goes on.
    UpdateInPlace {
        /// The instance.
        target: Target,
    },
    /// Write the current template to the object; its Pod is replaced under the same name.
    Recreate {
        /// The instance.
        target: Target,
    },
    /// Take the instance out of service and delete it.
    Leave {
        /// The instance.
        target: Target,
        /// What it leaves for.
        why: Why,
    },
}

/// Why an instance leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// The group has more instances than it should.
    ScaleIn,
    /// The instance is outdated, and what replaces it is there or on its way.
    Roll,
    /// Its node is dead; another instance takes its place.
    Lost,
}

/// Something that keeps the group from its goal and is not in the planner's hands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wait {
    /// A change of the template waits because the group is paused.
    Paused,
    /// Something should be created, changed or replaced, and nothing may be.
    NothingMayBeCreated,
    /// Outdated instances stay because none may be replaced.
    MayNotRoll,
    /// This instance is to become available.
    Available {
        /// Its name.
        name: String,
        /// What is left of `min_ready` when it is ready; `None` while it is not.
        remaining: Option<Duration>,
    },
    /// This instance is unready only because no TiDB is available to it.
    Backends {
        /// Its name.
        name: String,
    },
    /// This instance leaves because of a roll, and the next one is created when it is gone.
    Leaver {
        /// Its name.
        name: String,
    },
}

/// What to write now, what is waited for, and when to look again without being asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The writes, in order: creates, updates in place, recreations, leaves.
    pub actions: Vec<Action>,
    /// What keeps the group from its goal beside these actions.
    pub waiting: Vec<Wait>,
    /// When the first ready instance becomes available, which no event tells.
    pub recheck: Option<Duration>,
}

impl Plan {
    /// Nothing to do and nothing to wait for: the group is as it should be.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty() && self.waiting.is_empty()
    }
}

/// Decides what the group needs next.
#[must_use]
pub fn plan(observed: &Observed, now: Timestamp) -> Plan {
    let roster = Roster::new(observed, now);
    let missing = scale::missing(&roster);
    let mut departures = Departures::new(&roster);
    departures.leave_lost();
    departures.scale_in();
    departures.roll();

    let mut actions = Vec::new();
    let creations = scale::creations(&roster, missing.create).into_iter();
    actions.extend(creations.map(|creation| Action::Create {
        ordinal: creation.ordinal,
        topology: creation.topology,
    }));
    actions.extend(
        rollout::in_place(&roster, &departures).map(|instance| Action::UpdateInPlace {
            target: instance.target(),
        }),
    );
    actions.extend(departures.recreate.iter().map(|instance| Action::Recreate {
        target: instance.target(),
    }));
    actions.extend(departures.leave.iter().map(|(instance, why)| Action::Leave {
        target: instance.target(),
        why: *why,
    }));

    let waiting = waiting(&roster, &missing, &departures);
    let recheck = waiting.iter().filter_map(Wait::remaining).min();
    Plan {
        actions,
        waiting,
        recheck,
    }
}

/// What stands between the group and its goal, once the actions are carried out.
fn waiting(roster: &Roster<'_>, missing: &scale::Missing, departures: &Departures<'_>) -> Vec<Wait> {
    let observed = roster.observed;
    let changed = roster
        .members
        .iter()
        .any(|member| member.instance.change != Change::None);
    let mut waiting = Vec::new();
    if observed.paused && changed {
        waiting.push(Wait::Paused);
    }
    if !observed.may_create && (changed || missing.wanted > 0 || !roster.lost.is_empty()) {
        waiting.push(Wait::NothingMayBeCreated);
    }
    if !observed.may_roll && roster.outdated > 0 {
        waiting.push(Wait::MayNotRoll);
    }
    if missing.held_back {
        waiting.extend(roster.roll_leavers.iter().map(|instance| Wait::Leaver {
            name: instance.name.clone(),
        }));
    }
    waiting.extend(
        roster
            .members
            .iter()
            .filter(|member| !departures.contains(member.instance))
            .filter_map(roster::Member::wait),
    );
    waiting
}

impl Instance {
    fn target(&self) -> Target {
        Target {
            name: self.name.clone(),
            uid: self.uid.clone(),
            resource_version: self.resource_version.clone(),
        }
    }
}

impl Wait {
    fn remaining(&self) -> Option<Duration> {
        match self {
            Self::Available { remaining, .. } => *remaining,
            Self::Paused
            | Self::NothingMayBeCreated
            | Self::MayNotRoll
            | Self::Backends { .. }
            | Self::Leaver { .. } => None,
        }
    }
}
