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
//! * *drain*: an instance that is offline gives its clients time to leave; until its Pod goes it can be *revived*.
//! * *proven*: it runs with the template's configuration, and serves. *On trial*: it was given that configuration, and is
//!   not proven yet.
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
//! What is missing is revived before it is created: a leaver that fits comes back, whatever else holds creation up, since its
//! Pod is there anyway. Another configuration that running instances take over goes to one that serves first, and to the
//! others when one is proven; those that do not serve have nothing to lose and get it at once.
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
//! `roster` sorts the instances into who counts as what, `scale` revives or creates what is missing, `leave` takes away what
//! is too much, `rollout` replaces what is outdated and `reload` changes the rest in place; `budget` is rule (b), `order` says who goes first, and `topology`
//! where. [`counts`] gives the same view to the status.

mod action;
mod budget;
mod count;
mod leave;
mod limits;
mod order;
mod reload;
mod rollout;
mod roster;
mod scale;
#[cfg(test)]
mod tests;
mod topology;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

pub use action::{Action, Exit, Target, Wait, Why};
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
    /// Whether it has a Pod that is not being deleted.
    pub has_pod: bool,
    /// Whether its clients are given time to leave.
    pub drains: bool,
    /// Whether it runs with the configuration that its spec asks for.
    pub config: Config,
}

/// Whether an instance runs with the configuration that its spec asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Config {
    /// It does.
    InEffect,
    /// It does not, or that cannot be told.
    Open {
        /// Since when, from the condition.
        since: Timestamp,
    },
}

/// How an instance differs from the group's template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// Not at all.
    None,
    /// In metadata or fields that change nothing that runs.
    InPlace,
    /// In the configuration, which the running TiProxy takes over.
    Reload,
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

/// What to write now, what is waited for, and when to look again without being asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The writes, in order: revivals, creates, updates in place, recreations, leaves, removals.
    pub actions: Vec<Action>,
    /// What keeps the group from its goal beside these actions.
    pub waiting: Vec<Wait>,
    /// When the first ready instance becomes available, which no event tells.
    pub recheck: Option<Duration>,
}

impl Plan {
    /// Whether something is written to the instance of this UID.
    #[must_use]
    pub fn writes_to(&self, uid: &str) -> bool {
        let mut targets = self.actions.iter().filter_map(Action::target);
        targets.any(|target| target.uid == uid)
    }

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

    let reload = reload::reload(&roster, &departures, now);

    let mut actions = Vec::new();
    actions.extend(missing.revive.iter().map(|instance| Action::Revive {
        target: instance.target(),
    }));
    actions.extend(missing.create.iter().map(|creation| Action::Create {
        ordinal: creation.ordinal,
        topology: creation.topology.clone(),
    }));
    actions.extend(reload.update.iter().map(|instance| Action::UpdateInPlace {
        target: instance.target(),
    }));
    actions.extend(departures.recreate.iter().map(|instance| Action::Recreate {
        target: instance.target(),
    }));
    actions.extend(departures.leave.iter().map(|(instance, why)| Action::Leave {
        target: instance.target(),
        why: *why,
        by: instance.exit(),
    }));
    let finished = roster.finished.iter();
    actions.extend(
        finished
            .filter(|instance| !missing.revives(instance))
            .map(|instance| Action::Remove {
                target: instance.target(),
            }),
    );

    let mut waiting = waiting(&roster, &missing, &departures);
    waiting.extend(reload.wait);
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

    fn exit(&self) -> Exit {
        let runs = self.has_pod && !matches!(self.health, Health::NotRunning | Health::Lost);
        if runs && self.drains {
            Exit::Drain
        } else {
            Exit::Delete
        }
    }
}
