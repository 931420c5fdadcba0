//! On to the template: outdated instances leave or are recreated, and what needs no new Pod is changed in place.

use super::leave::Departures;
use super::roster::{Roster, Standing};
use super::{Change, Instance, Why};

impl Departures<'_> {
    /// Replaces outdated members as far as (b) allows: where there is a surge they leave, and where there is none
    /// they are recreated under their names.
    pub(super) fn roll(&mut self) {
        if self.roster.surges() {
            // New instances can show that the backends are there before an old one is given up.
            while let Some(member) = self
                .pop_outdated(|member, budget| member.standing != Standing::Starved || budget.any_available())
            {
                self.take(&member);
                self.leave.push((member.instance, Why::Roll));
            }
        } else {
            while let Some(member) = self.pop_outdated(|_, _| true) {
                self.take(&member);
                self.recreate.push(member.instance);
            }
        }
    }
}

/// Members that stay and differ in what needs no new Pod.
pub(super) fn in_place<'a>(
    roster: &'a Roster<'a>,
    departures: &'a Departures<'_>,
) -> impl Iterator<Item = &'a Instance> {
    let members = roster.members.iter().filter(|_| roster.may_change());
    members
        .map(|member| member.instance)
        .filter(|instance| instance.change == Change::InPlace && !departures.contains(instance))
}
