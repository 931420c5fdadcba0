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
