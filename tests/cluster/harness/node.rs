//! Nodes of a test's own, simulated as all others, on which nobody else's Pods run.

use k8s_openapi::api::core::v1::Node;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use super::Test;
use super::wait::{eventually, expect};

/// A label with the test's namespace, and the key of a taint that keeps others away.
pub(crate) const LABEL: &str = "tiproxy-test";

/// Makes a node and waits until Pods can run there; its name.
pub(crate) async fn create(test: &Test, suffix: &str) -> String {
    let name = format!("{}-{suffix}", test.namespace);
    let plenty = json!({"cpu": "64", "memory": "256Gi", "ephemeral-storage": "1Ti", "pods": "1000"});
    let node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": name, "annotations": {"kwok.x-k8s.io/node": "fake"},
            "labels": {LABEL: test.namespace, "kubernetes.io/hostname": name},
        },
        "spec": {"taints": [{"key": LABEL, "effect": "NoSchedule"}]},
        "status": {"allocatable": plenty, "capacity": plenty},
    });
    let node: Node = serde_json::from_value(node).expect("a Node");
    let nodes = Api::<Node>::all(test.client.clone());
    nodes
        .create(&PostParams::default(), &node)
        .await
        .expect("a Node can be made");
    eventually(super::group::PATIENCE, "the node is ready", async || {
        let node = nodes.get(&name).await.map_err(|error| error.to_string())?;
        let taints = node.spec.and_then(|spec| spec.taints).unwrap_or_default();
        let conditions = node
            .status
            .and_then(|status| status.conditions)
            .unwrap_or_default();
        let is_ready = conditions
            .iter()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True");
        expect(is_ready && taints.len() == 1, taints)
    })
    .await;
    name
}

/// Removes the nodes of a test.
pub(crate) async fn clean(client: &Client, namespace: &str) {
    let nodes = Api::<Node>::all(client.clone());
    let labelled = ListParams::default().labels(&format!("{LABEL}={namespace}"));
    for node in nodes.list(&labelled).await.expect("Nodes can be listed") {
        let _ = nodes.delete(&node.name_any(), &DeleteParams::default()).await;
    }
}
