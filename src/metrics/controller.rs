//! The metrics of controllers and their queues.

use std::time::Duration;

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
};

use super::{counters, gauges, register, to_gauge};

/// The upper bounds of reconcile times, in seconds.
const RECONCILE_SECONDS: [f64; 10] = [0.001, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0];

/// The metrics of all controllers.
#[derive(Debug, Clone)]
pub(super) struct Controllers {
    reconciles: IntCounterVec,
    errors: IntCounterVec,
    timeouts: IntCounterVec,
    panics: IntCounterVec,
    seconds: HistogramVec,
    active_workers: IntGaugeVec,
    most_workers: IntGaugeVec,
    queue_depth: IntGaugeVec,
    queue_adds: IntCounterVec,
    queue_retries: IntCounterVec,
}

impl Controllers {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let count = |name, help| counters(registry, name, help, &["controller"]);
        let gauge = |name, help| gauges(registry, name, help, &["controller"]);
        let queue = ["name", "controller"];
        let seconds = HistogramOpts::new(
            "controller_runtime_reconcile_time_seconds",
            "How long reconciles take.",
        )
        .buckets(RECONCILE_SECONDS.to_vec());
        Ok(Self {
            reconciles: counters(
                registry,
                "controller_runtime_reconcile_total",
                "Reconciles by controller and result: success, requeue, requeue_after or error.",
                &["controller", "result"],
            )?,
            errors: count(
                "controller_runtime_reconcile_errors_total",
                "Failed reconciles, conflicts aside.",
            )?,
            timeouts: count(
                "tiproxy_operator_reconcile_timeouts_total",
                "Reconciles that were given up because they took too long.",
            )?,
            panics: count(
                "controller_runtime_reconcile_panics_total",
                "Reconciles that panicked.",
            )?,
            seconds: register(registry, HistogramVec::new(seconds, &["controller"])?)?,
            active_workers: gauge("controller_runtime_active_workers", "Reconciles that run now.")?,
            most_workers: gauge(
                "controller_runtime_max_concurrent_reconciles",
                "The most reconciles that may run at once.",
            )?,
            queue_depth: gauges(
                registry,
                "workqueue_depth",
                "Objects that wait for a worker.",
                &queue,
            )?,
            queue_adds: counters(
                registry,
                "workqueue_adds_total",
                "Objects put into the queue; an object that waits already is not counted again.",
                &queue,
            )?,
            queue_retries: counters(
                registry,
                "workqueue_retries_total",
                "Reconciles that were put off because the last one failed.",
                &queue,
            )?,
        })
    }

    pub(super) fn controller(&self, name: &str) -> ControllerMetrics {
        ControllerMetrics {
            reconciles: Results {
                success: self.reconciles.with_label_values(&[name, "success"]),
                requeue: self.reconciles.with_label_values(&[name, "requeue"]),
                requeue_after: self.reconciles.with_label_values(&[name, "requeue_after"]),
                error: self.reconciles.with_label_values(&[name, "error"]),
            },
            errors: self.errors.with_label_values(&[name]),
            timeouts: self.timeouts.with_label_values(&[name]),
            panics: self.panics.with_label_values(&[name]),
            seconds: self.seconds.with_label_values(&[name]),
            active_workers: self.active_workers.with_label_values(&[name]),
            most_workers: self.most_workers.with_label_values(&[name]),
            queue_depth: self.queue_depth.with_label_values(&[name, name]),
            queue_adds: self.queue_adds.with_label_values(&[name, name]),
            queue_retries: self.queue_retries.with_label_values(&[name, name]),
        }
    }
}

/// The metrics of one controller and its queue.
#[derive(Debug, Clone)]
pub struct ControllerMetrics {
    reconciles: Results,
    errors: IntCounter,
    timeouts: IntCounter,
    panics: IntCounter,
    seconds: Histogram,
    active_workers: IntGauge,
    most_workers: IntGauge,
    queue_depth: IntGauge,
    queue_adds: IntCounter,
    queue_retries: IntCounter,
}

#[derive(Debug, Clone)]
struct Results {
    success: IntCounter,
    requeue: IntCounter,
    requeue_after: IntCounter,
    error: IntCounter,
}

/// How a reconcile ended, in the words of controller-runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReconcileResult {
    /// Nothing more to do until something changes.
    Success,
    /// It met a conflict and is repeated at once.
    Requeue,
    /// It asked to be repeated later.
    RequeueAfter,
    /// It failed and is repeated with backoff.
    Error,
    /// It took too long, which is an error.
    Timeout,
    /// It panicked, which is an error.
    Panic,
}

impl ControllerMetrics {
    /// Sets the most reconciles that may run at once.
    pub fn most_workers(&self, workers: usize) {
        self.most_workers.set(to_gauge(workers));
    }

    /// Sets how many reconciles run, and how many objects wait for a worker.
    pub fn load(&self, active: usize, waiting: usize) {
        self.active_workers.set(to_gauge(active));
        self.queue_depth.set(to_gauge(waiting));
    }

    /// Counts objects that were put into the queue.
    pub fn added(&self, objects: u64) {
        self.queue_adds.inc_by(objects);
    }

    /// Counts a retry after a failure.
    pub fn retried(&self) {
        self.queue_retries.inc();
    }

    /// Counts a reconcile that ended.
    pub fn reconciled(&self, result: ReconcileResult, took: Duration) {
        self.seconds.observe(took.as_secs_f64());
        let counter = match result {
            ReconcileResult::Success => &self.reconciles.success,
            ReconcileResult::Requeue => &self.reconciles.requeue,
            ReconcileResult::RequeueAfter => &self.reconciles.requeue_after,
            ReconcileResult::Error | ReconcileResult::Timeout | ReconcileResult::Panic => {
                self.errors.inc();
                &self.reconciles.error
            }
        };
        counter.inc();
        if result == ReconcileResult::Timeout {
            self.timeouts.inc();
        }
        if result == ReconcileResult::Panic {
            self.panics.inc();
        }
    }
}
