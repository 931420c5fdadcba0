//! How Pods leave, and how many clients are connected to those that stay.

use std::sync::{Mutex, PoisonError};

use k8s_openapi::api::core::v1::Pod;
use kube::{Resource, ResourceExt};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::{counters, register, to_gauge};
use crate::api::TiProxy;
use crate::instance::drain;
use crate::instance::plan::leave::End;
use crate::ownership;
use crate::proxy_api::Proxies;
use crate::runtime::cache::Cache;

/// Counts how drains end.
#[derive(Debug, Clone)]
pub struct DrainMetrics {
    drains: IntCounterVec,
    cut: IntCounter,
}

impl DrainMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            drains: counters(
                registry,
                "tiproxy_operator_drains_total",
                "Drains of Pods by how they ended: drained, deadline, unreachable (at the deadline, and TiProxy did not \
                 answer), stopped (TiProxy ended) or revived.",
                &["result"],
            )?,
            cut: register(
                registry,
                IntCounter::new(
                    "tiproxy_operator_drain_cut_connections_total",
                    "Clients that were still connected when the time to leave was over.",
                )?,
            )?,
        })
    }

    /// Counts a leave that ended; one without a drain is not counted.
    pub fn ended(&self, end: End) {
        let result = match end {
            End::Undrained | End::NothingRan => return,
            End::Drained => "drained",
            End::Stopped => "stopped",
            End::Deadline { connected: None } => "unreachable",
            End::Deadline {
                connected: Some(connected),
            } => {
                self.cut.inc_by(connected);
                "deadline"
            }
        };
        self.drains.with_label_values(&[result]).inc();
    }

    /// Counts a drain that was called off.
    pub fn called_off(&self) {
        self.drains.with_label_values(&["revived"]).inc();
    }
}

/// Counts clients when somebody asks for the metrics.
#[derive(Debug)]
pub(super) struct Connections {
    pods: Cache<Pod>,
    proxies: Proxies,
    of_each: IntGaugeVec,
    draining_pods: IntGauge,
    draining: IntGauge,
    /// One question after the other.
    question: Mutex<()>,
}

impl Connections {
    pub(super) fn new(pods: Cache<Pod>, proxies: Proxies) -> Result<Self, prometheus::Error> {
        let of_each = Opts::new(
            "tiproxy_operator_connections",
            "Clients that are connected to a TiProxy, when it was asked last; nothing where it does not answer.",
        );
        Ok(Self {
            pods,
            proxies,
            of_each: IntGaugeVec::new(of_each, &["namespace", "tiproxy"])?,
            draining_pods: IntGauge::new(
                "tiproxy_operator_draining_pods",
                "Pods whose clients are given time to leave.",
            )?,
            draining: IntGauge::new(
                "tiproxy_operator_draining_connections",
                "Clients that are connected to Pods that leave.",
            )?,
            question: Mutex::new(()),
        })
    }

    fn count(&self) {
        self.of_each.reset();
        let (mut draining_pods, mut draining) = (0, 0_u64);
        for pod in self.pods.all() {
            let owner = ownership::controller(&*pod).filter(|owner| owner.kind == TiProxy::kind(&()));
            let Some(owner) = owner.filter(|_| pod.metadata.deletion_timestamp.is_none()) else {
                continue;
            };
            let connections = pod.uid().and_then(|uid| self.proxies.connections(&uid));
            if let Some(connections) = connections {
                let namespace = pod.namespace().unwrap_or_default();
                let labels = [namespace.as_str(), owner.name.as_str()];
                self.of_each.with_label_values(&labels).set(gauge(connections));
            }
            if drain::is_marked(&pod) {
                draining_pods += 1;
                draining = draining.saturating_add(connections.unwrap_or_default());
            }
        }
        self.draining_pods.set(to_gauge(draining_pods));
        self.draining.set(gauge(draining));
    }
}

fn gauge(connections: u64) -> i64 {
    i64::try_from(connections).unwrap_or(i64::MAX)
}

