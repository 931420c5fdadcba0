//! What every controller needs and kube lacks. Nothing in here knows TiProxy.
//!
//! | module | what it adds |
//! |---|---|
//! | [`cache`] | a store of one kind, indexed by owner, that shows the operator's own writes at once |
//! | [`watch`] | fills a cache; tells of objects that vanished while the watch was down; one kind's failure stays its own |
//! | [`optional`] | the same for a kind whose definition may be missing in the cluster |
//! | [`runner`] | runs one controller: bounded workers, a time limit, backoff for each object, a graceful stop |
//! | [`write`](mod@write) | the writing rules: preconditions, strict validation, errors sorted by who can help |
//! | [`condition`] | status conditions with the transition times of apimachinery |
//! | [`event`] | Kubernetes Events, which never hold up or fail a reconcile |
//! | [`clock`], [`jitter`] | time and randomness, given from outside |
//! | [`time`] | reckoning with times that others wrote |
//! | [`notes`] | what is remembered of objects from one reconcile to the next |

mod backoff;
pub mod cache;
pub mod clock;
pub mod condition;
pub(crate) mod error_chain;
pub mod event;
mod fault;
mod feed;
pub mod jitter;
pub mod notes;
pub mod optional;
mod overlay;
mod queue;
mod resource_version;
pub mod runner;
mod schedule;
pub mod time;
mod view;
pub mod watch;
pub mod write;
pub mod write_error;

#[cfg(test)]
pub(crate) mod testing;
