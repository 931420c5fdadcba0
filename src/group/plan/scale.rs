//! Up to size: how many instances are missing, where they go, and what they are called.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::Observed;
use super::roster::Roster;
use super::topology::{Seats, Topology};

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

/// An instance that is to be created.
#[derive(Clone, Debug)]
pub(super) struct Creation {
    pub(super) ordinal: u32,
    pub(super) topology: Option<Topology>,
}

/// The next instances, in the order of their seats.
///
/// While a roll replaces the outdated ones, only the others count: what is added goes where the distribution will want
/// it afterwards, and since that topology then has one too many, the one that it replaces leaves from there.
pub(super) fn creations(roster: &Roster<'_>, count: u32) -> Vec<Creation> {
    let rolling = roster.rolling();
    let stay = roster
        .members
        .iter()
        .filter(|member| !(rolling && member.outdated()));
    let occupants = stay.map(|member| member.instance.topology.as_ref());
    let mut seats = Seats::new(&roster.observed.topologies, occupants);
    let mut ordinals = Ordinals::new(roster.observed);
    (0..count)
        .filter_map(|_| {
            let topology = seats.take_first();
            Some(Creation {
                ordinal: ordinals.take(topology)?,
                topology: topology.cloned(),
            })
        })
        .collect()
}

/// The ordinals that no instance has, not even a leaving one, and that are not reserved.
struct Ordinals<'a> {
    observed: &'a Observed,
    taken: BTreeSet<u32>,
    next: RangeInclusive<u32>,
    /// Free, and their volumes are bound to another topology than those were to have that came by.
    passed_over: Vec<u32>,
}

impl<'a> Ordinals<'a> {
    fn new(observed: &'a Observed) -> Self {
        let instances = observed.instances.iter().filter_map(|instance| instance.ordinal);
        Self {
            observed,
            taken: instances
                .chain(observed.reserved_ordinals.iter().copied())
                .collect(),
            next: 0..=u32::MAX,
            passed_over: Vec::new(),
        }
    }

    /// The smallest one that fits the topology.
    fn take(&mut self, topology: Option<&Topology>) -> Option<u32> {
        let found = self
            .passed_over
            .iter()
            .position(|ordinal| self.fits(*ordinal, topology));
        if let Some(position) = found {
            return Some(self.passed_over.remove(position));
        }
        while let Some(ordinal) = self.next.next() {
            if self.taken.contains(&ordinal) {
                continue;
            }
            if self.fits(ordinal, topology) {
                return Some(ordinal);
            }
            self.passed_over.push(ordinal);
        }
        None
    }

    /// Whether volumes that were kept allow the topology. Where the scheduler chooses, it goes by the volumes.
    fn fits(&self, ordinal: u32, topology: Option<&Topology>) -> bool {
        match (self.observed.retained.get(&ordinal), topology) {
            (Some(made_for), Some(topology)) => made_for.as_ref() == Some(topology),
            (None, _) | (_, None) => true,
        }
    }
}