impl Collector for Connections {
    fn desc(&self) -> Vec<&Desc> {
        let gauges: [&dyn Collector; 3] = [&self.of_each, &self.draining_pods, &self.draining];
        gauges.into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let _one = self.question.lock().unwrap_or_else(PoisonError::into_inner);
        self.count();
        let gauges: [&dyn Collector; 3] = [&self.of_each, &self.draining_pods, &self.draining];
        gauges.into_iter().flat_map(Collector::collect).collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::name;
    use crate::metrics::Metrics;
    use crate::proxy_api::Answer;

    /// One of each way to end.
    pub(in crate::metrics) const ENDS: [End; 6] = [
        End::Undrained,
        End::NothingRan,
        End::Drained,
        End::Stopped,
        End::Deadline { connected: Some(3) },
        End::Deadline { connected: None },
    ];

    fn lines(metrics: &Metrics) -> Vec<String> {
        let text = metrics.encode().unwrap();
        let ours = |line: &&str| {
            !line.starts_with('#') && (line.contains("_drain") || line.contains("_connections"))
        };
        text.lines().filter(ours).map(ToOwned::to_owned).collect()
    }

    #[test]
    fn who_was_cut_is_counted_and_how_drains_end() {
        let metrics = Metrics::new().unwrap();
        for end in ENDS.into_iter().chain(ENDS) {
            metrics.drains().ended(end);
        }
        metrics.drains().called_off();
        assert_eq!(
            lines(&metrics),
            [
                "tiproxy_operator_drain_cut_connections_total 6",
                r#"tiproxy_operator_drains_total{result="deadline"} 2"#,
                r#"tiproxy_operator_drains_total{result="drained"} 2"#,
                r#"tiproxy_operator_drains_total{result="revived"} 1"#,
                r#"tiproxy_operator_drains_total{result="stopped"} 2"#,
                r#"tiproxy_operator_drains_total{result="unreachable"} 2"#,
            ]
        );
    }

    #[test]
    fn connections_are_those_of_the_pods_that_are_there() {
        let pod = |name: &str, metadata: Value| -> Pod {
            let mut pod = json!({"metadata": metadata});
            pod["metadata"]["name"] = json!(name);
            pod["metadata"]["namespace"] = json!("ns");
            pod["metadata"]["uid"] = json!(name);
            let kind = if name == "other" { "ReplicaSet" } else { "TiProxy" };
            pod["metadata"]["ownerReferences"] = json!([
                {"apiVersion": "v1", "kind": kind, "name": format!("of-{name}"), "uid": "1", "controller": true}]);
            serde_json::from_value(pod).unwrap()
        };
        let leaving = || json!({"annotations": {name::ANNOTATION_DRAIN_BEGIN: "2026-11-23T10:00:00Z"}});
        let mut ending = leaving();
        ending["deletionTimestamp"] = json!("2026-11-23T10:00:00Z");
        let pods = Cache::of([
            pod("a", json!({})),
            pod("b", leaving()),
            pod("silent", leaving()),
            pod("gone", ending),
            pod("other", json!({})),
        ]);
        let answer = |connections| Answer {
            connections: Some(connections),
            ..Answer::default()
        };
        let proxies = Proxies::of([
            ("a", answer(7)),
            ("b", answer(2)),
            ("gone", answer(50)),
            ("other", answer(90)),
        ]);
        let metrics = Metrics::new().unwrap();
        metrics.show_connections(&pods, &proxies).unwrap();
        let expected = [
            r#"tiproxy_operator_connections{namespace="ns",tiproxy="of-a"} 7"#,
            r#"tiproxy_operator_connections{namespace="ns",tiproxy="of-b"} 2"#,
            "tiproxy_operator_drain_cut_connections_total 0",
            "tiproxy_operator_draining_connections 2",
            "tiproxy_operator_draining_pods 2",
        ];
        assert_eq!(lines(&metrics), expected);
        pods.remove(&pod("b", leaving()));
        let without_b = [
            expected[0],
            expected[2],
            "tiproxy_operator_draining_connections 0",
            "tiproxy_operator_draining_pods 1",
        ];
        assert_eq!(lines(&metrics), without_b);
        assert!(metrics.show_connections(&pods, &proxies).is_err());
    }
}
