//! Where a TiProxy runs, as its configuration says it: the labels `zone`, `region` and `host`. Pure.
//!
//! They are known when the Pod is bound to a node, which is after its start has been asked for; so they cost a write
//! of the `ConfigMap` and perhaps one of the Pod. TiProxy looks at `zone` only, so that nothing is written where the
//! zone was known beforehand, from `spec.topology`, or where nodes have none.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod};
use kube::ResourceExt;
use kube::core::PartialObjectMeta;

use super::validate::Instance;
use crate::api::name::ANNOTATION_NODE_LABELS;

/// TiProxy's labels, by name.
pub type Labels = BTreeMap<String, String>;

const ZONE: &str = "zone";
const REGION: &str = "region";
const HOST: &str = "host";

/// TiProxy's label and the label of nodes that it comes from.
const SOURCES: [(&str, &str); 3] = [
    (ZONE, "topology.kubernetes.io/zone"),
    (REGION, "topology.kubernetes.io/region"),
    (HOST, "kubernetes.io/hostname"),
];

/// Of a node only what is needed here: there may be thousands.
pub fn forget_the_rest(node: &mut PartialObjectMeta<Node>) {
    let meta = std::mem::take(&mut node.metadata);
    let mut labels = meta.labels.unwrap_or_default();
    labels.retain(|key, _| SOURCES.iter().any(|(_, source)| key == source));
    node.types = None;
    node.metadata.name = meta.name;
    node.metadata.uid = meta.uid;
    node.metadata.resource_version = meta.resource_version;
    node.metadata.labels = Some(labels);
}

/// The labels of a topology; its keys are those of nodes, or their short form.
#[must_use]
pub fn of_topology(topology: Option<&BTreeMap<String, String>>) -> Labels {
    pick(|name, source| {
        let topology = topology?;
        topology.get(source).or_else(|| topology.get(name))
    })
}

/// Where a Pod runs, if that can be told: by its node, or, where nodes may not be read, by the topology labels that
/// Kubernetes (from 1.35 on) copies to Pods when it binds them.
#[must_use]
pub fn of_pod(pod: &Pod, node: Option<&PartialObjectMeta<Node>>) -> Option<Labels> {
    if let Some(node) = node {
        return Some(pick(|_, source| node.labels().get(source)));
    }
    node_name(pod)?;
    let copied = pick(|_, source| pod.labels().get(source));
    (!copied.is_empty()).then_some(copied)
}

/// The node that a Pod is bound to.
#[must_use]
pub fn node_name(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

fn pick<'a>(mut find: impl FnMut(&str, &str) -> Option<&'a String>) -> Labels {
    SOURCES
        .iter()
        .filter_map(|(name, source)| Some(((*name).to_owned(), find(name, source)?.clone())))
        .filter(|(_, value)| !value.is_empty())
        .collect()
}

/// The labels to write, and whether a node said them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Location {
    /// The labels.
    pub labels: Labels,
    /// Whether they came from a node, and not from `spec.topology`.
    pub is_from_node: bool,
}

impl Location {
    /// What to write. `found` is where the Pod runs, if that can be told. Losing that answer changes nothing: then the
    /// `ConfigMap` says what the node was when it was known.
    #[must_use]
    pub fn of(instance: &Instance, found: Option<&Labels>, config_map: Option<&ConfigMap>) -> Self {
        let beforehand = of_topology(instance.spec.topology.as_ref());
        let from_node = match found {
            Some(found) => is_news(instance, &beforehand, found).then(|| found.clone()),
            None => config_map.and_then(recorded),
        };
        Self {
            is_from_node: from_node.is_some(),
            labels: from_node.unwrap_or(beforehand),
        }
    }

    /// Records on the `ConfigMap` what a node said.
    pub fn record(&self, config_map: &mut ConfigMap) {
        let annotations = config_map.metadata.annotations.get_or_insert_default();
        annotations.remove(ANNOTATION_NODE_LABELS);
        if self.is_from_node {
            // A map of texts always has a JSON form.
            let text = serde_json::to_string(&self.labels).unwrap_or_default();
            annotations.insert(ANNOTATION_NODE_LABELS.to_owned(), text);
        }
        if annotations.is_empty() {
            config_map.metadata.annotations = None;
        }
    }
}

/// Whether a node says something that TiProxy would act on and that was not known before.
fn is_news(instance: &Instance, beforehand: &Labels, found: &Labels) -> bool {
    let differs = |name: &str| found.get(name) != beforehand.get(name);
    let label_name = instance.label_name();
    differs(ZONE) || label_name.is_some_and(|name| [REGION, HOST].contains(&name) && differs(name))
}

