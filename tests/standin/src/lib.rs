//! A stand-in for TiProxy in the operator's tests.
//!
//! It behaves as TiProxy does towards those who run it: files, flags, HTTP API, metrics, signals, TLS and what a MySQL
//! client sees, with TiProxy's oddities. It has no TiDB behind it: it answers statements itself, and which TiDBs it
//! believes to be there stands in a file ([`backend`]). `docs/reference/standin.md` says what was compared with the
//! real one, and what is left out.

pub mod api;
pub mod backend;
pub mod config;
pub mod flags;
pub mod metrics;
pub mod mysql;
pub mod process;
pub mod router;
pub mod sql;
pub mod state;
pub mod testing;
pub mod tls;
