//! Up to size: how many instances are missing, who comes back for them, where the others go, and what they are called.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::roster::Roster;
use super::topology::{Seats, Topology};
use super::{Instance, Observed};

/// The instances that are not there and should be.
#[derive(Clone, Debug, Default)]
pub(super) struct Missing<'a> {
    /// How many there should be more, whatever holds them back.
    pub(super) wanted: u32,
    /// The leavers that come back.
    pub(super) revive: Vec<&'a Instance>,
    /// What to create now.
    pub(super) create: Vec<Creation>,
    /// Whether more would be created if those that leave because of a roll were gone.
    pub(super) held_back: bool,
}

/// An instance that is to be created.
#[derive(Clone, Debug)]
pub(super) struct Creation {
    pub(super) ordinal: u32,
    pub(super) topology: Option<Topology>,
}

impl Missing<'_> {
    /// Whether this leaver comes back.
    pub(super) fn revives(&self, instance: &Instance) -> bool {
        self.revive.iter().any(|revived| revived.name == instance.name)
    }
}

/// What to revive and what to create. During a roll outdated ones do not count towards the goal, only towards the limit.
pub(super) fn missing<'a>(roster: &Roster<'a>) -> Missing<'a> {
    let observed = roster.observed;
    let members = roster.fresh + roster.outdated;
    let towards_goal = if roster.rolling() { roster.fresh } else { members };
    let wanted = observed.replicas.saturating_sub(towards_goal);
    if !observed.may_create {
        return Missing {
            wanted,
            ..Missing::default()
        };
    }
    let limit = observed.replicas.saturating_add(observed.limits.max_surge());
    let leavers = u32::try_from(roster.roll_leavers.len()).unwrap_or(u32::MAX);
    let without_leavers = |revived: u32| limit.saturating_sub(members.saturating_add(revived));

    // Without anybody to revive, only seats that can be taken now matter.
    let seats = if roster.revivable.is_empty() {
        wanted.min(without_leavers(0).saturating_sub(leavers))
    } else {
        wanted
    };
    let (revive, open) = revive(roster, free_seats(roster, seats));
    let revived = u32::try_from(revive.len()).unwrap_or(u32::MAX);
    let room = without_leavers(revived).saturating_sub(leavers);
    let still_wanted = wanted.saturating_sub(revived);
    Missing {
        wanted,
        revive,
        create: creations(observed, open, room),
        held_back: still_wanted.min(without_leavers(revived)) > room,
    }
}

/// Where the next instances go, in order.
///
/// While a roll replaces the outdated ones, only the others count: what is added goes where the distribution will want
/// it afterwards, and since that topology then has one too many, the one that it replaces leaves from there.
fn free_seats<'a>(roster: &Roster<'a>, count: u32) -> Vec<Option<&'a Topology>> {
    let rolling = roster.rolling();
    let stay = roster
        .members
        .iter()
        .filter(|member| !(rolling && member.outdated()));
    let occupants = stay.map(|member| member.instance.topology.as_ref());
    let mut seats = Seats::new(&roster.observed.topologies, occupants);
    (0..count).map(|_| seats.take_first()).collect()
}

/// The leavers that come back, each to a seat of its topology, and the seats that are left.
fn revive<'a>(
    roster: &Roster<'a>,
    seats: Vec<Option<&'a Topology>>,
) -> (Vec<&'a Instance>, Vec<Option<&'a Topology>>) {
    let mut leavers = roster.revivable.clone();
    let (mut revive, mut open) = (Vec::new(), Vec::new());
    for seat in seats {
        let fits = |leaver: &&Instance| seat.is_none() || leaver.topology.as_ref() == seat;
        match leavers.iter().position(fits) {
            Some(position) => revive.push(leavers.remove(position)),
            None => open.push(seat),
        }
    }
    (revive, open)
}

fn creations(observed: &Observed, seats: Vec<Option<&Topology>>, room: u32) -> Vec<Creation> {
    let mut ordinals = Ordinals::new(observed);
    let seats = seats
        .into_iter()
        .take(usize::try_from(room).unwrap_or(usize::MAX));
    seats
        .filter_map(|topology| {
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
