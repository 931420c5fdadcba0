//! When the operator deleted a Pod of each TiProxy last.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::jiff::Timestamp;

/// Times by the UID of a TiProxy: a Pod that is gone tells none. They live in memory only; without one, what follows from
/// the deletion is told a few seconds sooner.
#[derive(Clone, Debug, Default)]
pub struct Deletions(Arc<Mutex<HashMap<String, Timestamp>>>);

impl Deletions {
    /// When its Pod was deleted last.
    #[must_use]
    pub fn of(&self, uid: &str) -> Option<Timestamp> {
        self.with(|times| times.get(uid).copied())
    }

    /// Its Pod is deleted now.
    pub fn note(&self, uid: &str, now: Timestamp) {
        self.with(|times| times.insert(uid.to_owned(), now));
    }

    /// The TiProxy is gone.
    pub fn forget(&self, uid: &str) {
        self.with(|times| times.remove(uid));
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<String, Timestamp>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
