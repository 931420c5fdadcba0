//! Runs one controller: takes objects from a queue and reconciles them.
//!
//! kube's `applier` needs a kube `Store` that holds the objects, and its `Scheduler` cannot be asked from outside a
//! task; so the queue is a small one of ours, whose rules are in `schedule` and are tested without any runtime.

use std::collections::HashMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use kube::Resource;
use kube::runtime::reflector::ObjectRef;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::backoff::Backoff;
use super::error_chain::with_sources;
use super::jitter::Jitter;
pub use super::queue::Queue;
use crate::metrics::{ControllerMetrics, Metrics, ReconcileResult};

/// How a reconcile ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All is as it should be: the next event wakes us.
    Done,
    /// Something is awaited. An event wakes us, or `recheck` if it comes first.
    Waiting {
        /// How long to wait for an event at most; without it only an event wakes us.
        recheck: Option<Duration>,
    },
    /// There was nothing to decide: the object is gone, or not ours.
    Skipped,
}

impl Outcome {
    /// Waiting for the first of these times, or for an event only when there is none.
    #[must_use]
    pub fn waiting_for<const N: usize>(times: [Option<Duration>; N]) -> Self {
        match times.into_iter().flatten().min() {
            None => Self::Done,
            recheck => Self::Waiting { recheck },
        }
    }
}

/// What kind of failure a reconcile met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCategory {
    /// Someone else wrote, or a cache is behind: nobody's fault. Repeated after 50 to 500 ms.
    Conflict,
    /// It may pass. Repeated with growing delays.
    Transient,
    /// It will not pass until someone changes something. Repeated only with the longest delay.
    Invalid,
}

/// An error of a reconcile.
pub trait ReconcileError: std::error::Error + Send + 'static {
    /// What kind of failure this is.
    fn category(&self) -> ErrorCategory;

    /// Whether the next pass is likely to settle it.
    fn is_conflict(&self) -> bool {
        self.category() == ErrorCategory::Conflict
    }
}

/// How a controller runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The most reconciles at once.
    pub workers: usize,
    /// How long one reconcile may take before it is given up, which counts as an error.
    pub timeout: Duration,
    /// The first delay after a failure; it doubles with each further one.
    pub least_backoff: Duration,
    /// The longest delay after a failure.
    pub most_backoff: Duration,
    /// When set, an object that is done is reconciled again after this time, give or take a fifth.
    pub resync: Option<Duration>,
    /// How long running reconciles may go on after the shutdown.
    pub grace: Duration,
    /// The source of randomness for delays.
    pub jitter: Jitter,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            workers: 16,
            timeout: Duration::from_mins(1),
            least_backoff: Duration::from_secs(1),
            most_backoff: Duration::from_mins(5),
            resync: None,
            grace: Duration::from_secs(10),
            jitter: Jitter::random(),
        }
    }
}

/// How often it is looked whether the caches are warm.
const WARM_POLL: Duration = Duration::from_millis(20);
const LEAST_CONFLICT_DELAY: Duration = Duration::from_millis(50);
const MOST_CONFLICT_DELAY: Duration = Duration::from_millis(500);
/// So many conflicts in a row are no accident any more: they are treated as a failure that may pass.
const MOST_CONFLICTS: u32 = 10;

