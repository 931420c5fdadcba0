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
    limits: Limits<K>,
    /// The list that is being read, if one is.
    list: Option<Vec<Arc<K>>>,
}

/// An object as it came from the server, or only its metadata if the rest could not be understood.
#[derive(Debug, Clone)]
pub(crate) enum Decoded<K> {
    Object(K),
    Unreadable(Box<ObjectMeta>),
}

/// Which objects are taken at all.
#[derive(Debug)]
pub(crate) struct Limits<K> {
    pub(crate) keep: fn(&K) -> bool,
    pub(crate) most: usize,
}

impl<K> Clone for Limits<K> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<K> Default for Limits<K> {
    fn default() -> Self {
        Self {
            keep: |_| true,
            most: usize::MAX,
        }
    }
}

impl<K: Resource> Feed<K> {
    #[cfg(test)]
    pub(crate) fn new(cache: Cache<K>) -> Self {
        Self::within(cache, Limits::default())
    }

    pub(crate) fn within(cache: Cache<K>, limits: Limits<K>) -> Self {
        Self {
            cache,
            limits,
            list: None,
        }
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
            Decoded::Object(object) if !(self.limits.keep)(&object) => return Vec::new(),
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
            Decoded::Object(object) if !(self.limits.keep)(&object) || !self.has_room(&object) => None,
            Decoded::Object(mut object) => {
                self.cache.prune(&mut object);
                Some(Arc::new(object))
            }
            Decoded::Unreadable(meta) => self.last_readable(&meta),
        }
    }

    /// Whether the object is known, or one more may be.
    fn has_room(&self, object: &K) -> bool {
        let known = self.list.as_ref().map_or_else(|| self.cache.len(), Vec::len);
        known < self.limits.most || {
            let key = Key::of(object);
            self.cache.get(&key.namespace, &key.name).is_some()
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

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;
    use crate::runtime::testing::{briefs, config_map, owned};

    type ConfigMapEvent = Event<Decoded<ConfigMap>>;

    fn apply(object: ConfigMap) -> ConfigMapEvent {
        Event::Apply(Decoded::Object(object))
    }

    fn delete(object: ConfigMap) -> ConfigMapEvent {
        Event::Delete(Decoded::Object(object))
    }

    fn listed(object: ConfigMap) -> ConfigMapEvent {
        Event::InitApply(Decoded::Object(object))
    }

    fn list(objects: impl IntoIterator<Item = ConfigMap>) -> Vec<ConfigMapEvent> {
        let objects = objects.into_iter().map(listed);
        std::iter::once(Event::Init)
            .chain(objects)
            .chain([Event::InitDone])
            .collect()
    }

    /// Takes events and returns what they touched, sorted, and what the cache held when each was told.
    fn run(feed: &mut Feed<ConfigMap>, events: impl IntoIterator<Item = ConfigMapEvent>) -> Vec<String> {
        let mut touched: Vec<_> = events.into_iter().flat_map(|event| feed.step(event)).collect();
        touched.sort_by_key(|object| {
            (
                object.metadata.name.clone(),
                object.metadata.resource_version.clone(),
            )
        });
        briefs(&touched)
    }

    fn feed(objects: impl IntoIterator<Item = ConfigMap>) -> Feed<ConfigMap> {
        let mut feed = Feed::new(Cache::new());
        run(&mut feed, list(objects));
        feed
    }

    #[test]
    fn applied_and_deleted_objects_are_touched() {
        let mut feed = feed([]);
        assert_eq!(run(&mut feed, [apply(config_map("a", "1", 1))]), ["a/1@1"]);
        assert_eq!(run(&mut feed, [apply(config_map("a", "1", 2))]), ["a/1@2"]);
        assert_eq!(run(&mut feed, [delete(config_map("a", "1", 3))]), ["a/1@3"]);
        assert!(feed.cache.is_empty());
    }

    #[test]
    fn an_object_that_vanished_while_the_watch_was_down_is_touched() {
        let mut feed = feed([config_map("a", "1", 1), config_map("b", "2", 2)]);
        assert_eq!(
            run(&mut feed, list([config_map("a", "1", 1)])),
            ["a/1@1", "b/2@2"]
        );
        assert_eq!(briefs(&feed.cache.all()), ["a/1@1"]);
    }

    #[test]
    fn a_name_that_was_reused_touches_both_objects() {
        let mut feed = feed([config_map("a", "1", 1)]);
        assert_eq!(
            run(&mut feed, list([config_map("a", "2", 5)])),
            ["a/1@1", "a/2@5"]
        );
        assert_eq!(
            run(&mut feed, [apply(config_map("a", "3", 7))]),
            ["a/2@5", "a/3@7"]
        );
    }

    #[test]
    fn nothing_is_told_before_the_list_is_complete_and_the_cache_holds_it() {
        let mut feed = feed([config_map("a", "1", 1)]);
        let half = vec![
            Event::Init,
            listed(config_map("a", "1", 5)),
            listed(config_map("b", "2", 6)),
        ];
        assert_eq!(run(&mut feed, half), [""; 0]);
        assert_eq!(briefs(&feed.cache.all()), ["a/1@1"]);
        assert_eq!(
            run(&mut feed, [listed(config_map("c", "3", 7)), Event::InitDone]),
            ["a/1@5", "b/2@6", "c/3@7"]
        );
        assert_eq!(feed.cache.len(), 3);
    }

    #[test]
    fn an_event_between_two_pages_is_told_at_once_and_not_undone_by_the_list() {
        let mut feed = feed([config_map("a", "1", 1), config_map("b", "2", 2)]);
        run(
            &mut feed,
            [
                Event::Init,
                listed(config_map("a", "1", 1)),
                listed(config_map("b", "2", 2)),
            ],
        );
        assert_eq!(run(&mut feed, [apply(config_map("a", "1", 8))]), ["a/1@8"]);
        assert_eq!(run(&mut feed, [delete(config_map("b", "2", 9))]), ["b/2@9"]);
        assert_eq!(run(&mut feed, [apply(config_map("c", "3", 10))]), ["c/3@10"]);
        let rest = [
            listed(config_map("c", "3", 7)),
            listed(config_map("d", "4", 4)),
            Event::InitDone,
        ];
        assert_eq!(run(&mut feed, rest), ["a/1@8", "c/3@10", "d/4@4"]);
        assert_eq!(briefs(&feed.cache.all()), ["a/1@8", "c/3@10", "d/4@4"]);
    }

    #[test]
    fn a_list_that_is_begun_again_forgets_the_first_attempt() {
        let mut feed = feed([]);
        run(&mut feed, [Event::Init, listed(config_map("gone", "1", 1))]);
        assert_eq!(run(&mut feed, list([config_map("a", "2", 2)])), ["a/2@2"]);
        assert_eq!(briefs(&feed.cache.all()), ["a/2@2"]);
    }

    #[test]
    fn former_owners_and_labels_are_told_too() {
        let labelled = |mut object: ConfigMap, value: &str| {
            object.metadata.labels = Some([("group".to_owned(), value.to_owned())].into());
            object
        };
        let mut feed = feed([
            owned(config_map("a", "1", 1), "x"),
            labelled(config_map("b", "2", 2), "x"),
        ]);
        assert_eq!(
            run(&mut feed, [apply(owned(config_map("a", "1", 3), "x"))]),
            ["a/1@3"]
        );
        assert_eq!(
            run(&mut feed, [apply(owned(config_map("a", "1", 4), "y"))]),
            ["a/1@3", "a/1@4"]
        );
        assert_eq!(
            run(&mut feed, [apply(labelled(config_map("b", "2", 5), "y"))]),
            ["b/2@2", "b/2@5"]
        );
        let gone = delete(labelled(config_map("b", "2", 6), "z"));
        assert_eq!(run(&mut feed, [gone]), ["b/2@5", "b/2@6"]);
        assert_eq!(
            run(&mut feed, list([config_map("a", "1", 7)])),
            ["a/1@4", "a/1@7"]
        );
    }

    #[test]
    fn our_own_write_does_not_hide_that_the_labels_changed() {
        let mut feed = feed([owned(config_map("a", "1", 1), "x")]);
        feed.cache.record_written(owned(config_map("a", "1", 2), "y"));
        assert_eq!(
            run(&mut feed, [apply(owned(config_map("a", "1", 2), "y"))]),
            ["a/1@1", "a/1@2"]
        );
    }

    #[test]
    fn an_unreadable_object_keeps_its_last_readable_state() {
        let unreadable =
            |name, uid, version| Decoded::Unreadable(Box::new(config_map(name, uid, version).metadata));
        let mut feed = feed([config_map("a", "1", 1), config_map("b", "2", 2)]);
        run(
            &mut feed,
            [
                Event::Apply(unreadable("a", "1", 3)),
                Event::Apply(unreadable("new", "3", 4)),
            ],
        );
        assert_eq!(briefs(&feed.cache.all()), ["a/1@1", "b/2@2"]);
        let list = [
            Event::Init,
            Event::InitApply(unreadable("a", "1", 3)),
            Event::InitApply(unreadable("b", "22", 5)),
        ];
        run(&mut feed, list.into_iter().chain([Event::InitDone]));
        assert_eq!(briefs(&feed.cache.all()), ["a/1@1"], "b is another object now");
        assert_eq!(
            run(&mut feed, [Event::Delete(unreadable("a", "1", 6))]),
            ["a/1@1"]
        );
        assert!(feed.cache.is_empty());
    }

    #[test]
    fn what_is_not_wanted_and_what_is_too_much_is_left_out() {
        let limits = Limits {
            keep: |object: &ConfigMap| object.metadata.name.as_deref() != Some("other"),
            most: 2,
        };
        let mut feed = Feed::within(Cache::new(), limits);
        let many = ["other", "a", "b", "c"].map(|name| config_map(name, name, 1));
        assert_eq!(run(&mut feed, list(many)), ["a/a@1", "b/b@1"]);
        assert_eq!(run(&mut feed, [apply(config_map("d", "d", 2))]), [""; 0]);
        assert_eq!(run(&mut feed, [apply(config_map("other", "other", 3))]), [""; 0]);
        assert_eq!(run(&mut feed, [apply(config_map("a", "a", 4))]), ["a/a@4"]);
        assert_eq!(run(&mut feed, [delete(config_map("other", "other", 5))]), [""; 0]);
        assert_eq!(run(&mut feed, [delete(config_map("b", "b", 6))]), ["b/b@6"]);
        assert_eq!(run(&mut feed, [apply(config_map("d", "d", 7))]), ["d/d@7"]);
        assert_eq!(briefs(&feed.cache.all()), ["a/a@4", "d/d@7"]);
    }

    #[test]
    fn clearing_touches_everything_and_leaves_a_warm_cache() {
        let mut feed = feed([config_map("a", "1", 1), config_map("b", "2", 2)]);
        assert_eq!(feed.clear().len(), 2);
        assert!(feed.cache.is_empty() && feed.cache.is_warm());
        let mut fresh: Feed<ConfigMap> = Feed::new(Cache::new());
        assert!(fresh.clear().is_empty() && fresh.cache.is_warm());
    }
}
