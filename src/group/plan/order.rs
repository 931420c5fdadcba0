//! Who goes first.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::Instance;
use super::roster::{Member, Standing};

/// How many members each topology has, while some are being taken away.
#[derive(Debug, Default)]
pub(super) struct Zones<'a>(BTreeMap<&'a str, usize>);

impl<'a> Zones<'a> {
    pub(super) fn new(members: &[Member<'a>]) -> Self {
        let mut zones = Self::default();
        for zone in members
            .iter()
            .filter_map(|member| member.instance.zone.as_deref())
        {
            *zones.0.entry(zone).or_default() += 1;
        }
        zones
    }

    /// Members in the zone; those that have none were never placed, and go before all that were.
    fn crowd(&self, zone: Option<&str>) -> usize {
        zone.map_or(usize::MAX, |zone| self.0.get(zone).copied().unwrap_or_default())
    }

    fn remove(&mut self, zone: Option<&str>) {
        if let Some(count) = zone.and_then(|zone| self.0.get_mut(zone)) {
            *count = count.saturating_sub(1);
        }
    }
}

/// Members in the order in which they leave: the least useful, from the fullest zone, of the smallest priority, with
/// the fewest connections, of the highest ordinal.
#[derive(Debug, Default)]
pub(super) struct Queue<'a> {
    /// By standing and zone; in each list the first to go is the last element.
    lists: BTreeMap<Standing, BTreeMap<Option<&'a str>, Vec<Member<'a>>>>,
}

impl<'a> Queue<'a> {
    pub(super) fn new(members: impl Iterator<Item = Member<'a>>) -> Self {
        let mut queue = Self::default();
        for member in members {
            let zones = queue.lists.entry(member.standing).or_default();
            zones
                .entry(member.instance.zone.as_deref())
                .or_default()
                .push(member);
        }
        for list in queue.lists.values_mut().flat_map(BTreeMap::values_mut) {
            list.sort_by(|left, right| rank(right.instance).cmp(&rank(left.instance)));
        }
        queue
    }

    /// Who goes first now.
    pub(super) fn peek(&self, zones: &Zones<'a>) -> Option<Member<'a>> {
        let lists = self
            .lists
            .values()
            .find(|lists| lists.values().any(|list| !list.is_empty()))?;
        let firsts = lists.iter().filter_map(|(zone, list)| Some((zone, list.last()?)));
        firsts
            .min_by_key(|(zone, first)| (Reverse(zones.crowd(**zone)), rank(first.instance)))
            .map(|(_, first)| *first)
    }

    /// Takes out the one that [`Self::peek`] shows.
    pub(super) fn pop(&mut self, zones: &mut Zones<'a>) -> Option<Member<'a>> {
        let first = self.peek(zones)?;
        let zone = first.instance.zone.as_deref();
        zones.remove(zone);
        self.lists.get_mut(&first.standing)?.get_mut(&zone)?.pop()
    }
}

/// The order within a standing and a zone. What is unknown goes last, except for a name without an ordinal: that is
/// no name we would give.
pub(super) fn rank(instance: &Instance) -> impl Ord {
    (
        (instance.priority.is_none(), instance.priority),
        (instance.connections.is_none(), instance.connections),
        Reverse(instance.ordinal.map_or(u64::MAX, u64::from)),
        (instance.name.as_str(), instance.uid.as_str()),
    )
}
