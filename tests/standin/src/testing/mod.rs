//! What tests need around a TiProxy, the stand-in or a real one: clients of its ports, an etcd and TiDBs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a test fails by panicking"
)]

pub mod etcd;
pub mod http;
pub mod mysql;
pub mod random;
pub mod tidb;
pub mod wait;

use std::net::TcpListener;

/// A port that was free a moment ago; the system does not hand it out again at once.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}
