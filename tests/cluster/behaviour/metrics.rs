//! The HTTP side of the running operator.

use std::collections::BTreeSet;

use serde_json::Value;

use super::fixture::{group, is_ready};
use crate::harness;

/// At rest, with a group that runs.
const MOST_SERIES: usize = 250;

const NAMES: [&str; 19] = [
    "controller_runtime_active_workers",
    "controller_runtime_max_concurrent_reconciles",
    "controller_runtime_reconcile_errors_total",
    "controller_runtime_reconcile_panics_total",
    "controller_runtime_reconcile_time_seconds",
    "controller_runtime_reconcile_total",
    "rest_client_requests_total",
    "tiproxy_operator_build_info",
    "tiproxy_operator_cache_objects",
    "tiproxy_operator_caches_warm",
    "tiproxy_operator_drain_cut_connections_total",
    "tiproxy_operator_draining_connections",
    "tiproxy_operator_draining_pods",
    "tiproxy_operator_events_dropped_total",
    "tiproxy_operator_proxy_poll_seconds",
    "tiproxy_operator_reconcile_timeouts_total",
    "workqueue_adds_total",
    "workqueue_depth",
    "workqueue_retries_total",
];

/// These appear when there is something to tell.
const OF_EVENTS: [&str; 4] = [
    "tiproxy_operator_connections",
    "tiproxy_operator_drains_total",
    "tiproxy_operator_proxy_polls_total",
    "tiproxy_operator_watch_errors_total",
];

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn health_and_metrics_answer() {
    harness::run(async |test| {
        let operator = test.start_operator().await;
        let web = group("hidden-name", 2);
        test.apply(&web).await;
        is_ready(test, &web).await;
        for path in ["/healthz", "/readyz"] {
            assert_eq!(operator.get(path), Some((200, "ok\n".to_owned())), "{path}");
        }
        assert_eq!(operator.get("/other").map(|(code, _)| code), Some(404));

        let (code, text) = operator.get("/metrics").expect("it answers");
        assert_eq!(code, 200);
        let described: BTreeSet<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
            .collect();
        let is_known = |name: &&&str| NAMES.contains(name) || OF_EVENTS.contains(name);
        let unknown: Vec<_> = described.iter().filter(|name| !is_known(name)).collect();
        assert_eq!(unknown, Vec::<&&str>::new());
        for name in &NAMES {
            assert!(described.contains(name), "{name} is missing in\n{text}");
        }
        let series: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(series.len() <= MOST_SERIES, "{} series", series.len());
        let value = |name: &str| {
            let line = series.iter().find(|line| line.starts_with(name))?;
            line.rsplit(' ').next()?.parse::<f64>().ok()
        };
        assert_eq!(value("tiproxy_operator_caches_warm"), Some(1.0));
        assert_eq!(
            value("tiproxy_operator_cache_objects{kind=\"TiProxy\"}"),
            Some(2.0)
        );
        for controller in ["tiproxy", "tiproxygroup"] {
            let name = format!("controller_runtime_reconcile_panics_total{{controller=\"{controller}\"}}");
            assert_eq!(value(&name), Some(0.0), "{controller}");
        }
        // No name of an object stands in a label: nothing answers here whose connections could be told.
        assert!(!text.contains("hidden"), "{text}");
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn the_log_says_where_the_operator_listens() {
    harness::run(async |test| {
        let operator = test.start_operator().await;
        let log = operator.log();
        let started = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .find(|line| line.to_string().contains("\"started\""))
            .unwrap_or_else(|| panic!("no line says that it started:\n{log}"));
        let text = started.to_string();
        assert!(
            text.contains("127.0.0.1:") && text.contains(&test.namespace),
            "{text}"
        );
    });
}
