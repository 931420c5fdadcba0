//! The metrics of the operator, in a registry of their own.
//!
//! What controllers, queues and the client do is told under the names that controller-runtime made common, so that
//! stock dashboards work; the rest is called `tiproxy_operator_*`. No label holds the name of an object.

mod client;
mod controller;

use prometheus::core::Collector;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

pub use self::client::{CountRequests, CountedService};
use self::controller::Controllers;
pub use self::controller::{ControllerMetrics, ReconcileResult};

/// All metrics. A clone counts into the same registry.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    controllers: Controllers,
    client_requests: IntCounterVec,
    watch_errors: IntCounterVec,
    cache_objects: IntGaugeVec,
    caches_warm: IntGauge,
    events_dropped: IntCounter,
}

impl Metrics {
    /// A registry with all metrics of the operator.
    ///
    /// # Errors
    /// Fails only if two metrics had the same name, which a test excludes.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let build = gauges(
            &registry,
            "tiproxy_operator_build_info",
            "Always 1.",
            &["version"],
        )?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Ok(Self {
            controllers: Controllers::new(&registry)?,
            client_requests: counters(
                &registry,
                "rest_client_requests_total",
                "Requests to the API server by HTTP status code, method and host.",
                &["code", "method", "host"],
            )?,
            watch_errors: counters(
                &registry,
                "tiproxy_operator_watch_errors_total",
                "Failures of watches, and objects that could not be read (undecodable).",
                &["kind", "reason"],
            )?,
            cache_objects: gauges(
                &registry,
                "tiproxy_operator_cache_objects",
                "Objects in memory.",
                &["kind"],
            )?,
            caches_warm: register(
                &registry,
                IntGauge::new(
                    "tiproxy_operator_caches_warm",
                    "1 when the first list of every watched kind is complete; nothing is reconciled before.",
                )?,
            )?,
            events_dropped: register(
                &registry,
                IntCounter::new(
                    "tiproxy_operator_events_dropped_total",
                    "Kubernetes Events that were not sent: too many at once, or refused by the API server.",
                )?,
            )?,
            registry,
        })
    }

    /// The metrics of one controller, whose queue has the same name.
    #[must_use]
    pub fn controller(&self, name: &str) -> ControllerMetrics {
        self.controllers.controller(name)
    }

    /// The metrics of the watch of one kind.
    #[must_use]
    pub fn watch(&self, kind: &str) -> WatchMetrics {
        WatchMetrics {
            kind: kind.to_owned(),
            errors: self.watch_errors.clone(),
            objects: self.cache_objects.clone(),
        }
    }

    /// Says whether all caches are warm.
    pub fn set_caches_warm(&self, warm: bool) {
        self.caches_warm.set(i64::from(warm));
    }

    /// Counts a Kubernetes Event that was not sent.
    pub fn event_dropped(&self) {
        self.events_dropped.inc();
    }

    /// A layer for kube's `ClientBuilder` that counts requests. `host` is the API server's, as in the configuration:
    /// the requests do not carry it yet where the layer sees them.
    #[must_use]
    pub fn client_layer(&self, host: &str) -> CountRequests {
        CountRequests::new(self.client_requests.clone(), host)
    }

    /// All metrics in Prometheus' text format.
    ///
    /// # Errors
    /// Fails if a metric cannot be encoded.
    pub fn encode(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// The metrics of the watch of one kind.
#[derive(Debug, Clone)]
pub struct WatchMetrics {
    kind: String,
    errors: IntCounterVec,
    objects: IntGaugeVec,
}

impl WatchMetrics {
    /// Counts an error. `reason` is one of a closed list.
    pub fn error(&self, reason: &str) {
        self.errors.with_label_values(&[self.kind.as_str(), reason]).inc();
    }

    /// Sets how many objects are in memory.
    pub fn objects(&self, count: usize) {
        self.objects
            .with_label_values(&[self.kind.as_str()])
            .set(to_gauge(count));
    }
}

fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    register(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
}

fn gauges(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntGaugeVec, prometheus::Error> {
    register(registry, IntGaugeVec::new(Opts::new(name, help), labels)?)
}

fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

fn to_gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
