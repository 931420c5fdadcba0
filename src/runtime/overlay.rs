//! What the watch delivered, with the operator's own writes laid over it until the watch has caught up.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use kube::Resource;

use super::cache::Change;
use super::resource_version::ResourceVersion;
use super::view::{Key, View, version_of};

/// How long an entry may outlive its write when the watch brings nothing.
const TIME_TO_LIVE: Duration = Duration::from_secs(10);

/// The pure core of a cache: no lock, no clock.
pub(crate) struct Layered<K> {
    /// What readers see.
    view: View<K>,
    entries: BTreeMap<Key, Entry<K>>,
    /// The highest resourceVersion that the watch delivered: all events up to it are in the watched state, because
    /// a watch delivers them in order.
    delivered: Option<ResourceVersion>,
    /// How many lists have begun.
    relists: u64,
    /// No entry ends before.
    next_end: Duration,
}

/// One write of ours.
struct Entry<K> {
    /// What the watch last delivered under this name.
    observed: Option<Arc<K>>,
    written: Written,
    /// How many lists had begun when the write was answered.
    relists: u64,
    end: Duration,
}

enum Written {
    Object { version: Option<ResourceVersion> },
    Deletion { uid: String },
}

impl<K> Default for Layered<K> {
    fn default() -> Self {
        Self {
            view: View::default(),
            entries: BTreeMap::new(),
            delivered: None,
            relists: 0,
            next_end: Duration::MAX,
        }
    }
}

impl<K: Resource> Layered<K> {
    /// What readers see.
    pub(crate) fn view(&self) -> &View<K> {
        &self.view
    }

    /// Takes the answer to a write, unless the watch or a later write of ours has already brought it or newer.
    pub(crate) fn write(&mut self, object: Arc<K>, now: Duration) {
        let key = Key::of(object.as_ref());
        let meta = object.meta();
        let version = version_of(object.as_ref());
        let is_newer_than = |other: Option<ResourceVersion>| match (version, other) {
            (Some(version), Some(other)) => version > other,
            _ => true,
        };
        let already_seen = match self.entries.get(&key).map(|entry| &entry.written) {
            Some(Written::Object { version: other }) => !is_newer_than(*other),
            // An answer that was late: what it tells of is gone.
            Some(Written::Deletion { uid }) => meta.uid.as_ref() == Some(uid),
            None => self.view.get(&key.namespace, &key.name).is_some_and(|seen| {
                seen.meta().resource_version == meta.resource_version
                    || !is_newer_than(version_of(seen.as_ref()))
            }),
        };
        if already_seen || !is_newer_than(self.delivered) {
            return;
        }
        self.lay_over(key, Written::Object { version }, Some(object), now);
    }

    /// Takes a delete that took effect at once.
    pub(crate) fn delete(&mut self, key: Key, uid: &str, now: Duration) {
        let seen = self.view.get(&key.namespace, &key.name);
        if seen.is_some_and(|seen| seen.meta().uid.as_deref() == Some(uid)) {
            self.lay_over(key, Written::Deletion { uid: uid.to_owned() }, None, now);
        }
    }

    /// Takes what the watch says of one name, and returns what it had said before.
    pub(crate) fn observe(
        &mut self,
        key: &Key,
        new: Option<Arc<K>>,
        version: Option<ResourceVersion>,
    ) -> Option<Arc<K>> {
        let old = match self.entries.get_mut(key) {
            None => self.view.set(key, new),
            Some(entry) => {
                let settled = entry.written.is_settled_by(new.as_deref(), version);
                let old = std::mem::replace(&mut entry.observed, new);
                if settled {
                    self.uncover(key);
                }
                old
            }
        };
        if version > self.delivered {
            self.delivered = version;
            self.uncover_where(|entry| {
                matches!(&entry.written, Written::Object { version: Some(written) } if Some(*written) <= version)
            });
        }
        old
    }

    /// Notes that a list begins. Writes answered before are part of it.
    pub(crate) fn begin_relist(&mut self) {
        self.relists += 1;
    }

    /// Takes a complete list and tells what it changed: first what vanished, then one entry for each listed object.
    pub(crate) fn finish_relist(&mut self, listed: Vec<Arc<K>>) -> Vec<Change<K>> {
        let relists = self.relists;
        self.uncover_where(|entry| entry.relists < relists);
        // After a restored backup versions go back, so that the list alone counts.
        self.delivered = None;
        let names: HashSet<Key> = listed.iter().map(|object| Key::of(object.as_ref())).collect();
        let visible = self.view.iter().map(|object| Key::of(object.as_ref()));
        let known: HashSet<Key> = visible.chain(self.entries.keys().cloned()).collect();
        let mut changes = Vec::with_capacity(listed.len());
        for key in known.difference(&names) {
            if let Some(old) = self.observe(key, None, None) {
                changes.push(Change {
                    old: Some(old),
                    new: None,
                });
            }
        }
        for object in listed {
            let old = self.observe(
                &Key::of(object.as_ref()),
                Some(Arc::clone(&object)),
                version_of(object.as_ref()),
            );
            changes.push(Change {
                old,
                new: Some(object),
            });
        }
        changes
    }

    /// Ends the entries whose time is over.
    pub(crate) fn expire(&mut self, now: Duration) {
        if now >= self.next_end {
            self.uncover_where(|entry| entry.end <= now);
            self.next_end = self
                .entries
                .values()
                .map(|entry| entry.end)
                .min()
                .unwrap_or(Duration::MAX);
        }
    }

    fn lay_over(&mut self, key: Key, written: Written, visible: Option<Arc<K>>, now: Duration) {
        let before = self.view.set(&key, visible);
        let observed = self.entries.remove(&key).map_or(before, |entry| entry.observed);
        let end = now.saturating_add(TIME_TO_LIVE);
        self.next_end = self.next_end.min(end);
        self.entries.insert(
            key,
            Entry {
                observed,
                written,
                relists: self.relists,
                end,
            },
        );
    }

    /// Drops the entry of this name: readers see what the watch delivered.
    fn uncover(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.view.set(key, entry.observed);
        }
    }

    fn uncover_where(&mut self, is_over: impl Fn(&Entry<K>) -> bool) {
        let over = self
            .entries
            .extract_if(.., |_, entry| is_over(entry))
            .collect::<Vec<_>>();
        for (key, entry) in over {
            self.view.set(&key, entry.observed);
        }
    }
}

impl Written {
    /// Whether this news of the same name from the watch makes the entry needless.
    fn is_settled_by<K: Resource>(&self, new: Option<&K>, news: Option<ResourceVersion>) -> bool {
        match self {
            // A list that began before the write and lacks the object says nothing: it carries no version here.
            Self::Object { version: Some(_) } if new.is_none() && news.is_none() => false,
            Self::Object {
                version: Some(written),
            } => news.is_none_or(|news| news >= *written),
            // Versions without an order: any news of the object is taken as newer, which is the plain cache.
            Self::Object { version: None } => true,
            Self::Deletion { uid } => new.is_none_or(|new| new.meta().uid.as_ref() != Some(uid)),
        }
    }
}
