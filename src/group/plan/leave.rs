//! Down to size: lost instances are given up, and what is above the goal leaves.

use std::collections::BTreeSet;

use super::budget::Budget;
use super::order::{Queue, rank};
use super::roster::{Member, Roster};
use super::topology::Seats;
use super::{Instance, Why};

/// Who is taken away, and who could still be.
#[derive(Debug)]
pub(super) struct Departures<'a> {
    pub(super) roster: &'a Roster<'a>,
    pub(super) leave: Vec<(&'a Instance, Why)>,
    pub(super) recreate: Vec<&'a Instance>,
    names: BTreeSet<&'a str>,
    budget: Budget,
    /// Where all members are.
    all: Seats<'a>,
    /// Where those are that a roll does not replace: what counts when it is over.
    kept: Seats<'a>,
    /// Outdated members while a roll goes on: they go first.
    first: Queue<'a>,
    /// All other members.
    rest: Queue<'a>,
    fresh: u32,
    outdated: u32,
}

impl<'a> Departures<'a> {
    pub(super) fn new(roster: &'a Roster<'a>) -> Self {
        let (first, rest): (Vec<_>, Vec<_>) = roster
            .members
            .iter()
            .copied()
            .partition(|member| roster.rolling() && member.outdated());
        Self {
            roster,
            leave: Vec::new(),
            recreate: Vec::new(),
            names: BTreeSet::new(),
            budget: Budget::new(roster),
            all: seats(roster, &roster.members),
            kept: seats(roster, &rest),
            first: Queue::new(first.into_iter()),
            rest: Queue::new(rest.into_iter()),
            fresh: roster.fresh,
            outdated: roster.outdated,
        }
    }

    /// Whether the instance is taken away.
    pub(super) fn contains(&self, instance: &Instance) -> bool {
        self.names.contains(instance.name.as_str())
    }

    /// Gives up lost instances. Where none can be created in their place they stay, since a node may come back,
    /// unless there are too many instances anyway.
    pub(super) fn leave_lost(&mut self) {
        let mut lost = self.roster.lost.clone();
        if self.roster.observed.may_create {
            self.leave
                .extend(lost.into_iter().map(|instance| (instance, Why::Lost)));
        } else {
            let members = u64::from(self.fresh + self.outdated);
            let surplus = (members + lost.len() as u64).saturating_sub(u64::from(self.goal()));
            let surplus = usize::try_from(surplus).unwrap_or(usize::MAX);
            lost.sort_by(|left, right| rank(left).cmp(&rank(right)));
            self.leave.extend(
                lost.into_iter()
                    .take(surplus)
                    .map(|instance| (instance, Why::ScaleIn)),
            );
        }
    }

    /// Takes away what is above the goal: outdated ones as long as (b) holds, then the least useful. Where (b) stops
    /// the outdated ones, one that is fresh and not available is among the rest, so that (b) holds for these as well.
    pub(super) fn scale_in(&mut self) {
        while self.fresh + self.outdated > self.goal() {
            let Some(member) = self.pop_outdated(|_, _| true).or_else(|| self.pop_rest()) else {
                return;
            };
            self.take(&member);
            self.leave.push((member.instance, Why::ScaleIn));
        }
    }

    /// The next outdated member if a roll goes on, (b) allows it and so does the condition.
    pub(super) fn pop_outdated(
        &mut self,
        condition: impl Fn(&Member<'a>, &Budget) -> bool,
    ) -> Option<Member<'a>> {
        let member = self.first.peek(&self.all)?;
        let allowed = self.budget.allows(&member) && condition(&member, &self.budget);
        if allowed { self.first.pop(&self.all) } else { None }
    }

    /// The next of the other members.
    fn pop_rest(&mut self) -> Option<Member<'a>> {
        let member = self.rest.pop(&self.kept)?;
        self.kept.remove(member.instance.topology.as_ref());
        Some(member)
    }

    /// Books the departure of a member.
    pub(super) fn take(&mut self, member: &Member<'a>) {
        self.names.insert(&member.instance.name);
        self.all.remove(member.instance.topology.as_ref());
        self.budget.take(member);
        *(if member.outdated() {
            &mut self.outdated
        } else {
            &mut self.fresh
        }) -= 1;
    }

    /// How many members there may be: the wish, and the surge in progress.
    fn goal(&self) -> u32 {
        let surge = self
            .roster
            .observed
            .limits
            .max_surge()
            .min(self.fresh)
            .min(self.outdated);
        self.roster.observed.replicas.saturating_add(surge)
    }
}

fn seats<'a>(roster: &'a Roster<'a>, members: &[Member<'a>]) -> Seats<'a> {
    let occupants = members.iter().map(|member| member.instance.topology.as_ref());
    Seats::new(&roster.observed.topologies, occupants)
}
