//! How many Pods in a row of a TiProxy have ended without becoming ready.

use crate::runtime::notes::Notes;

/// Counters by the UID of a TiProxy. They live in memory only: after a restart of the operator a failing Pod is
/// replaced once without delay, and the delays grow again.
#[derive(Clone, Debug, Default)]
pub struct Failures(Notes<u32>);

impl Failures {
    /// How many Pods in a row have ended.
    #[must_use]
    pub fn of(&self, uid: &str) -> u32 {
        self.0.get(uid).unwrap_or_default()
    }

    /// One more Pod has ended.
    pub fn add(&self, uid: &str) {
        self.0.change(uid, |count| *count = count.saturating_add(1));
    }

    /// A Pod became ready, or the TiProxy is gone.
    pub fn forget(&self, uid: &str) {
        self.0.forget(uid);
    }
}
