//! Who goes first.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::Instance;
use super::roster::{Member, Standing};
use super::topology::{Seats, Topology};

/// Members in the order in which they leave: the least useful, from the topology that is furthest above its share, of
/// the smallest priority, with the fewest connections, of the highest ordinal.
#[derive(Debug, Default)]
pub(super) struct Queue<'a> {
    /// By standing and topology; in each list the first to go is the last element.
    lists: BTreeMap<Standing, BTreeMap<Option<&'a Topology>, Vec<Member<'a>>>>,
}

impl<'a> Queue<'a> {
    pub(super) fn new(members: impl Iterator<Item = Member<'a>>) -> Self {
        let mut queue = Self::default();
        for member in members {
            let topologies = queue.lists.entry(member.standing).or_default();
            topologies
                .entry(member.instance.topology.as_ref())
                .or_default()
                .push(member);
        }
        for list in queue.lists.values_mut().flat_map(BTreeMap::values_mut) {
            list.sort_by(|left, right| rank(right.instance).cmp(&rank(left.instance)));
        }
        queue
    }

    /// Who goes first while these seats are taken.
    pub(super) fn peek(&self, seats: &Seats<'a>) -> Option<Member<'a>> {
        let lists = self
            .lists
            .values()
            .find(|lists| lists.values().any(|list| !list.is_empty()))?;
        let firsts = lists
            .iter()
            .filter_map(|(topology, list)| Some((topology, list.last()?)));
        firsts
            .min_by_key(|(topology, first)| (Reverse(seats.place(**topology)), rank(first.instance)))
            .map(|(_, first)| *first)
    }

    /// Takes out the one that [`Self::peek`] shows.
    pub(super) fn pop(&mut self, seats: &Seats<'a>) -> Option<Member<'a>> {
        let first = self.peek(seats)?;
        let topology = first.instance.topology.as_ref();
        self.lists.get_mut(&first.standing)?.get_mut(&topology)?.pop()
    }
}

/// The order within a standing and a topology. What is unknown goes last, except for a name without an ordinal: that is
/// no name we would give.
pub(super) fn rank(instance: &Instance) -> impl Ord {
    (
        (instance.priority.is_none(), instance.priority),
        (instance.connections.is_none(), instance.connections),
        Reverse(instance.ordinal.map_or(u64::MAX, u64::from)),
        (instance.name.as_str(), instance.uid.as_str()),
    )
}
