//! A watched, indexed store of one kind that shows the operator's own writes at once.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use kube::Resource;

use super::clock::Clock;
use super::overlay::Layered;
pub use super::view::owner_uid;
use super::view::{Key, version_of};

/// All objects of one kind, as the watch last delivered them, with the operator's own newer writes laid over them.
///
/// The overlay only saves needless writes: no decision may depend on it for its safety. An entry goes as soon as
/// the watch has caught up, and after 10 s at the latest. A clone is another handle of the same store.
pub struct Cache<K> {
    shared: Arc<Shared<K>>,
}

struct Shared<K> {
    layers: Mutex<Layered<K>>,
    warm: AtomicBool,
    prune: OnceLock<fn(&mut K)>,
    clock: Clock,
}

/// What the watch told of one object.
#[derive(Debug)]
pub struct Change<K> {
    /// The state that the watch had delivered before, if any.
    pub old: Option<Arc<K>>,
    /// The state now, or `None` if the object is gone.
    pub new: Option<Arc<K>>,
}

impl<K: Resource> Cache<K> {
    /// An empty store that is not warm yet.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(Clock::system())
    }

    /// As [`Cache::new`], with a clock of the caller's for the age of overlay entries.
    #[must_use]
    pub fn with_clock(clock: Clock) -> Self {
        let layers = Mutex::new(Layered::default());
        let shared = Shared {
            layers,
            warm: AtomicBool::new(false),
            prune: OnceLock::new(),
            clock,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// A warm store of these objects, as after a first list; for tests.
    #[must_use]
    pub fn of(objects: impl IntoIterator<Item = K>) -> Self {
        let cache = Self::new();
        cache.begin_relist();
        cache.finish_relist(objects.into_iter().map(Arc::new).collect());
        cache
    }

    /// The object of this name, if there is one. Objects without a namespace are in the namespace `""`.
    #[must_use]
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.layers().view().get(namespace, name).cloned()
    }

    /// The objects whose controlling ownerReference has this UID, sorted by name.
    #[must_use]
    pub fn owned_by(&self, owner_uid: &str) -> Vec<Arc<K>> {
        self.layers().view().owned_by(owner_uid)
    }

    /// The objects of one namespace, sorted by name.
    #[must_use]
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        self.layers().view().in_namespace(namespace)
    }

    /// All objects, sorted by namespace and name.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<K>> {
        self.layers().view().iter().cloned().collect()
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.layers().view().len()
    }

    /// Whether there are no objects.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the first list is complete, or the kind is known not to exist in this cluster. Never goes back.
    #[must_use]
    pub fn is_warm(&self) -> bool {
        self.shared.warm.load(Ordering::Acquire)
    }

    /// Takes the API server's answer to a create, replace, patch or graceful delete, so that the next read sees it
    /// even if the watch lags behind.
    pub fn record_written(&self, mut object: K) {
        self.prune(&mut object);
        self.layers().write(Arc::new(object), self.shared.clock.elapsed());
    }

    /// Takes a delete that took effect at once: the object of this UID is hidden even if the watch lags behind.
    pub fn record_deleted(&self, namespace: &str, name: &str, uid: &str) {
        self.layers()
            .delete(Key::new(namespace, name), uid, self.shared.clock.elapsed());
    }

    /// Takes an object that the watch delivered, and returns what the watch had delivered before.
    pub fn apply(&self, object: Arc<K>) -> Option<Arc<K>> {
        let (key, version) = (Key::of(object.as_ref()), version_of(object.as_ref()));
        self.layers().observe(&key, Some(object), version)
    }

    /// Takes a deletion that the watch delivered, and returns what the watch had delivered before.
    pub fn remove(&self, object: &K) -> Option<Arc<K>> {
        self.layers().observe(&Key::of(object), None, version_of(object))
    }

    /// Notes that a list begins: writes answered before it are part of it.
    pub fn begin_relist(&self) {
        self.layers().begin_relist();
    }

    /// Takes the complete list that [`Cache::begin_relist`] announced and tells what it changed: an entry for each
    /// object that vanished, then one for each listed object. The store is warm from here on.
    #[expect(
        clippy::must_use_candidate,
        reason = "whoever only fills the cache needs no changes"
    )]
    pub fn finish_relist(&self, listed: Vec<Arc<K>>) -> Vec<Change<K>> {
        let changes = self.layers().finish_relist(listed);
        self.mark_warm();
        changes
    }

    /// Declares the store warm as it is.
    pub fn mark_warm(&self) {
        self.shared.warm.store(true, Ordering::Release);
    }

    /// Sets what is cut off every object, besides the managed fields. The first call wins.
    pub fn set_prune(&self, prune: fn(&mut K)) {
        self.shared.prune.get_or_init(|| prune);
    }

    /// Cuts off the managed fields, and what [`Cache::set_prune`] says.
    pub fn prune(&self, object: &mut K) {
        object.meta_mut().managed_fields = None;
        if let Some(prune) = self.shared.prune.get() {
            prune(object);
        }
    }

    fn layers(&self) -> MutexGuard<'_, Layered<K>> {
        // Nothing that may panic runs under the lock, so even a poisoned state is a whole one.
        let mut layers = self.shared.layers.lock().unwrap_or_else(PoisonError::into_inner);
        layers.expire(self.shared.clock.elapsed());
        layers
    }
}

