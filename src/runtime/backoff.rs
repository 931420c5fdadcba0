//! Growing delays between retries, by backon: kube's own choice, while `backoff` is unmaintained (RUSTSEC-2025-0012).

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use super::jitter::Jitter;

/// Delays that double from `least` up to `most`, each spread so that retries of many do not coincide.
#[derive(Debug)]
pub(crate) struct Backoff {
    delays: ExponentialBackoff,
    most: Duration,
}

impl Backoff {
    /// The first delay is between `least` and twice that; none is longer than `most`.
    pub(crate) fn new(least: Duration, most: Duration, jitter: &Jitter) -> Self {
        // backon adds up to the same again, so that half of the most is its limit.
        let builder = ExponentialBuilder::new()
            .with_min_delay(least.min(most / 2))
            .with_max_delay(most / 2);
        let builder = builder
            .with_factor(2.0)
            .with_jitter()
            .with_jitter_seed(jitter.next_number());
        Self {
            delays: builder.without_max_times().build(),
            most,
        }
    }

    /// The delay before the next retry.
    pub(crate) fn next_delay(&mut self) -> Duration {
        self.delays.next().unwrap_or(self.most).min(self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_within_their_bounds_for_ever() {
        let (least, most) = (Duration::from_secs(1), Duration::from_mins(5));
        let mut backoff = Backoff::new(least, most, &Jitter::seeded(1));
        let delays: Vec<_> = (0..50).map(|_| backoff.next_delay()).collect();
        assert!((least..=least * 2).contains(&delays[0]), "{:?}", delays[0]);
        assert!((least * 8..=least * 16).contains(&delays[3]), "{:?}", delays[3]);
        assert!(
            delays[10..].iter().all(|delay| (most / 2..=most).contains(delay)),
            "{delays:?}"
        );
    }
}
