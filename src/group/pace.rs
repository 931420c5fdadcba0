//! How often the status of one group is written: hundreds of TiProxies becoming Ready are a few writes.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use crate::runtime::notes::Notes;

/// The least time between two status writes of one group.
const INTERVAL: Duration = Duration::from_millis(250);

/// When the status of each group, by UID, was written last.
#[derive(Clone, Debug, Default)]
pub struct Pace(Notes<Timestamp>);

impl Pace {
    /// How long to wait before the next write; zero is at once.
    #[must_use]
    pub fn wait(&self, uid: &str, now: Timestamp) -> Duration {
        let last = self.0.get(uid);
        let past = last.and_then(|last| Duration::try_from(now.duration_since(last)).ok());
        past.map_or(Duration::ZERO, |past| INTERVAL.saturating_sub(past))
    }

    /// The status was written.
    pub fn note(&self, uid: &str, now: Timestamp) {
        self.0.set(uid, now);
    }

    /// The group is gone.
    pub fn forget(&self, uid: &str) {
        self.0.forget(uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_writes_a_second() {
        let pace = Pace::default();
        let start = Timestamp::UNIX_EPOCH;
        assert_eq!(pace.wait("a", start), Duration::ZERO);
        pace.note("a", start);
        assert_eq!(
            pace.wait("a", start + Duration::from_millis(100)),
            Duration::from_millis(150)
        );
        assert_eq!(pace.wait("b", start), Duration::ZERO);
        assert_eq!(pace.wait("a", start + Duration::from_millis(250)), Duration::ZERO);
        pace.forget("a");
        assert_eq!(pace.wait("a", start), Duration::ZERO);
    }
}
