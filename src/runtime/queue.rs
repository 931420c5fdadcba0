//! The queue of a controller.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use kube::Resource;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::Notify;

use super::schedule::Schedule;

/// What waits to be reconciled. An object that waits already is not put in again. A clone is another handle.
pub struct Queue<K: Resource<DynamicType = ()>> {
    shared: Arc<Shared<K>>,
}

struct Shared<K: Resource<DynamicType = ()>> {
    schedule: Mutex<Schedule<ObjectRef<K>>>,
    changed: Notify,
}

impl<K: Resource<DynamicType = ()>> Queue<K> {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        let shared = Shared {
            schedule: Mutex::new(Schedule::default()),
            changed: Notify::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Asks for a reconcile of this object as soon as possible; also before the controller runs.
    pub fn add(&self, object: ObjectRef<K>) {
        self.with(|schedule| schedule.add(object));
        self.shared.changed.notify_one();
    }

    /// Ends when something was added since the last call.
    pub(super) async fn changed(&self) {
        self.shared.changed.notified().await;
    }

    /// How many objects wait for a worker.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.with(|schedule| schedule.depth())
    }

    /// Works on the schedule under its lock.
    pub(super) fn with<R>(&self, work: impl FnOnce(&mut Schedule<ObjectRef<K>>) -> R) -> R {
        work(
            &mut self
                .shared
                .schedule
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}

impl<K: Resource<DynamicType = ()>> Clone for Queue<K> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<K: Resource<DynamicType = ()>> Default for Queue<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Resource<DynamicType = ()>> fmt::Debug for Queue<K> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Queue")
            .field("depth", &self.depth())
            .finish_non_exhaustive()
    }
}
