//! On to the template: outdated instances leave or are recreated.

use super::Why;
use super::leave::Departures;
use super::roster::Standing;

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
