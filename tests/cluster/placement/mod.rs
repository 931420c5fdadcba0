//! Where Pods land, by the real scheduler.

mod soft;
mod weighted;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::harness::Test;

const ZONE: &str = "topology.kubernetes.io/zone";

/// The zone of each node that has one.
async fn zones_of_nodes(test: &Test) -> BTreeMap<String, String> {
    let nodes = Api::<Node>::all(test.client.clone());
    let nodes = nodes
        .list(&ListParams::default())
        .await
        .expect("nodes can be listed");
    let zone = |node: &Node| Some((node.name_any(), node.labels().get(ZONE)?.clone()));
    nodes.iter().filter_map(zone).collect()
}

/// Three zones that have nodes.
async fn three_zones(test: &Test) -> [String; 3] {
    let zones: std::collections::BTreeSet<_> = zones_of_nodes(test).await.into_values().collect();
    let mut zones = zones.into_iter();
    [(); 3].map(|()| zones.next().expect("the cluster has nodes in three zones"))
}

/// The nodes on which the Pods of the test's namespace are, by Pod.
async fn nodes_of_pods(test: &Test) -> BTreeMap<String, String> {
    let pods = test.api::<Pod>();
    let pods = pods
        .list(&ListParams::default())
        .await
        .expect("Pods can be listed");
    let node = |pod: &Pod| Some((pod.name_any(), pod.spec.as_ref()?.node_name.clone()?));
    pods.iter().filter_map(node).collect()
}

/// `schedulePolicies` for these zones and weights.
fn policies(zones: &[String], weights: &[u32]) -> Value {
    let topology = |(zone, weight): (&String, &u32)| json!({"topology": {ZONE: zone}, "weight": weight});
    let topologies: Vec<Value> = zones.iter().zip(weights).map(topology).collect();
    json!([{"type": "EvenlySpread", "evenlySpread": {"topologies": topologies}}])
}