/// Reconciles what is in the queue, until the shutdown.
///
/// Nothing is reconciled before `is_warm`. At most [`Settings::workers`] reconciles run at once, and never two of the
/// same object; an object that is added while it is reconciled is reconciled again afterwards. A reconcile that fails,
/// takes too long or panics is repeated with growing delays, which end with its first success; an event comes before
/// a delay. A reconcile of an object that is gone must succeed. On shutdown no more reconciles begin.
pub async fn run<K, F, Fut, E>(
    name: &'static str,
    is_warm: impl Fn() -> bool,
    queue: Queue<K>,
    reconcile: F,
    settings: Settings,
    metrics: &Metrics,
    shutdown: CancellationToken,
) where
    K: Resource<DynamicType = ()> + 'static,
    F: Fn(ObjectRef<K>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Outcome, E>> + Send,
    E: ReconcileError,
{
    let metrics = metrics.controller(name);
    metrics.most_workers(settings.workers);
    while !is_warm() {
        if shutdown.run_until_cancelled(sleep(WARM_POLL)).await.is_none() {
            return;
        }
    }
    tracing::info!(
        controller = name,
        workers = settings.workers,
        "caches are warm, controller starts"
    );
    let mut runner = Runner {
        name,
        queue,
        settings,
        metrics,
        failures: HashMap::new(),
        running: JoinSet::new(),
    };
    runner.run(&Arc::new(reconcile), &shutdown).await;
    runner.stop().await;
}

struct Runner<K: Resource<DynamicType = ()>> {
    name: &'static str,
    queue: Queue<K>,
    settings: Settings,
    metrics: ControllerMetrics,
    failures: HashMap<ObjectRef<K>, Failures>,
    running: JoinSet<(ObjectRef<K>, Verdict, Duration)>,
}

/// How a reconcile ended.
#[derive(Debug)]
enum Verdict {
    Ended(Outcome),
    Failed(ErrorCategory, String),
    TimedOut,
    Panicked,
}

/// How often an object has failed in a row.
#[derive(Debug, Default)]
struct Failures {
    conflicts: u32,
    backoff: Option<Backoff>,
}

impl<K> Runner<K>
where
    K: Resource<DynamicType = ()> + 'static,
{
    async fn run<F, Fut, E>(&mut self, reconcile: &Arc<F>, shutdown: &CancellationToken)
    where
        F: Fn(ObjectRef<K>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Outcome, E>> + Send,
        E: ReconcileError,
    {
        let queue = self.queue.clone();
        while !shutdown.is_cancelled() {
            while self.running.len() < self.settings.workers
                && let Some(object) = queue.with(|schedule| schedule.start(Instant::now()))
            {
                self.start(object, Arc::clone(reconcile));
            }
            let (depth, adds, due) =
                queue.with(|schedule| (schedule.depth(), schedule.take_adds(), schedule.next_due()));
            self.metrics.load(self.running.len(), depth);
            self.metrics.added(adds);
            let has_worker = self.running.len() < self.settings.workers;
            tokio::select! {
                biased;
                () = shutdown.cancelled() => {}
                Some(ended) = self.running.join_next() => if let Ok((object, verdict, took)) = ended {
                    self.finish(object, &verdict, took);
                },
                () = queue.changed() => {}
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() && has_worker => {}
            }
        }
    }

    fn start<F, Fut, E>(&mut self, object: ObjectRef<K>, reconcile: Arc<F>)
    where
        F: Fn(ObjectRef<K>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Outcome, E>> + Send,
        E: ReconcileError,
    {
        let namespace = object.namespace.as_deref().unwrap_or_default();
        let span = tracing::info_span!("reconcile", controller = self.name, namespace, name = object.name);
        let limit = self.settings.timeout;
        let task = async move {
            let started = Instant::now();
            let attempt = async { reconcile(object.clone()).await };
            let verdict = judge(timeout(limit, AssertUnwindSafe(attempt).catch_unwind()).await);
            (object, verdict, started.elapsed())
        };
        self.running.spawn(task.instrument(span));
    }

    fn finish(&mut self, object: ObjectRef<K>, verdict: &Verdict, took: Duration) {
        let now = Instant::now();
        let (result, delay) = match verdict {
            Verdict::Ended(Outcome::Waiting {
                recheck: Some(recheck),
            }) => (ReconcileResult::RequeueAfter, Some(*recheck)),
            Verdict::Ended(Outcome::Done) => (ReconcileResult::Success, self.resync_delay()),
            Verdict::Ended(Outcome::Waiting { recheck: None } | Outcome::Skipped) => {
                (ReconcileResult::Success, None)
            }
            Verdict::Failed(ErrorCategory::Conflict, _) => match self.conflict_delay(&object) {
                Some(delay) => (ReconcileResult::Requeue, Some(delay)),
                None => (ReconcileResult::Error, Some(self.failure_delay(&object))),
            },
            Verdict::Failed(ErrorCategory::Transient, _) => {
                (ReconcileResult::Error, Some(self.failure_delay(&object)))
            }
            Verdict::Failed(ErrorCategory::Invalid, _) => {
                let most = self.settings.most_backoff;
                (
                    ReconcileResult::Error,
                    Some(self.settings.jitter.between(most / 2, most)),
                )
            }
            Verdict::TimedOut => (ReconcileResult::Timeout, Some(self.failure_delay(&object))),
            Verdict::Panicked => (ReconcileResult::Panic, Some(self.failure_delay(&object))),
        };
        if matches!(verdict, Verdict::Ended(_)) {
            self.failures.remove(&object);
        } else {
            self.metrics.retried();
            self.report(&object, verdict, result, delay.unwrap_or_default());
        }
        self.metrics.reconciled(result, took);
        self.queue
            .with(|schedule| schedule.finish(object, delay.and_then(|delay| now.checked_add(delay))));
    }

    fn report(&self, object: &ObjectRef<K>, verdict: &Verdict, result: ReconcileResult, delay: Duration) {
        let (controller, name) = (self.name, object.name.as_str());
        let namespace = object.namespace.as_deref().unwrap_or_default();
        let retry_seconds = delay.as_secs_f32();
        let error = match verdict {
            Verdict::Failed(_, error) => error,
            Verdict::TimedOut => "it took too long and was given up",
            Verdict::Panicked => "it panicked",
            Verdict::Ended(_) => return,
        };
        if result == ReconcileResult::Requeue {
            tracing::debug!(
                controller,
                namespace,
                name,
                error,
                retry_seconds,
                "reconcile met a conflict"
            );
        } else {
            tracing::warn!(
                controller,
                namespace,
                name,
                error,
                retry_seconds,
                "reconcile failed"
            );
        }
    }

    fn resync_delay(&self) -> Option<Duration> {
        let resync = self.settings.resync?;
        Some(self.settings.jitter.between(resync / 5 * 4, resync / 5 * 6))
    }

    /// `None` after too many conflicts in a row.
    fn conflict_delay(&mut self, object: &ObjectRef<K>) -> Option<Duration> {
        let failures = self.failures.entry(object.clone()).or_default();
        failures.conflicts += 1;
        let most = LEAST_CONFLICT_DELAY.saturating_mul(2_u32.saturating_pow(failures.conflicts));
        let delay = self
            .settings
            .jitter
            .between(LEAST_CONFLICT_DELAY, most.min(MOST_CONFLICT_DELAY));
        (failures.conflicts <= MOST_CONFLICTS).then_some(delay)
    }

    fn failure_delay(&mut self, object: &ObjectRef<K>) -> Duration {
        let Settings {
            least_backoff,
            most_backoff,
            jitter,
            ..
        } = &self.settings;
        let failures = self.failures.entry(object.clone()).or_default();
        let backoff = failures
            .backoff
            .get_or_insert_with(|| Backoff::new(*least_backoff, *most_backoff, jitter));
        backoff.next_delay()
    }

    /// Lets running reconciles end, and gives up those that take too long.
    async fn stop(mut self) {
        let running = self.running.len();
        let ended = timeout(self.settings.grace, async {
            while self.running.join_next().await.is_some() {}
        })
        .await;
        let given_up = self.running.len();
        self.running.shutdown().await;
        self.metrics.load(0, self.queue.depth());
        if ended.is_err() {
            tracing::warn!(
                controller = self.name,
                running,
                given_up,
                "controller stopped, some reconciles were given up"
            );
        } else {
            tracing::info!(controller = self.name, running, "controller stopped");
        }
    }
}

type Attempt<E> =
    Result<Result<Result<Outcome, E>, Box<dyn std::any::Any + Send>>, tokio::time::error::Elapsed>;

/// What an attempt means. A panic was logged by the panic hook, inside the span of the reconcile.
fn judge<E: ReconcileError>(attempt: Attempt<E>) -> Verdict {
    match attempt {
        Ok(Ok(Ok(outcome))) => {
            tracing::debug!(?outcome, "reconciled");
            Verdict::Ended(outcome)
        }
        Ok(Ok(Err(error))) => Verdict::Failed(error.category(), with_sources(&error)),
        Ok(Err(_panic)) => Verdict::Panicked,
        Err(_elapsed) => Verdict::TimedOut,
    }
}

#[cfg(test)]
mod tests;
