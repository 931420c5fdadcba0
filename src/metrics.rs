//! The metrics of the operator, in a registry of their own.
//!
//! What controllers, queues and the client do is told under the names that controller-runtime made common, so that
//! stock dashboards work; the rest is called `tiproxy_operator_*`. No label holds the name of an object, but for the
//! connections of each TiProxy.

mod client;
mod controller;
mod drain;

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

pub use self::client::{CountRequests, CountedService};
use self::controller::Controllers;
pub use self::controller::{ControllerMetrics, ReconcileResult};
use self::drain::Connections;
pub use self::drain::DrainMetrics;

use crate::proxy_api::Proxies;
use crate::runtime::cache::Cache;

/// The upper bounds of the times to ask a TiProxy, in seconds.
const POLL_SECONDS: [f64; 6] = [0.005, 0.025, 0.1, 0.5, 2.0, 5.0];

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
    proxies_asked: IntCounterVec,
    proxy_seconds: Histogram,
    drains: DrainMetrics,
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
            proxies_asked: counters(
                &registry,
                "tiproxy_operator_proxy_polls_total",
                "How often TiProxies were asked over their HTTP API, by result: ok, unreachable, timeout, tls or invalid.",
                &["result"],
            )?,
            proxy_seconds: register(
                &registry,
                Histogram::with_opts(
                    HistogramOpts::new(
                        "tiproxy_operator_proxy_poll_seconds",
                        "How long it took to ask a TiProxy, or to give up.",
                    )
                    .buckets(POLL_SECONDS.to_vec()),
                )?,
            )?,
            drains: DrainMetrics::new(&registry)?,
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

    /// Counts an attempt to ask a TiProxy. `result` is one of a closed list.
    pub fn proxy_asked(&self, result: &str, took: Duration) {
        self.proxies_asked.with_label_values(&[result]).inc();
        self.proxy_seconds.observe(took.as_secs_f64());
    }

    /// Where it is counted how Pods left.
    #[must_use]
    pub fn drains(&self) -> DrainMetrics {
        self.drains.clone()
    }

    /// Shows how many clients are connected to these Pods, by what their TiProxies said last.
    ///
    /// # Errors
    /// Fails when it is called twice.
    pub fn show_connections(&self, pods: &Cache<Pod>, proxies: &Proxies) -> Result<(), prometheus::Error> {
        let connections = Connections::new(pods.clone(), proxies.clone())?;
        self.registry.register(Box::new(connections))
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

#[cfg(test)]
mod tests {
    use axum::http::{Request, Response};
    use tower::{Layer, Service};

    use super::*;

    /// One line for each series.
    fn series(metrics: &Metrics) -> Vec<String> {
        let text = metrics.encode().unwrap();
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .map(ToOwned::to_owned)
            .collect()
    }

    #[test]
    fn all_results_are_counted_under_the_names_of_controller_runtime() {
        let metrics = Metrics::new().unwrap();
        let group = metrics.controller("group");
        for result in [
            ReconcileResult::Success,
            ReconcileResult::Requeue,
            ReconcileResult::RequeueAfter,
            ReconcileResult::Error,
            ReconcileResult::Timeout,
            ReconcileResult::Panic,
        ] {
            group.reconciled(result, Duration::from_millis(2));
        }
        group.added(5);
        group.load(2, 3);
        let series = series(&metrics);
        for line in [
            r#"controller_runtime_reconcile_total{controller="group",result="success"} 1"#,
            r#"controller_runtime_reconcile_total{controller="group",result="requeue"} 1"#,
            r#"controller_runtime_reconcile_total{controller="group",result="requeue_after"} 1"#,
            r#"controller_runtime_reconcile_total{controller="group",result="error"} 3"#,
            r#"controller_runtime_reconcile_errors_total{controller="group"} 3"#,
            r#"controller_runtime_reconcile_panics_total{controller="group"} 1"#,
            r#"tiproxy_operator_reconcile_timeouts_total{controller="group"} 1"#,
            r#"controller_runtime_reconcile_time_seconds_bucket{controller="group",le="0.001"} 0"#,
            r#"controller_runtime_reconcile_time_seconds_bucket{controller="group",le="0.005"} 6"#,
            r#"controller_runtime_active_workers{controller="group"} 2"#,
            r#"workqueue_depth{controller="group",name="group"} 3"#,
            r#"workqueue_adds_total{controller="group",name="group"} 5"#,
            concat!(
                r#"tiproxy_operator_build_info{version=""#,
                env!("CARGO_PKG_VERSION"),
                r#""} 1"#
            ),
        ] {
            assert!(
                series.iter().any(|other| other == line),
                "{line}\n{}",
                series.join("\n")
            );
        }
    }

    #[test]
    fn at_rest_there_are_few_series() {
        let metrics = Metrics::new().unwrap();
        for name in ["group", "instance"] {
            metrics
                .controller(name)
                .reconciled(ReconcileResult::Success, Duration::ZERO);
        }
        for kind in [
            "TiProxyGroup",
            "TiProxy",
            "Cluster",
            "Pod",
            "ConfigMap",
            "Service",
            "CustomResourceDefinition",
            "Node",
        ] {
            metrics.watch(kind).objects(1);
            for reason in ["unreachable", "expired"] {
                metrics.watch(kind).error(reason);
            }
        }
        for result in ["ok", "unreachable", "timeout", "tls", "invalid"] {
            metrics.proxy_asked(result, Duration::ZERO);
        }
        for end in drain::tests::ENDS {
            metrics.drains().ended(end);
        }
        metrics.drains().called_off();
        for code in ["200", "201", "404", "409", "<error>"] {
            for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
                metrics
                    .client_requests
                    .with_label_values(&[code, method, "host"])
                    .inc();
            }
        }
        let count = series(&metrics).len();
        assert!(count <= 150, "{count} series");
    }

    #[tokio::test]
    async fn requests_are_counted_by_what_became_of_them() {
        let metrics = Metrics::new().unwrap();
        let service = tower::service_fn(async |request: Request<()>| match request.uri().path() {
            "/broken" => Err("connection refused"),
            path => Ok(Response::builder()
                .status(path[1..].parse::<u16>().unwrap())
                .body(())
                .unwrap()),
        });
        let mut counted = metrics.client_layer("10.0.0.1:6443").layer(service);
        for (method, path) in [
            ("GET", "/200"),
            ("GET", "/200"),
            ("POST", "/409"),
            ("GET", "/broken"),
        ] {
            let request = Request::builder().method(method).uri(path).body(()).unwrap();
            assert_eq!(counted.call(request).await.is_err(), path == "/broken");
        }
        let series = series(&metrics);
        for line in [
            r#"rest_client_requests_total{code="200",host="10.0.0.1:6443",method="GET"} 2"#,
            r#"rest_client_requests_total{code="409",host="10.0.0.1:6443",method="POST"} 1"#,
            r#"rest_client_requests_total{code="<error>",host="10.0.0.1:6443",method="GET"} 1"#,
        ] {
            assert!(
                series.iter().any(|other| other == line),
                "{line}\n{}",
                series.join("\n")
            );
        }
    }
}
