//! What is remembered of objects from one reconcile to the next.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A note on each of some objects, by UID. Notes live in memory only, so nothing may depend on one for safety. A clone is
/// another handle of the same notes.
#[derive(Debug)]
pub struct Notes<T>(Arc<Mutex<HashMap<String, T>>>);

impl<T> Notes<T> {
    /// The note on the object of this UID.
    #[must_use]
    pub fn get(&self, uid: &str) -> Option<T>
    where
        T: Clone,
    {
        self.with(|notes| notes.get(uid).cloned())
    }

    /// Remembers this of the object, and no longer what was noted before.
    pub fn set(&self, uid: &str, note: T) {
        self.with(|notes| notes.insert(uid.to_owned(), note));
    }

    /// Changes the note on the object, which begins with the default.
    pub fn change(&self, uid: &str, change: impl FnOnce(&mut T))
    where
        T: Default,
    {
        self.with(|notes| change(notes.entry(uid.to_owned()).or_default()));
    }

    /// The object is gone, or what was noted of it does not matter any more.
    pub fn forget(&self, uid: &str) {
        self.with(|notes| notes.remove(uid));
    }

    fn with<R>(&self, act: impl FnOnce(&mut HashMap<String, T>) -> R) -> R {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<T> Clone for Notes<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Notes<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_object_has_a_note_of_its_own_until_it_is_forgotten() {
        let notes = Notes::default();
        let other_handle = notes.clone();
        assert_eq!(notes.get("a"), None);
        notes.set("a", 1);
        other_handle.set("b", 2);
        other_handle.change("a", |note| *note += 10);
        notes.change("c", |note| *note += 3);
        assert_eq!(
            ["a", "b", "c"].map(|uid| notes.get(uid)),
            [Some(11), Some(2), Some(3)]
        );
        notes.forget("a");
        assert_eq!(other_handle.get("a"), None);
    }
}
