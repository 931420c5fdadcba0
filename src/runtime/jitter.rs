//! Randomness, given from outside: only used to spread retries, never for anything secret.

use std::hash::{BuildHasher, RandomState};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use std::time::Duration;

/// A source of random delays. Clones share one sequence.
#[derive(Debug, Clone)]
pub struct Jitter(Arc<AtomicU64>);

impl Jitter {
    /// A sequence that differs in every process.
    #[must_use]
    pub fn random() -> Self {
        Self::seeded(RandomState::new().hash_one("jitter"))
    }

    /// The same sequence for the same seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seed)))
    }

    /// The next number of the sequence (splitmix64).
    #[must_use]
    pub fn next_number(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut mixed = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A delay from `least` to `most`, both included. `least` if `most` is not more.
    #[must_use]
    pub fn between(&self, least: Duration, most: Duration) -> Duration {
        // 2^16 steps are fine enough to spread retries, and u32 is what Duration multiplies by.
        let part = u32::try_from(self.next_number() >> 48).unwrap_or(0);
        least + most.saturating_sub(least) / u32::from(u16::MAX) * part
    }
}

impl Default for Jitter {
    fn default() -> Self {
        Self::random()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_stay_in_their_bounds_and_spread_over_them() {
        let (least, most) = (Duration::from_millis(50), Duration::from_millis(500));
        let jitter = Jitter::seeded(7);
        let delays: Vec<_> = (0..1000).map(|_| jitter.between(least, most)).collect();
        assert!(delays.iter().all(|delay| (least..=most).contains(delay)));
        assert!(delays.iter().any(|delay| *delay < Duration::from_millis(100)));
        assert!(delays.iter().any(|delay| *delay > Duration::from_millis(450)));
        assert_eq!(jitter.between(most, least), most);
    }

    #[test]
    fn a_seed_gives_one_sequence_and_processes_differ() {
        let sequence = |jitter: Jitter| (0..4).map(|_| jitter.next_number()).collect::<Vec<_>>();
        assert_eq!(sequence(Jitter::seeded(1)), sequence(Jitter::seeded(1)));
        assert_ne!(sequence(Jitter::random()), sequence(Jitter::random()));
    }
}
