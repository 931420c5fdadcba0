//! Reckoning with times that others wrote: clocks differ, and nothing may overflow. Pure.

use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// How long ago a time was; one that lies ahead was no time ago at all.
#[must_use]
pub fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}

/// A time with so much later.
#[must_use]
pub fn after(time: Timestamp, wait: Duration) -> Timestamp {
    SignedDuration::try_from(wait)
        .ok()
        .and_then(|wait| time.checked_add(wait).ok())
        .unwrap_or(Timestamp::MAX)
}

/// How long it is until a time; `None` when it has come.
#[must_use]
pub fn until(time: Timestamp, now: Timestamp) -> Option<Duration> {
    let wait = elapsed(now, time);
    (!wait.is_zero()).then_some(wait)
}

/// As times stand in objects.
#[must_use]
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_neither_overflow_nor_count_twice() {
        let now: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
        assert_eq!(after(Timestamp::MAX, Duration::from_secs(1)), Timestamp::MAX);
        assert_eq!(after(now, Duration::MAX), Timestamp::MAX);
        let soon = after(now, Duration::from_secs(5));
        assert_eq!(until(soon, now), Some(Duration::from_secs(5)));
        assert_eq!(until(soon, soon), None);
        assert_eq!(until(now, soon), None);
        assert_eq!(elapsed(now, soon), Duration::from_secs(5));
        assert_eq!(elapsed(soon, now), Duration::ZERO);
    }
}
