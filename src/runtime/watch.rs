//! A watch of one kind into a [`Cache`], in a task of its own: whatever happens to it, other kinds go on.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{BoxStream, StreamExt};
use kube::core::DeserializeGuard;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::cache::Cache;
use super::fault::{Complaints, Fault};
use super::feed::{Decoded, Feed, Limits};
use super::jitter::Jitter;
use crate::metrics::{Metrics, WatchMetrics};

/// The most seconds that one watch request lasts: load balancers drop idle connections after 240 s, and until the
/// request's end the loss goes unnoticed.
const MOST_SECONDS: u32 = 190;
const LEAST_BACKOFF: Duration = Duration::from_millis(200);
const MOST_BACKOFF: Duration = Duration::from_secs(30);
/// A watch that went well for so long starts again with the least backoff.
const FORGET_BACKOFF_AFTER: Duration = Duration::from_mins(2);

/// What a watch of one kind needs. It feeds the cache and calls `touch` for every object whose owner should look
/// again: applied, deleted, listed again, or vanished while the watch was down; and also with the former state of an
/// object whose UID, controlling owner or labels changed. The cache holds the new state by then.
///
/// Errors are counted, logged once for each change, and retried after 0.2 s to 30 s. They never end the task: only
/// the shutdown token does.
#[derive(Debug)]
pub struct Watch<K: Resource> {
    pub(super) cache: Cache<K>,
    pub(super) config: watcher::Config,
    limits: Limits<K>,
    is_dispensable: bool,
    pub(super) metrics: Metrics,
    pub(super) jitter: Jitter,
    pub(super) shutdown: CancellationToken,
}

/// Called with every touched object.
pub(super) type Touch<K> = Arc<dyn Fn(&K) + Send + Sync>;
/// Events of one kind, with each object decoded as far as possible.
pub(super) type Events<K> = BoxStream<'static, watcher::Result<Event<Decoded<K>>>>;

impl<K> Watch<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    /// A watch of all objects of the kind. It lists with the default, consistent semantics, which the cache relies on.
    #[must_use]
    pub fn new(cache: Cache<K>, metrics: Metrics, shutdown: CancellationToken) -> Self {
        Self {
            cache,
            config: watcher::Config::default(),
            limits: Limits::default(),
            is_dispensable: false,
            metrics,
            jitter: Jitter::random(),
            shutdown,
        }
        .config(watcher::Config::default())
    }

    /// Sets selectors and page size. A longer `timeout` than 190 s is cut to that.
    #[must_use]
    pub fn config(mut self, mut config: watcher::Config) -> Self {
        config.timeout = Some(config.timeout.unwrap_or(MOST_SECONDS).min(MOST_SECONDS));
        self.config = config;
        self
    }

    /// Selects by fields, beside what [`Watch::config`] selects.
    #[must_use]
    pub fn fields(mut self, selector: &str) -> Self {
        self.config.field_selector = Some(selector.to_owned());
        self
    }

    /// Sets what is cut off every object before it is kept, besides the managed fields.
    #[must_use]
    pub fn prune(self, prune: fn(&mut K)) -> Self {
        self.cache.set_prune(prune);
        self
    }

    /// Takes only objects of which `keep` is true, and never more than `most`; the rest is as if it was not there.
    #[must_use]
    pub fn only(mut self, keep: fn(&K) -> bool, most: usize) -> Self {
        self.limits = Limits { keep, most };
        self
    }

    /// Lets the cache count as warm when the kind cannot be read: its objects only help to explain, and nobody should
    /// wait for them.
    #[must_use]
    pub fn dispensable(mut self) -> Self {
        self.is_dispensable = true;
        self
    }

    /// Sets the source of randomness for the backoff.
    #[must_use]
    pub fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// Starts the watch of a kind whose objects can always be decoded, as those of Kubernetes itself.
    pub fn spawn(self, api: Api<K>, touch: impl Fn(&K) + Send + Sync + 'static) -> JoinHandle<()> {
        let events =
            watcher(api, self.config.clone()).map(|event| event.map(|event| convert(event, Decoded::Object)));
        self.spawn_events(events.boxed(), Arc::new(touch))
    }

    /// Starts the watch of a custom kind. An object that this version of the operator cannot decode keeps its last
    /// readable state in the cache, is logged and counted, and does not stop the others.
    pub fn spawn_guarded(
        self,
        api: Api<DeserializeGuard<K>>,
        touch: impl Fn(&K) + Send + Sync + 'static,
    ) -> JoinHandle<()> {
        let events = self.guarded_events(api);
        self.spawn_events(events, Arc::new(touch))
    }

    pub(super) fn guarded_events(&self, api: Api<DeserializeGuard<K>>) -> Events<K> {
        let metrics = self.metrics.watch(&K::kind(&()));
        let events = watcher(api, self.config.clone());
        events
            .map(move |event| event.map(|event| convert(event, |object| unguard(object, &metrics))))
            .boxed()
    }

    fn spawn_events(self, mut events: Events<K>, touch: Touch<K>) -> JoinHandle<()> {
        tokio::spawn(async move {
            let mut driver = Driver::new(&self, touch);
            self.shutdown
                .run_until_cancelled(driver.run_for_ever(&mut events))
                .await;
        })
    }
}

