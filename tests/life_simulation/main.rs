//! Both controllers' decisions in one simulated cluster: users edit, roll back, scale, suspend and delete, Pods are killed and
//! evicted, TiDB goes away, clients come and leave, and some never do. What the operator does is held against the rules
//! at each of its writes, and when the trouble is over the group must reach its goal and stay at rest.
//!
//! The planners' own simulations (`group_simulation`, `instance_simulation`) look harder at one of them, with views of the
//! past; here the two work on what the other one writes. A share of such lives is led on a real API server by the
//! cluster tests.
//!
//! `TIPROXY_OPERATOR_LIVES` is the number of runs, `TIPROXY_OPERATOR_LIFE` the seed of a single one.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "helpers of tests, outside of a test function"
)]

mod cluster;
mod event;
mod group;
mod instance;
#[path = "../instance_simulation/metadata.rs"]
mod metadata;

use tiproxy_standin::testing::random::Random;

use crate::cluster::Cluster;

const LIVES: u64 = 500;
const EVENTS: usize = 120;

/// What one run has seen.
#[derive(Debug, Default)]
struct Seen {
    drained: usize,
    deadlines: usize,
    revived: usize,
    rolled: usize,
}

fn live(seed: u64) -> Seen {
    let mut random = Random::seeded(seed);
    let mut cluster = Cluster::new();
    for _ in 0..EVENTS {
        event::happen(&mut cluster, &mut random);
    }
    cluster.heal();
    cluster.come_to_rest(&mut random);
    cluster.check_goal();
    cluster.seen
}

/// Leads the lives of every other seed, from this one on.
fn live_all(first: u64) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seeds: Vec<u64> = match number("TIPROXY_OPERATOR_LIFE") {
        Some(seed) => vec![seed],
        None => (first..number("TIPROXY_OPERATOR_LIVES").unwrap_or(LIVES))
            .step_by(2)
            .collect(),
    };
    let mut total = Seen::default();
    for seed in &seeds {
        println!("TIPROXY_OPERATOR_LIFE={seed}");
        let seen = live(*seed);
        total.drained += seen.drained;
        total.deadlines += seen.deadlines;
        total.revived += seen.revived;
        total.rolled += seen.rolled;
    }
    println!("{} lives: {total:?}", seeds.len());
    // A simulation in which nothing happens shows nothing.
    if seeds.len() >= 100 {
        assert!(
            total.drained > 100 && total.deadlines > 20 && total.revived > 20 && total.rolled > 100,
            "{total:?}"
        );
    }
}

#[test]
fn the_rules_hold_and_the_goal_is_reached_in_every_even_life() {
    live_all(0);
}

#[test]
fn the_rules_hold_and_the_goal_is_reached_in_every_odd_life() {
    live_all(1);
}
