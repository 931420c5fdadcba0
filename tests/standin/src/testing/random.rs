//! Numbers without a pattern.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::Range;
use std::time::Duration;

/// A source of them (`SplitMix64`).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Default for Random {
    /// Numbers that nobody can repeat.
    fn default() -> Self {
        Self::seeded(RandomState::new().build_hasher().finish())
    }
}

impl Random {
    /// The numbers that follow from a seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below another.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).expect("a number of 64 bits");
        usize::try_from(self.next() % end).expect("it came from one")
    }

    /// A time in a range of milliseconds.
    pub fn millis(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(range.start + self.next() % (range.end - range.start))
    }

    /// One of some things.
    pub fn one_of<T: Clone>(&mut self, things: &[T]) -> T {
        things[self.below(things.len())].clone()
    }

    /// Whether something happens that happens once in so many times.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

#[test]
fn a_seed_gives_the_same_numbers_and_all_of_them() {
    let numbers = |seed| {
        let mut random = Random::seeded(seed);
        (0..1000).map(|_| random.below(10)).collect::<Vec<_>>()
    };
    assert_eq!(numbers(1), numbers(1));
    assert_ne!(numbers(1), numbers(2));
    for wanted in 0..10 {
        let count = numbers(7).iter().filter(|found| **found == wanted).count();
        assert!((60..140).contains(&count), "{wanted}: {count} of 1000");
    }
}
