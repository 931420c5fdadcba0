//! Nodes that are emptied, and nodes that are gone for good.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use tiproxy_operator::api::TiProxy;

use super::another;
use crate::harness;
use crate::harness::node;
use crate::lifecycle::scenario::{GROUP, Scenario, group, names};

/// A group whose Pods run on the test's own nodes only.
fn on_own_nodes(namespace: &str, replicas: i32) -> Value {
    let mut group = group(GROUP, replicas);
    let spec = json!({
        "nodeSelector": {node::LABEL: namespace},
        "tolerations": [{"key": node::LABEL, "operator": "Exists", "effect": "NoSchedule"}],
    });
    group["spec"]["template"]["spec"]["overlay"] = json!({"pod": {"spec": spec}});
    group
}

/// Where a Pod runs.
async fn node_of(scenario: &Scenario<'_>, pod: &str) -> String {
    let pod: Pod = scenario.get(pod).await;
    pod.spec
        .and_then(|spec| spec.node_name)
        .expect("a running Pod has a node")
}

/// A group of two that runs on two nodes of the test's own: the UIDs of its Pods, and the node of the first.
async fn on_two_nodes(scenario: &Scenario<'_>) -> (BTreeMap<String, String>, String) {
    let test = scenario.test;
    for name in ["a", "b"] {
        node::create(test, name).await;
    }
    test.apply(&on_own_nodes(&test.namespace, 2)).await;
    scenario.ready(GROUP).await;
    let before = scenario.pod_uids(GROUP).await;
    (before, node_of(scenario, "web-tiproxy-0").await)
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_taint_moves_pods_to_other_nodes() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        let (before, emptied) = on_two_nodes(&scenario).await;
        let taints = json!({"spec": {"taints": [
            {"key": node::LABEL, "effect": "NoSchedule"},
            {"key": "test.example.com/repair", "effect": "NoExecute"},
        ]}});
        for uid in before.values() {
            scenario.excuse(uid);
        }
        Api::<Node>::all(test.client.clone())
            .patch(&emptied, &PatchParams::default(), &Patch::Merge(taints))
            .await
            .unwrap();
        another(&scenario, "web-tiproxy-0", &before["web-tiproxy-0"]).await;
        scenario.ready(GROUP).await;
        for name in names("web-tiproxy", 2) {
            assert_ne!(node_of(&scenario, &name).await, emptied);
        }
        scenario.finish().await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn when_a_node_is_deleted_its_pods_run_elsewhere() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        let (before, gone) = on_two_nodes(&scenario).await;
        for uid in before.values() {
            scenario.excuse(uid);
        }
        Api::<Node>::all(test.client.clone())
            .delete(&gone, &DeleteParams::default())
            .await
            .unwrap();
        // Kubernetes waits 40 s for the node to come back before it removes the Pods.
        another(&scenario, "web-tiproxy-0", &before["web-tiproxy-0"]).await;
        scenario.ready(GROUP).await;
        let instances = scenario.of_group::<TiProxy>(GROUP).await;
        assert!(instances.keys().eq(&names("web", 2)), "{:?}", instances.keys());
        assert_ne!(node_of(&scenario, "web-tiproxy-0").await, gone);
        scenario.finish().await;
    });
}
