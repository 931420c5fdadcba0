//! The instance controller's planner against a simulated cluster: a Pod starts, becomes ready, fails, is evicted, takes
//! its time to end; users edit, delete and orphan; the operator crashes between two writes and looks at caches that
//! are each behind by an amount of their own. Every write is judged by what is true, not by what was seen, and after
//! the trouble the TiProxy must be ready at the right revision and stay at rest.
//!
//! In the first test the caches hold the operator's own writes, as the real ones do. In the second they do not, as
//! after a request whose answer was lost: names that collide and preconditions are enough for all rules but two: that
//! the finalizer waits for a Pod that was created unseen, and that the `ConfigMap` waits for one.
//!
//! `PROPTEST_CASES` sets the number of cases.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "helpers of tests, outside of a test function"
)]

mod event;
mod metadata;
mod proxy;
mod state;
mod world;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use crate::event::event;
use crate::world::World;

fn config() -> ProptestConfig {
    let mut config = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 400;
    }
    config.failure_persistence = Some(Box::new(FileFailurePersistence::WithSource("regressions")));
    config
}

/// `is_ready`: it begins when all is well, and not with the birth of the TiProxy.
fn run(sees_own_writes: bool, is_ready: bool, events: &[event::Event]) {
    let mut world = World::new(sees_own_writes);
    if is_ready {
        world.heal();
    }
    for event in events {
        world.happen(event);
    }
    world.heal();
    world.check_goal();
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn rules_hold_and_the_goal_is_reached(is_ready: bool, events in prop::collection::vec(event(), 0..120)) {
        run(true, is_ready, &events);
    }

    #[test]
    fn the_goal_is_reached_from_anywhere(is_ready: bool, events in prop::collection::vec(event(), 0..120)) {
        run(false, is_ready, &events);
    }
}