/// Moves events into the cache and tells of them.
pub(super) struct Driver<K: Resource> {
    kind: String,
    feed: Feed<K>,
    cache: Cache<K>,
    touch: Touch<K>,
    is_dispensable: bool,
    metrics: WatchMetrics,
    complaints: Complaints,
    pace: Pace,
}

impl<K> Driver<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    pub(super) fn new(watch: &Watch<K>, touch: Touch<K>) -> Self {
        let kind = K::kind(&()).into_owned();
        Self {
            feed: Feed::within(watch.cache.clone(), watch.limits.clone()),
            cache: watch.cache.clone(),
            touch,
            is_dispensable: watch.is_dispensable,
            metrics: watch.metrics.watch(&kind),
            complaints: Complaints::default(),
            pace: Pace::new(watch.jitter.clone()),
            kind,
        }
    }

    /// Takes events, and waits after each error. It may be dropped at any await, and called again.
    pub(super) async fn run_for_ever(&mut self, events: &mut Events<K>) {
        loop {
            let fault = self.run(events).await;
            tokio::time::sleep(self.delay_after(fault)).await;
        }
    }

    /// Takes events until one is an error. It may be dropped at any await, and called again.
    pub(super) async fn run(&mut self, events: &mut Events<K>) -> Fault {
        loop {
            match events.next().await {
                Some(Ok(event)) => self.take(event),
                Some(Err(error)) => {
                    let fault = Fault::of(&error);
                    self.metrics.error(fault.as_str());
                    self.complaints.failed(&self.kind, fault, &error);
                    if self.is_dispensable {
                        self.cache.mark_warm();
                    }
                    return fault;
                }
                // kube's watcher never ends; a stream that does is polled again after a delay.
                None => return Fault::Unreachable,
            }
        }
    }

    pub(super) fn delay_after(&mut self, fault: Fault) -> Duration {
        self.pace.delay_after(fault)
    }

    /// The kind does not exist in this cluster: the cache is empty, and that is the truth.
    pub(super) fn kind_is_absent(&mut self) {
        let gone = self.feed.clear();
        self.tell(&gone);
    }

    /// The kind may not be read: what is known of it stays, and nobody waits for more.
    pub(super) fn go_on_without(&mut self) {
        self.cache.mark_warm();
    }

    fn take(&mut self, event: Event<Decoded<K>>) {
        // `Init` comes before the list is even tried, so that it proves nothing.
        if !matches!(event, Event::Init) {
            self.complaints.works(&self.kind);
            self.pace.works();
        }
        let touched = self.feed.step(event);
        self.tell(&touched);
    }

    fn tell(&self, touched: &[Arc<K>]) {
        if !touched.is_empty() {
            self.metrics.objects(self.cache.len());
        }
        for object in touched {
            (self.touch)(object.as_ref());
        }
    }
}

/// How fast one watch retries.
pub(super) struct Pace {
    jitter: Jitter,
    backoff: Backoff,
    last_fault: Option<Instant>,
}

impl Pace {
    pub(super) fn new(jitter: Jitter) -> Self {
        Self {
            backoff: Backoff::new(LEAST_BACKOFF, MOST_BACKOFF, &jitter),
            jitter,
            last_fault: None,
        }
    }

    /// How long to wait before the next attempt.
    pub(super) fn delay_after(&mut self, fault: Fault) -> Duration {
        let now = Instant::now();
        match self.last_fault.replace(now) {
            // To list again at once is what the server asks for.
            None if fault == Fault::Expired => return Duration::ZERO,
            Some(last) if now > last + FORGET_BACKOFF_AFTER => self.reset(),
            _ => {}
        }
        self.backoff.next_delay()
    }

    /// The watch delivers.
    pub(super) fn works(&mut self) {
        if self.last_fault.take().is_some() {
            self.reset();
        }
    }

    fn reset(&mut self) {
        self.backoff = Backoff::new(LEAST_BACKOFF, MOST_BACKOFF, &self.jitter);
    }
}

pub(super) fn convert<From, To>(event: Event<From>, decode: impl FnOnce(From) -> To) -> Event<To> {
    match event {
        Event::Apply(object) => Event::Apply(decode(object)),
        Event::Delete(object) => Event::Delete(decode(object)),
        Event::Init => Event::Init,
        Event::InitApply(object) => Event::InitApply(decode(object)),
        Event::InitDone => Event::InitDone,
    }
}

fn unguard<K: Resource<DynamicType = ()>>(object: DeserializeGuard<K>, metrics: &WatchMetrics) -> Decoded<K> {
    match object.0 {
        Ok(object) => Decoded::Object(object),
        Err(invalid) => {
            metrics.error(Fault::Undecodable.as_str());
            tracing::warn!(
                kind = %K::kind(&()),
                namespace = invalid.metadata.namespace.as_deref().unwrap_or_default(),
                name = invalid.metadata.name.as_deref().unwrap_or_default(),
                error = invalid.error,
                "this version of the operator cannot read the object and leaves it as it is"
            );
            Decoded::Unreadable(Box::new(invalid.metadata))
        }
    }
}

#[cfg(test)]
mod tests;
