//! How many Pods in a row of a TiProxy have ended without becoming ready.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Counters by the UID of a TiProxy. They live in memory only: after a restart of the operator a failing Pod is
/// replaced once without delay, and the delays grow again.
#[derive(Clone, Debug, Default)]
pub struct Failures(Arc<Mutex<HashMap<String, u32>>>);

impl Failures {
    /// How many Pods in a row have ended.
    #[must_use]
    pub fn of(&self, uid: &str) -> u32 {
        self.with(|counts| counts.get(uid).copied().unwrap_or_default())
    }

    /// One more Pod has ended.
    pub fn add(&self, uid: &str) {
        self.with(|counts| {
            let count = counts.entry(uid.to_owned()).or_default();
            *count = count.saturating_add(1);
        });
    }

    /// A Pod became ready, or the TiProxy is gone.
    pub fn forget(&self, uid: &str) {
        self.with(|counts| counts.remove(uid));
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<String, u32>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