fn recorded(config_map: &ConfigMap) -> Option<Labels> {
    serde_json::from_str(config_map.annotations().get(ANNOTATION_NODE_LABELS)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::testing::tiproxy;
    use crate::instance::validate::validate;
    use serde_json::{Value, json};

    fn labels(value: &Value) -> Labels {
        serde_json::from_value(value.clone()).unwrap()
    }

    fn node(labels: &Value) -> PartialObjectMeta<Node> {
        serde_json::from_value(
            json!({"metadata": {"name": "node-1", "uid": "u", "resourceVersion": "7",
            "annotations": {"large": "x"}, "labels": labels}}),
        )
        .unwrap()
    }

    fn pod(labels: &Value, node: Option<&str>) -> Pod {
        serde_json::from_value(
            json!({"metadata": {"labels": labels}, "spec": {"nodeName": node, "containers": []}}),
        )
        .unwrap()
    }

    fn instance(spec: &Value) -> Instance {
        let mut object = serde_json::to_value(tiproxy()).unwrap();
        crate::instance::testing::lay_over(&mut object["spec"], spec);
        validate(&serde_json::from_value(object).unwrap()).unwrap()
    }

    #[test]
    fn a_node_is_kept_by_name_and_three_labels() {
        let mut node = node(&json!({"topology.kubernetes.io/zone": "a", "kubernetes.io/os": "linux"}));
        forget_the_rest(&mut node);
        assert_eq!(
            serde_json::to_value(&node).unwrap(),
            json!({"metadata": {"name": "node-1", "uid": "u", "resourceVersion": "7",
                "labels": {"topology.kubernetes.io/zone": "a"}}})
        );
    }

    #[test]
    fn a_topology_is_read_in_both_spellings() {
        for (topology, expected) in [
            (json!({"topology.kubernetes.io/zone": "a"}), json!({"zone": "a"})),
            (
                json!({"zone": "a", "region": "r"}),
                json!({"zone": "a", "region": "r"}),
            ),
            (
                json!({"kubernetes.io/hostname": "h", "disk": "ssd"}),
                json!({"host": "h"}),
            ),
            (json!({"topology.kubernetes.io/zone": ""}), json!({})),
        ] {
            assert_eq!(
                of_topology(Some(&labels(&topology))),
                labels(&expected),
                "{topology}"
            );
        }
        assert_eq!(of_topology(None), Labels::new());
    }

    #[test]
    fn the_node_tells_and_where_it_may_not_be_read_the_pod() {
        let whole = json!({"topology.kubernetes.io/zone": "a", "topology.kubernetes.io/region": "r",
            "kubernetes.io/hostname": "h"});
        let on_pod = json!({"topology.kubernetes.io/zone": "b"});
        for (pod_labels, node_labels, expected) in [
            (
                json!({}),
                Some(&whole),
                Some(json!({"zone": "a", "region": "r", "host": "h"})),
            ),
            (
                on_pod.clone(),
                Some(&whole),
                Some(json!({"zone": "a", "region": "r", "host": "h"})),
            ),
            (on_pod, None, Some(json!({"zone": "b"}))),
            (json!({}), None, None),
            (json!({}), Some(&json!({})), Some(json!({}))),
        ] {
            let node = node_labels.map(node);
            assert_eq!(
                of_pod(&pod(&pod_labels, Some("node-1")), node.as_ref()),
                expected.as_ref().map(labels),
                "{pod_labels} {node_labels:?}"
            );
        }
        assert_eq!(
            of_pod(&pod(&json!({"topology.kubernetes.io/zone": "b"}), None), None),
            None
        );
    }

    #[test]
    fn only_what_tiproxy_acts_on_is_written_after_the_start() {
        let whole = json!({"zone": "a", "region": "r", "host": "h"});
        for (spec, found, expected, is_from_node) in [
            (json!({}), Some(&whole), whole.clone(), true),
            (json!({}), None, json!({}), false),
            // Nodes without zones cost nothing.
            (
                json!({}),
                Some(&json!({"host": "h", "region": "r"})),
                json!({}),
                false,
            ),
            // The zone was known beforehand.
            (
                json!({"topology": {"zone": "a"}}),
                Some(&whole),
                json!({"zone": "a"}),
                false,
            ),
            (
                json!({"topology": {"zone": "a"}}),
                None,
                json!({"zone": "a"}),
                false,
            ),
            (
                json!({"topology": {"zone": "b"}}),
                Some(&whole),
                whole.clone(),
                true,
            ),
            // TiDBs are chosen by the host.
            (
                json!({"topology": {"zone": "a"}, "balance": {"labelName": "host"}}),
                Some(&whole),
                whole.clone(),
                true,
            ),
            (
                json!({"topology": {"zone": "a"}, "config": "balance.label-name = \"region\""}),
                Some(&whole),
                whole.clone(),
                true,
            ),
        ] {
            let found = found.map(labels);
            assert_eq!(
                Location::of(&instance(&spec), found.as_ref(), None),
                Location {
                    labels: labels(&expected),
                    is_from_node
                },
                "{spec} {found:?}"
            );
        }
    }

    #[test]
    fn what_a_node_said_is_kept_when_it_cannot_be_asked_any_more() {
        let found = labels(&json!({"zone": "a", "host": "h"}));
        let spec = instance(&json!({"topology": {"zone": "b"}}));
        let location = Location::of(&spec, Some(&found), None);
        let mut config_map = ConfigMap::default();
        location.record(&mut config_map);
        assert_eq!(Location::of(&spec, None, Some(&config_map)), location);
        Location::default().record(&mut config_map);
        assert_eq!(config_map, ConfigMap::default());
        assert_eq!(
            Location::of(&spec, None, Some(&config_map)).labels,
            labels(&json!({"zone": "b"}))
        );
    }
}
