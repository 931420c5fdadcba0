//! What may still be taken away.

use super::roster::{Member, Roster, Standing};

/// The available and the hopeful instances that are left, and how many of them must stay.
#[derive(Debug)]
pub(super) struct Budget {
    floor: u32,
    available: u32,
    hopeful: u32,
}

impl Budget {
    pub(super) fn new(roster: &Roster<'_>) -> Self {
        let observed = roster.observed;
        let mut budget = Self {
            floor: observed
                .replicas
                .saturating_sub(observed.limits.max_unavailable()),
            available: 0,
            hopeful: 0,
        };
        for member in &roster.members {
            budget.available += u32::from(member.standing == Standing::Available);
            budget.hopeful += u32::from(member.hopeful());
        }
        budget
    }

    /// Whether an outdated instance may go, as far as (b) is concerned.
    pub(super) fn allows(&self, member: &Member<'_>) -> bool {
        match member.standing {
            Standing::NotRunning | Standing::NotReady => true,
            Standing::Starved | Standing::Unobserved | Standing::Young => {
                self.available.saturating_add(self.hopeful) > self.floor
            }
            Standing::Available => self.available > self.floor,
        }
    }

    pub(super) fn any_available(&self) -> bool {
        self.available > 0
    }

    pub(super) fn take(&mut self, member: &Member<'_>) {
        self.available -= u32::from(member.standing == Standing::Available);
        self.hopeful -= u32::from(member.hopeful());
    }
}
