//! From the events of a watch to the objects whose owners should look again. No input or output in here.

use std::collections::HashSet;
use std::sync::Arc;

use kube::Resource;
use kube::core::ObjectMeta;
use kube::runtime::watcher::Event;

use super::cache::{Cache, Change, owner_uid};
use super::view::{Key, version_of};

/// Feeds one cache. kube's own reflector tells nobody of an object that vanished while the watch was down, and
/// during a list it tells of objects before its store holds them; this does neither.
#[derive(Debug)]
pub(crate) struct Feed<K: Resource> {
    cache: Cache<K>,
    /// The list that is being read, if one is.
    list: Option<Vec<Arc<K>>>,
}

/// An object as it came from the server, or only its metadata if the rest could not be understood.
#[derive(Debug, Clone)]
pub(crate) enum Decoded<K> {
    Object(K),
    Unreadable(Box<ObjectMeta>),
}

impl<K: Resource> Feed<K> {
    pub(crate) fn new(cache: Cache<K>) -> Self {
        Self { cache, list: None }
    }

    /// Takes one event, and returns what to touch now that the cache holds the new state.
    pub(crate) fn step(&mut self, event: Event<Decoded<K>>) -> Vec<Arc<K>> {
        match event {
            Event::Init => {
                self.cache.begin_relist();
                self.list = Some(Vec::new());
                Vec::new()
            }
            Event::InitApply(object) => {
                let object = self.receive(object);
                if let (Some(object), Some(list)) = (object, &mut self.list) {
                    list.push(object);
                }
                Vec::new()
            }
            Event::InitDone => {
                let list = self.list.take().map(newest_of_each_name).unwrap_or_default();
                self.cache
                    .finish_relist(list)
                    .into_iter()
                    .flat_map(to_touch)
                    .collect()
            }
            Event::Apply(object) => self.apply(object),
            Event::Delete(object) => self.delete(object),
        }
    }

    /// Forgets all objects and returns them, as if each had been deleted.
    pub(crate) fn clear(&mut self) -> Vec<Arc<K>> {
        self.list = None;
        self.cache.begin_relist();
        self.cache
            .finish_relist(Vec::new())
            .into_iter()
            .flat_map(to_touch)
            .collect()
    }

    fn apply(&mut self, object: Decoded<K>) -> Vec<Arc<K>> {
        let Some(object) = self.receive(object) else {
            return Vec::new();
        };
        if let Some(list) = &mut self.list {
            list.push(Arc::clone(&object));
        }
        let old = self.cache.apply(Arc::clone(&object));
        to_touch(Change {
            old,
            new: Some(object),
        })
    }

    fn delete(&mut self, object: Decoded<K>) -> Vec<Arc<K>> {
        let object = match object {
            Decoded::Object(mut object) => {
                self.cache.prune(&mut object);
                Arc::new(object)
            }
            // The last readable state stands for the one that was deleted.
            Decoded::Unreadable(meta) => match self.last_readable(&meta) {
                Some(object) => object,
                None => return Vec::new(),
            },
        };
        if let Some(list) = &mut self.list {
            let key = Key::of(object.as_ref());
            list.retain(|listed| Key::of(listed.as_ref()) != key);
        }
        let old = self.cache.remove(object.as_ref());
        to_touch(Change {
            old,
            new: Some(object),
        })
    }

    /// The pruned object. For an unreadable one its last readable state: to drop it would look like a deletion, and
    /// its owner would replace what is still there.
    fn receive(&self, object: Decoded<K>) -> Option<Arc<K>> {
        match object {
            Decoded::Object(mut object) => {
                self.cache.prune(&mut object);
                Some(Arc::new(object))
            }
            Decoded::Unreadable(meta) => self.last_readable(&meta),
        }
    }

    fn last_readable(&self, meta: &ObjectMeta) -> Option<Arc<K>> {
        let (namespace, name) = (
            meta.namespace.as_deref().unwrap_or_default(),
            meta.name.as_deref()?,
        );
        self.cache
            .get(namespace, name)
            .filter(|object| object.meta().uid == meta.uid)
    }
}

/// A list may hold a name twice when an event came between its pages: the newer state counts.
fn newest_of_each_name<K: Resource>(list: Vec<Arc<K>>) -> Vec<Arc<K>> {
    let mut names = HashSet::with_capacity(list.len());
    if list.iter().all(|object| names.insert(Key::of(object.as_ref()))) {
        return list;
    }
    let mut newest: Vec<Arc<K>> = Vec::with_capacity(names.len());
    for object in list {
        let key = Key::of(object.as_ref());
        match newest.iter_mut().find(|other| Key::of(other.as_ref()) == key) {
            Some(other) if version_of(other.as_ref()) <= version_of(object.as_ref()) => *other = object,
            Some(_) => {}
            None => newest.push(object),
        }
    }
    newest
}

/// The new state, and the old one where the two may concern different owners.
fn to_touch<K: Resource>(change: Change<K>) -> Vec<Arc<K>> {
    match (change.old, change.new) {
        (Some(old), Some(new)) if concern_others(old.as_ref(), new.as_ref()) => vec![old, new],
        (old, new) => new.or(old).into_iter().collect(),
    }
}

fn concern_others<K: Resource>(old: &K, new: &K) -> bool {
    let (old_meta, new_meta) = (old.meta(), new.meta());
    old_meta.uid != new_meta.uid || owner_uid(old) != owner_uid(new) || old_meta.labels != new_meta.labels
}
