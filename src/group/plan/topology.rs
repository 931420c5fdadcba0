//! Where instances go: each topology has seats, by its weight.
//!
//! The seats of a topology of weight `w` stand at `1/w`, `3/w`, `5/w` and so on (the divisor method of Webster and
//! Sainte-Laguë). Who is added takes the free seat that comes first, who leaves gives up the taken one that comes
//! last. So each size of a group has the distribution that is nearest to the weights, whichever way it was reached, and
//! with up to three topologies none is ever a whole instance away from its share.

use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Labels that a node must have.
pub type Topology = BTreeMap<String, String>;

/// A topology, and how much of the group belongs there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The topology.
    pub topology: Topology,
    /// Its weight, at least 1.
    pub weight: u32,
}

/// Which seats are taken.
#[derive(Clone, Debug)]
pub(super) struct Seats<'a> {
    shares: &'a [Share],
    /// The place of each topology among the shares.
    index: BTreeMap<&'a Topology, usize>,
    /// How many seats of each share are taken.
    taken: Vec<u32>,
    /// Who is elsewhere than the shares say.
    strays: BTreeMap<Option<&'a Topology>, u32>,
}

/// One seat; the smaller, the sooner it is taken. Of two that stand equally far, the one of the emptier topology is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seat {
    /// Which one of its topology it is, from 1.
    number: u32,
    weight: u32,
}

/// What an instance gives up when it leaves; who has the greatest leaves first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// The scheduler chose, as it is to.
    Any,
    /// The last taken seat of its topology.
    Seat(Seat),
    /// It is not where the shares say; so many are there.
    Stray(u32),
}

impl<'a> Seats<'a> {
    pub(super) fn new(shares: &'a [Share], occupants: impl Iterator<Item = Option<&'a Topology>>) -> Self {
        let mut seats = Self {
            shares,
            index: shares.iter().map(|share| &share.topology).zip(0..).collect(),
            taken: vec![0; shares.len()],
            strays: BTreeMap::new(),
        };
        for occupant in occupants {
            *seats.count(occupant) += 1;
        }
        seats
    }

    /// Takes the seat that comes first; `None` where the scheduler chooses.
    pub(super) fn take_first(&mut self) -> Option<&'a Topology> {
        let free = self.shares.iter().zip(&self.taken).map(|(share, taken)| {
            let number = taken.saturating_add(1);
            (
                Seat {
                    number,
                    weight: share.weight,
                },
                &share.topology,
            )
        });
        let (_, topology) = free.min_by_key(|(seat, _)| *seat)?;
        *self.count(Some(topology)) += 1;
        Some(topology)
    }

    /// What one who is there would give up.
    pub(super) fn place(&self, occupant: Option<&Topology>) -> Place {
        let index = occupant.and_then(|topology| self.index.get(topology).copied());
        let seat = index.and_then(|index| {
            let (number, weight) = (*self.taken.get(index)?, self.shares.get(index)?.weight);
            Some(Seat { number, weight })
        });
        match seat {
            Some(seat) => Place::Seat(seat),
            None if occupant.is_none() && self.shares.is_empty() => Place::Any,
            None => Place::Stray(self.strays.get(&occupant).copied().unwrap_or_default()),
        }
    }

    /// One who was there is gone.
    pub(super) fn remove(&mut self, occupant: Option<&'a Topology>) {
        let count = self.count(occupant);
        *count = count.saturating_sub(1);
    }

    fn count(&mut self, occupant: Option<&'a Topology>) -> &mut u32 {
        let index = occupant.and_then(|topology| self.index.get(topology));
        match index.and_then(|index| self.taken.get_mut(*index)) {
            Some(count) => count,
            None => self.strays.entry(occupant).or_default(),
        }
    }
}

impl Ord for Seat {
    fn cmp(&self, other: &Self) -> Ordering {
        let distance = |seat: &Self, weight: u32| {
            u64::from(seat.number).saturating_mul(2).saturating_sub(1) * u64::from(weight)
        };
        distance(self, other.weight)
            .cmp(&distance(other, self.weight))
            .then(self.number.cmp(&other.number))
    }
}

impl PartialOrd for Seat {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Seat {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Seat {}

#[cfg(test)]
mod tests;
