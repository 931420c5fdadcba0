//! Time, given from outside, so that tests own it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use std::time::{Duration, Instant};

use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// A source of time: the machine's, or one that a test moves by hand. Clones share their time.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System {
        started: Instant,
    },
    Manual {
        start: Timestamp,
        passed_milliseconds: Arc<AtomicU64>,
    },
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System {
            started: Instant::now(),
        })
    }

    /// A clock that stands still at `start` until [`Clock::advance`] moves it.
    #[must_use]
    pub fn manual(start: Timestamp) -> Self {
        Self(Source::Manual {
            start,
            passed_milliseconds: Arc::default(),
        })
    }

    /// The time of day.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System { .. } => Timestamp::now(),
            Source::Manual { start, .. } => {
                let passed = SignedDuration::try_from(self.elapsed()).unwrap_or(SignedDuration::MAX);
                start.checked_add(passed).unwrap_or(Timestamp::MAX)
            }
        }
    }

    /// The time since this clock was made. It never goes back, whatever happens to the time of day.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        match &self.0 {
            Source::System { started } => started.elapsed(),
            Source::Manual {
                passed_milliseconds, ..
            } => Duration::from_millis(passed_milliseconds.load(Ordering::Acquire)),
        }
    }

    /// Moves a manual clock forward, in whole milliseconds. The system's clock is not moved.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual {
            passed_milliseconds, ..
        } = &self.0
        {
            let milliseconds = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
            passed_milliseconds.fetch_add(milliseconds, Ordering::AcqRel);
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_by_hand_and_for_all_its_clones() {
        let start = "2026-11-23T10:00:00Z".parse().unwrap();
        let clock = Clock::manual(start);
        let clone = clock.clone();
        assert_eq!((clock.now(), clock.elapsed()), (start, Duration::ZERO));

        clone.advance(Duration::from_millis(1500));
        assert_eq!(clock.elapsed(), Duration::from_millis(1500));
        assert_eq!(clock.now(), "2026-11-23T10:00:01.5Z".parse().unwrap());
    }

    #[test]
    fn the_system_clock_goes_forward_and_cannot_be_moved() {
        let clock = Clock::system();
        clock.advance(Duration::from_hours(1));
        assert!(clock.elapsed() < Duration::from_hours(1));
        assert!(clock.now() <= Timestamp::now());
    }
}