impl<K> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<K: Resource> Default for Cache<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Resource> fmt::Debug for Cache<K> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("Cache");
        debug
            .field("len", &self.len())
            .field("warm", &self.is_warm())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use k8s_openapi::api::core::v1::ConfigMap;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
    use k8s_openapi::jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::runtime::testing::{brief, briefs, config_map, owned};

    fn watched(objects: &[ConfigMap]) -> (Cache<ConfigMap>, Clock) {
        let clock = Clock::manual(Timestamp::UNIX_EPOCH);
        let cache = Cache::with_clock(clock.clone());
        relist(&cache, objects);
        (cache, clock)
    }

    fn relist(cache: &Cache<ConfigMap>, objects: &[ConfigMap]) {
        cache.begin_relist();
        cache.finish_relist(objects.iter().cloned().map(Arc::new).collect());
    }

    /// What a reader sees, or `-`.
    fn seen(cache: &Cache<ConfigMap>, name: &str) -> String {
        cache
            .get("ns", name)
            .map_or_else(|| "-".to_owned(), |object| brief(&object))
    }

    #[test]
    fn it_is_cold_until_the_first_list_is_complete() {
        let cache = Cache::<ConfigMap>::new();
        cache.begin_relist();
        assert!(!cache.is_warm());
        cache.finish_relist(Vec::new());
        assert!(cache.is_warm() && cache.is_empty());
        cache.begin_relist();
        assert!(cache.is_warm());
    }

    #[test]
    fn objects_are_found_by_name_namespace_and_controlling_owner_sorted_by_name() {
        let mut elsewhere = config_map("b", "5", 5);
        elsewhere.metadata.namespace = Some("other".to_owned());
        let mut not_controlled = owned(config_map("d", "4", 4), "x");
        not_controlled.metadata.owner_references.as_mut().unwrap()[0].controller = None;
        let cache = Cache::of([
            owned(config_map("c", "3", 3), "x"),
            not_controlled,
            owned(config_map("a", "1", 1), "x"),
            owned(config_map("b", "2", 2), "y"),
            elsewhere,
        ]);
        assert_eq!(briefs(&cache.owned_by("x")), ["a/1@1", "c/3@3"]);
        assert_eq!(briefs(&cache.owned_by("nobody")), [""; 0]);
        assert_eq!(
            briefs(&cache.in_namespace("ns")),
            ["a/1@1", "b/2@2", "c/3@3", "d/4@4"]
        );
        assert_eq!(
            briefs(&cache.all()),
            ["a/1@1", "b/2@2", "c/3@3", "d/4@4", "b/5@5"]
        );
        assert_eq!((cache.len(), seen(&cache, "b").as_str()), (5, "b/2@2"));

        cache.apply(Arc::new(owned(config_map("a", "1", 6), "y")));
        assert_eq!(briefs(&cache.owned_by("x")), ["c/3@3"]);
        assert_eq!(briefs(&cache.owned_by("y")), ["a/1@6", "b/2@2"]);
        cache.remove(&config_map("b", "2", 7));
        assert_eq!(briefs(&cache.owned_by("y")), ["a/1@6"]);
    }

    #[test]
    fn own_writes_are_seen_at_once_also_by_owner() {
        let (cache, _) = watched(&[config_map("a", "1", 1)]);
        cache.record_written(config_map("a", "1", 5));
        cache.record_written(owned(config_map("new", "2", 6), "x"));
        assert_eq!([seen(&cache, "a"), seen(&cache, "new")], ["a/1@5", "new/2@6"]);
        assert_eq!(briefs(&cache.owned_by("x")), ["new/2@6"]);
    }

    #[test]
    fn an_answer_that_the_watch_has_overtaken_changes_nothing() {
        let (cache, _) = watched(&[config_map("a", "1", 5)]);
        cache.record_written(config_map("a", "1", 4));
        assert_eq!(seen(&cache, "a"), "a/1@5");
        // Deleted again before the answer to its creation was read.
        cache.apply(Arc::new(config_map("b", "2", 6)));
        cache.remove(&config_map("b", "2", 7));
        cache.record_written(config_map("b", "2", 6));
        assert_eq!(seen(&cache, "b"), "-");
    }

    #[test]
    fn of_two_own_writes_the_newer_one_is_seen_whatever_their_order() {
        let (cache, _) = watched(&[]);
        cache.record_written(config_map("a", "1", 6));
        cache.record_written(config_map("a", "1", 5));
        assert_eq!(seen(&cache, "a"), "a/1@6");
    }

    #[test]
    fn an_older_event_does_not_undo_an_own_write_and_the_watch_wins_when_it_has_caught_up() {
        let (cache, _) = watched(&[config_map("a", "1", 1)]);
        cache.record_written(config_map("a", "1", 5));
        assert_eq!(briefs(&cache.apply(Arc::new(config_map("a", "1", 4)))), ["a/1@1"]);
        assert_eq!(seen(&cache, "a"), "a/1@5");
        assert_eq!(briefs(&cache.apply(Arc::new(config_map("a", "1", 5)))), ["a/1@4"]);
        assert_eq!(seen(&cache, "a"), "a/1@5");
        cache.apply(Arc::new(config_map("a", "1", 6)));
        assert_eq!(seen(&cache, "a"), "a/1@6");
    }

    #[test]
    fn an_event_of_another_object_that_is_as_new_ends_the_entry() {
        // The watch's selector does not match what we wrote, so that it never delivers it.
        let (cache, _) = watched(&[config_map("a", "1", 1)]);
        cache.record_written(config_map("phantom", "2", 5));
        cache.apply(Arc::new(config_map("a", "1", 4)));
        assert_eq!(seen(&cache, "phantom"), "phantom/2@5");
        cache.apply(Arc::new(config_map("a", "1", 6)));
        assert_eq!(seen(&cache, "phantom"), "-");
    }

    #[test]
    fn an_entry_ends_with_a_list_that_began_after_the_write_but_not_with_one_that_began_before() {
        let (cache, _) = watched(&[config_map("a", "1", 1)]);
        cache.begin_relist();
        cache.record_written(config_map("a", "1", 5));
        cache.record_written(config_map("new", "2", 6));
        cache.finish_relist(vec![Arc::new(config_map("a", "1", 1))]);
        assert_eq!([seen(&cache, "a"), seen(&cache, "new")], ["a/1@5", "new/2@6"]);
        relist(&cache, &[config_map("a", "1", 1)]);
        assert_eq!([seen(&cache, "a"), seen(&cache, "new")], ["a/1@1", "-"]);
    }

    #[test]
    fn an_entry_ends_after_ten_seconds() {
        let (cache, clock) = watched(&[config_map("a", "1", 1)]);
        cache.record_written(config_map("a", "1", 5));
        clock.advance(Duration::from_secs(5));
        cache.record_written(config_map("b", "2", 6));
        clock.advance(Duration::from_secs(5));
        assert_eq!([seen(&cache, "a"), seen(&cache, "b")], ["a/1@1", "b/2@6"]);
        clock.advance(Duration::from_secs(5));
        assert_eq!((seen(&cache, "b").as_str(), cache.len()), ("-", 1));
    }

    #[test]
    fn a_deleted_object_is_hidden_until_the_watch_knows() {
        let (cache, clock) = watched(&[owned(config_map("a", "1", 1), "x"), config_map("b", "2", 2)]);
        cache.record_deleted("ns", "a", "1");
        cache.record_deleted("ns", "b", "someone-else's");
        cache.record_deleted("ns", "unknown", "9");
        assert_eq!(
            (briefs(&cache.all()), briefs(&cache.owned_by("x"))),
            (vec!["b/2@2".to_owned()], vec![])
        );
        // The watch lags behind: changes from before the deletion, and a late answer to a write.
        cache.apply(Arc::new(config_map("a", "1", 3)));
        cache.record_written(config_map("a", "1", 4));
        assert_eq!(seen(&cache, "a"), "-");
        assert_eq!(briefs(&cache.remove(&config_map("a", "1", 5))), ["a/1@3"]);
        clock.advance(Duration::from_mins(1));
        assert_eq!(seen(&cache, "a"), "-");
    }

    #[test]
    fn a_deletion_ends_with_an_object_of_the_same_name_and_another_uid_or_after_ten_seconds() {
        let (cache, clock) = watched(&[
            config_map("a", "1", 1),
            config_map("b", "2", 2),
            config_map("c", "3", 3),
        ]);
        for (name, uid) in [("a", "1"), ("b", "2"), ("c", "3")] {
            cache.record_deleted("ns", name, uid);
        }
        cache.apply(Arc::new(config_map("a", "11", 11)));
        cache.record_written(config_map("b", "22", 12));
        assert_eq!([seen(&cache, "a"), seen(&cache, "b")], ["a/11@11", "b/22@12"]);
        clock.advance(Duration::from_secs(10));
        assert_eq!(seen(&cache, "c"), "c/3@3");
    }

    #[test]
    fn without_an_order_of_versions_any_news_of_the_object_ends_its_entry() {
        let version = |mut object: ConfigMap, text: &str| {
            object.metadata.resource_version = Some(text.to_owned());
            object
        };
        let (cache, _) = watched(&[version(config_map("a", "1", 1), "x")]);
        cache.record_written(version(config_map("a", "1", 1), "z"));
        cache.apply(Arc::new(version(config_map("b", "2", 1), "zz")));
        assert_eq!(seen(&cache, "a"), "a/1@z");
        cache.apply(Arc::new(version(config_map("a", "1", 1), "y")));
        assert_eq!(seen(&cache, "a"), "a/1@y");
        // What the watch has delivered already is no news.
        cache.record_written(version(config_map("a", "1", 1), "y"));
        cache.remove(&version(config_map("a", "1", 1), "q"));
        assert_eq!(seen(&cache, "a"), "-");
    }

    #[test]
    fn versions_that_went_back_after_a_restored_backup_do_not_disturb() {
        let (cache, _) = watched(&[config_map("a", "1", 1000)]);
        relist(&cache, &[config_map("a", "1", 10)]);
        cache.record_written(config_map("a", "1", 11));
        assert_eq!(seen(&cache, "a"), "a/1@11");
        cache.apply(Arc::new(config_map("a", "1", 12)));
        assert_eq!(seen(&cache, "a"), "a/1@12");
    }

    #[test]
    fn what_is_written_is_pruned_as_what_is_watched() {
        let (cache, _) = watched(&[]);
        cache.set_prune(|object: &mut ConfigMap| object.data = None);
        let mut object = config_map("a", "1", 1);
        object.metadata.managed_fields = Some(vec![ManagedFieldsEntry::default()]);
        object.data = Some([("key".to_owned(), "value".to_owned())].into());
        cache.record_written(object);
        assert_eq!(*cache.get("ns", "a").unwrap(), config_map("a", "1", 1));
    }

    /// An API server of one kind with three names, and a watch that may lag behind it.
    #[derive(Default)]
    struct World {
        version: u64,
        truth: HashMap<&'static str, ConfigMap>,
        undelivered: std::collections::VecDeque<(bool, ConfigMap)>,
    }

    proptest! {
        /// However far the watch lags: a read after a write sees this write or newer, and in the end the truth.
        #[test]
        fn reads_never_go_behind_own_writes_and_end_at_the_truth(steps in prop::collection::vec((0_u8..6, 0_usize..3), 0..120)) {
            let names = ["a", "b", "c"];
            let mut world = World::default();
            let (cache, clock) = watched(&[]);
            for (step, index) in steps {
                let name = names[index];
                world.version += 1;
                match step {
                    // We write, or someone else does.
                    0 | 1 => {
                        let uid = world.truth.get(name).map_or_else(|| format!("u{}", world.version), |known| known.metadata.uid.clone().unwrap());
                        let object = config_map(name, &uid, world.version);
                        world.truth.insert(name, object.clone());
                        world.undelivered.push_back((true, object.clone()));
                        if step == 0 {
                            cache.record_written(object.clone());
                            prop_assert_eq!(seen(&cache, name), brief(&object));
                        }
                    }
                    // We delete, or someone else does.
                    2 | 3 => if let Some(mut object) = world.truth.remove(name) {
                        object.metadata.resource_version = Some(world.version.to_string());
                        world.undelivered.push_back((false, object.clone()));
                        let known = cache.get("ns", name).is_none_or(|known| known.metadata.uid == object.metadata.uid);
                        if step == 2 {
                            cache.record_deleted("ns", name, object.metadata.uid.as_deref().unwrap());
                            if known {
                                prop_assert_eq!(seen(&cache, name), "-");
                            }
                        }
                    },
                    4 => if let Some((exists, object)) = world.undelivered.pop_front() {
                        if exists { cache.apply(Arc::new(object)); } else { cache.remove(&object); }
                    },
                    _ => {
                        world.undelivered.clear();
                        let list: Vec<_> = world.truth.values().cloned().collect();
                        relist(&cache, &list);
                    }
                }
            }
            for (exists, object) in world.undelivered {
                if exists { cache.apply(Arc::new(object)); } else { cache.remove(&object); }
            }
            let mut truth: Vec<_> = world.truth.values().map(brief).collect();
            truth.sort();
            prop_assert_eq!(briefs(&cache.all()), truth.clone());
            clock.advance(Duration::from_secs(10));
            prop_assert_eq!(briefs(&cache.all()), truth);
        }
    }
}
