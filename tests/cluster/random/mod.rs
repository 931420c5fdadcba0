//! Random lives of a group with drain, on a real API server: users change their mind, Pods are killed and evicted, the
//! operator is restarted and killed, clients come and go. Every moment of each history is held against the invariants,
//! and after the trouble the group is as it was asked for.
//!
//! `TIPROXY_OPERATOR_RANDOM_RUNS` says how many lives, `TIPROXY_OPERATOR_RANDOM_SEED` with which the first begins: each
//! prints its seed, and with that seed and one run it is lived again, as far as time allows.

mod clients;
mod event;
mod life;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::harness;

const RUNS: &str = "TIPROXY_OPERATOR_RANDOM_RUNS";
const SEED: &str = "TIPROXY_OPERATOR_RANDOM_SEED";
/// How many lives there are when nobody says.
const DEFAULT_RUNS: u64 = 6;
/// How many go on at the same time.
const PARALLEL: u64 = 6;
const ONE_LIFE: Duration = Duration::from_mins(4);

/// A number from a variable.
fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{variable} is a number, not {text:?}")))
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn the_invariants_hold_in_random_lives() {
    let runs = number(RUNS).unwrap_or(DEFAULT_RUNS);
    let first = number(SEED).unwrap_or_else(|| RandomState::new().build_hasher().finish() >> 32);
    let (next, began) = (AtomicU64::new(0), Instant::now());
    std::thread::scope(|scope| {
        let live = || {
            loop {
                let run = next.fetch_add(1, Ordering::Relaxed);
                if run >= runs {
                    return;
                }
                let (seed, began) = (first.wrapping_add(run), Instant::now());
                println!("seed {seed} begins");
                harness::run_within(ONE_LIFE, async |test| life::live(test, seed).await);
                println!("seed {seed} is over after {:.1?}", began.elapsed());
            }
        };
        for _ in 0..PARALLEL.min(runs) {
            scope.spawn(live);
        }
    });
    println!("{runs} lives from seed {first}, {:.1?}", began.elapsed());
}
