//! Without `schedulePolicies`: the wish to be apart.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;
use tiproxy_operator::api::{Discovery, TiProxyGroup};
use tiproxy_operator::{group, instance};

use super::{nodes_of_pods, zones_of_nodes};
use crate::harness;
use crate::harness::Test;
use crate::harness::group::{PATIENCE, edit, manifest, settled};
use crate::harness::wait::{eventually, expect};

/// In how many zones the Pods are.
async fn zones(test: &Test) -> usize {
    let (nodes, pods) = (zones_of_nodes(test).await, nodes_of_pods(test).await);
    pods.values()
        .filter_map(|node| nodes.get(node))
        .collect::<BTreeSet<_>>()
        .len()
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn three_pods_are_in_three_zones_and_so_they_are_after_a_roll() {
    harness::run(async |test| {
        let _operator = test.start_operator().await;
        test.apply(&manifest(3)).await;
        settled(test, 3).await;
        assert_eq!(zones(test).await, 3, "{:?}", nodes_of_pods(test).await);
        for version in ["v1.3.1", "v1.3.2"] {
            edit(test, json!({"template": {"spec": {"version": version}}})).await;
            settled(test, 3).await;
            assert_eq!(zones(test).await, 3, "{:?}", nodes_of_pods(test).await);
        }
    });
}

/// Nodes without a zone are left out of the constraints by the scheduler; the Pods that the operator builds are apart
/// there all the same. They are tied to nodes of this test's own, on which nothing else is.
#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn pods_are_apart_on_nodes_without_zones_too() {
    harness::run(async |test| {
        if test.audit_if_recorded().is_none() {
            // Nodes are made in the local cluster only.
            return;
        }
        let nodes = Api::<Node>::all(test.client.clone());
        let names = [0, 1, 2].map(|number| format!("{}-{number}", test.namespace));
        for name in &names {
            nodes
                .create(&PostParams::default(), &node(name, &test.namespace))
                .await
                .expect("a node can be made");
        }
        // Until then the scheduler leaves a new node alone.
        eventually(PATIENCE, "the nodes are ready", async || {
            let mut waiting = Vec::new();
            for name in &names {
                let node = nodes.get(name).await.expect("the node is there");
                let taints = node.spec.and_then(|spec| spec.taints).unwrap_or_default();
                waiting.extend(
                    taints
                        .into_iter()
                        .map(|taint| taint.key)
                        .filter(|key| key != "example.com/test"),
                );
            }
            expect(waiting.is_empty(), waiting)
        })
        .await;
        let found = apart(test).await;
        for name in &names {
            nodes
                .delete(name, &DeleteParams::default())
                .await
                .expect("the node is there");
        }
        let mut counts = BTreeMap::<String, usize>::new();
        for node in found.into_values() {
            *counts.entry(node).or_default() += 1;
        }
        let expected: BTreeMap<_, _> = names.into_iter().map(|name| (name, 2)).collect();
        assert_eq!(counts, expected);
    });
}

/// Creates six Pods as the operator builds them, one after the other; where they land.
async fn apart(test: &Test) -> BTreeMap<String, String> {
    let mut object: TiProxyGroup = serde_json::from_value(manifest(6)).unwrap();
    object.metadata.namespace = Some(test.namespace.clone());
    let discovery = Discovery {
        pd_addrs: vec!["pd.example:2379".to_owned()],
        ..Discovery::default()
    };
    let validated = group::validate::validate(&object).unwrap();
    for ordinal in 0..6 {
        let made = group::build::instance::instance(&validated, &discovery, ordinal, None);
        let made = instance::validate::validate(&made).unwrap();
        let mut pod = instance::build::pod::pod(&made, &instance::build::tls::tls(&made));
        pod.metadata.owner_references = None;
        let spec = pod.spec.as_mut().unwrap();
        spec.node_selector = Some([("example.com/test".to_owned(), test.namespace.clone())].into());
        spec.tolerations =
            serde_json::from_value(json!([{"key": "example.com/test", "operator": "Exists"}])).unwrap();
        test.api::<Pod>()
            .create(&PostParams::default(), &pod)
            .await
            .expect("a Pod can be made");
        eventually(PATIENCE, "the Pod is scheduled", async || {
            let placed = nodes_of_pods(test).await;
            expect(placed.len() > ordinal as usize, placed)
        })
        .await;
    }
    nodes_of_pods(test).await
}

fn node(name: &str, test: &str) -> Node {
    serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {"kubernetes.io/hostname": name, "example.com/test": test},
            "annotations": {"kwok.x-k8s.io/node": "fake"},
        },
        "spec": {"taints": [{"key": "example.com/test", "effect": "NoSchedule"}]},
        "status": {"allocatable": {"cpu": "64", "memory": "256Gi", "pods": "100"},
            "capacity": {"cpu": "64", "memory": "256Gi", "pods": "100"}},
    }))
    .unwrap()
}
