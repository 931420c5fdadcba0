//! Who is wanted again while it leaves comes back, with all its clients; nobody is made in its place.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::{Value, json};
use tiproxy_operator::api::TiProxy;

use super::{NEVER_ENDS, annotate, begin, group, leaves, pod_gone, serve_again};
use crate::harness;
use crate::harness::history::{Change, Entry};
use crate::harness::responder::Says;
use crate::harness::wait::{eventually, expect};
use crate::lifecycle::scenario::{GROUP, PATIENCE, Scenario};

/// How many Pods there ever were.
fn pods_ever(entries: &[Entry]) -> usize {
    let pods = entries
        .iter()
        .filter(|entry| entry.kind == "Pod" && entry.change == Change::Added);
    pods.filter_map(|entry| entry.object.uid())
        .collect::<BTreeSet<_>>()
        .len()
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn scaling_out_again_brings_the_same_pods_back() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        let (pods, _responders) = begin(
            &scenario,
            &group(GROUP, 3, 600, json!({})),
            &Says::connected(5, 5),
        )
        .await;
        scenario.change(GROUP, json!({"replicas": 1})).await;
        for name in ["web-tiproxy-1", "web-tiproxy-2"] {
            leaves(&scenario, name).await;
        }
        scenario.change(GROUP, json!({"replicas": 3})).await;
        scenario.ready(GROUP).await;
        serve_again(&scenario, &pods).await;
        assert_eq!(pods_ever(&scenario.entries().await), 3);
        for instance in scenario.of_group::<TiProxy>(GROUP).await.into_values() {
            let status = instance.status.clone().unwrap_or_default();
            assert_eq!(status.drain, None, "{instance:?}");
            let told = status
                .conditions
                .iter()
                .any(|condition| condition.type_ == "Drained");
            assert!(!told, "{status:?}");
        }
        // How many clients are connected is told at leisure, so there is no rest yet.
        scenario.verdict().await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn scaling_in_and_out_within_a_second_makes_no_pod() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        let (pods, _responders) = begin(
            &scenario,
            &group(GROUP, 3, 600, json!({})),
            &Says::connected(5, 5),
        )
        .await;
        for _ in 0..3 {
            scenario.change(GROUP, json!({"replicas": 1})).await;
            scenario.change(GROUP, json!({"replicas": 3})).await;
        }
        scenario.ready(GROUP).await;
        scenario.calm().await;
        serve_again(&scenario, &pods).await;
        assert_eq!(pods_ever(&scenario.entries().await), 3);
        // How many clients are connected is told at leisure, so there is no rest yet.
        scenario.verdict().await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_rollback_brings_back_who_was_leaving() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        let (pods, _responders) = begin(
            &scenario,
            &group(GROUP, 3, 600, json!({"maxSurge": 2})),
            &Says::connected(5, 5),
        )
        .await;
        scenario
            .change_template(GROUP, json!({"version": "v1.3.2"}))
            .await;
        let leavers = eventually(PATIENCE, "somebody leaves for the new version", async || {
            let instances = scenario.of_group::<TiProxy>(GROUP).await.into_values();
            let leavers: Vec<_> = instances
                .filter(|instance| instance.spec.offline == Some(true))
                .map(|instance| instance.name_any())
                .collect();
            expect(!leavers.is_empty(), leavers)
        })
        .await;
        for leaver in leavers {
            leaves(&scenario, &leaver.replace("web-", "web-tiproxy-")).await;
        }
        scenario
            .change_template(GROUP, json!({"version": "v1.3.1"}))
            .await;
        // Those of the new version leave in turn; nobody is connected to them that could tell.
        super::set_timeout(&scenario, GROUP, 2).await;
        scenario.ready(GROUP).await;
        assert_eq!(scenario.pod_uids(GROUP).await, pods);
        serve_again(&scenario, &pods).await;
        scenario.verdict().await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_pod_that_is_ending_does_not_come_back() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        test.apply(&group(GROUP, 2, 1, json!({}))).await;
        scenario.ready(GROUP).await;
        let leaver = "web-tiproxy-1";
        let uid = scenario.pod_uids(GROUP).await[leaver].clone();
        annotate(&scenario, leaver, NEVER_ENDS, json!("true")).await;
        scenario.change(GROUP, json!({"replicas": 1})).await;
        eventually(PATIENCE, "the Pod ends", async || {
            let pod: Pod = scenario.get(leaver).await;
            expect(pod.metadata.deletion_timestamp.is_some(), pod.metadata)
        })
        .await;
        scenario.change(GROUP, json!({"replicas": 2})).await;
        // Another one comes before it has gone.
        eventually(PATIENCE, "there is another Pod", async || {
            let pods = scenario.pod_uids(GROUP).await;
            expect(pods.len() == 3 && pods[leaver] == uid, pods)
        })
        .await;
        scenario.condition(GROUP, "Ready", "True", "AllReady").await;
        annotate(&scenario, leaver, NEVER_ENDS, Value::Null).await;
        pod_gone(&scenario, leaver, &uid).await;
        scenario.ready(GROUP).await;
        scenario.finish().await;
    });
}
