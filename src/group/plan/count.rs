//! The counters of the group's status.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::roster::{Standing, standing};
use super::{Change, Health, Observed, Phase};

/// How many instances of a group are what. All but `draining` count active instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Counts {
    /// Neither offline nor deleting, lost ones included.
    pub active: u32,
    /// Ready.
    pub ready: u32,
    /// Ready for `min_ready`.
    pub available: u32,
    /// As the template says in every respect.
    pub updated: u32,
    /// In need of a new Pod.
    pub outdated: u32,
    /// Unready only because no TiDB is available to them.
    pub starved: u32,
    /// On a dead node.
    pub lost: u32,
    /// Offline or deleting.
    pub draining: u32,
    /// Those of them that leave because of a roll: they still run something else than the template says.
    pub rolled: u32,
}

impl Counts {
    /// Whether the group has what it wants: as many as wanted, all of them updated and available, and nothing left of
    /// an older template. Leavers of a scale-in do not matter.
    #[must_use]
    pub fn complete(&self, replicas: u32) -> bool {
        self.active == replicas && self.updated == replicas && self.available == replicas && self.rolled == 0
    }
}

/// Counts a group's instances by the same measures as [`plan`](super::plan).
#[must_use]
pub fn counts(observed: &Observed, now: Timestamp) -> Counts {
    let mut counts = Counts::default();
    for instance in &observed.instances {
        match instance.phase {
            Phase::Active => counts.add(instance.change, instance.health, observed.min_ready, now),
            Phase::Offline | Phase::Deleting => {
                counts.draining += 1;
                counts.rolled += u32::from(instance.change == Change::Roll);
            }
        }
    }
    counts
}

impl Counts {
    fn add(&mut self, change: Change, health: Health, min_ready: Duration, now: Timestamp) {
        self.active += 1;
        match change {
            Change::None => self.updated += 1,
            Change::InPlace | Change::Reload => {}
            Change::Roll => self.outdated += 1,
        }
        match standing(health, min_ready, now).map(|(standing, _)| standing) {
            None => self.lost += 1,
            Some(Standing::Starved) => self.starved += 1,
            Some(Standing::Young) => self.ready += 1,
            Some(Standing::Available) => {
                self.ready += 1;
                self.available += 1;
            }
            Some(Standing::NotRunning | Standing::NotReady | Standing::Unobserved) => {}
        }
    }
}
