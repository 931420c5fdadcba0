//! Tests against a real API server; `./hack/test.sh` starts one and runs them.
//!
//! Each is `#[ignore]`d, so that a plain `cargo test` touches no cluster: [`harness::cluster`] names the variables
//! that choose one. Run by hand: `cargo test --test cluster -- --include-ignored`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

mod api;
mod backends;
mod behaviour;
mod budget;
mod clients;
#[path = "../tls/combination.rs"]
mod combination;
mod crash;
mod drain;
mod group_objects;
mod harness;
mod harness_test;
mod lifecycle;
mod node_labels;
mod nodes;
mod overlay;
mod placement;
mod random;
mod volume;
