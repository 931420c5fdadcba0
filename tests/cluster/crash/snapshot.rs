//! All that the operator has made, without what differs from run to run.

use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::core::GroupVersionKind;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::harness::Test;

const KINDS: [(&str, &str, &str); 7] = [
    ("core.pingcap.com", "v1alpha1", "TiProxyGroup"),
    ("core.pingcap.com", "v1alpha1", "TiProxy"),
    ("", "v1", "Pod"),
    ("", "v1", "ConfigMap"),
    ("", "v1", "Service"),
    ("policy", "v1", "PodDisruptionBudget"),
    ("networking.k8s.io", "v1", "NetworkPolicy"),
];

/// The objects of the namespace, as text for comparing; `ConfigMaps` of Kubernetes itself aside.
pub(super) async fn snapshot(test: &Test) -> Vec<String> {
    let mut all = Vec::new();
    for (group, version, kind) in KINDS {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        let api = Api::<DynamicObject>::namespaced_with(test.client.clone(), &test.namespace, &resource);
        let list = api
            .list(&ListParams::default())
            .await
            .expect("objects can be listed");
        let ours = list
            .into_iter()
            .filter(|object| object.name_any() != "kube-root-ca.crt");
        all.extend(ours.map(|object| {
            let whole = format!("{kind} {:#}", normalised(kind, object));
            whole.replace(&test.namespace, "NAMESPACE")
        }));
    }
    all
}

fn normalised(kind: &str, object: DynamicObject) -> Value {
    let mut object = serde_json::to_value(object).expect("an object is JSON");
    let metadata = &mut object["metadata"];
    for field in ["uid", "resourceVersion", "creationTimestamp", "managedFields"] {
        remove(metadata, field);
    }
    for owner in metadata["ownerReferences"].as_array_mut().into_iter().flatten() {
        remove(owner, "uid");
    }
    match kind {
        "TiProxyGroup" => {
            // It counts the user's edits, and not every life has them all.
            remove(&mut object["metadata"], "generation");
            remove(&mut object["status"], "observedGeneration");
        }
        "Pod" => {
            // Where it runs is the scheduler's affair, and how it is that of the kubelet.
            remove(&mut object, "status");
            remove(&mut object["spec"], "nodeName");
            forget_place(&mut object["metadata"]);
        }
        "ConfigMap" => {
            let text = object["data"]["config.toml"].as_str().unwrap_or_default();
            object["data"]["config.toml"] = json!(without_place(text));
            forget_place(&mut object["metadata"]);
        }
        "PodDisruptionBudget" => {
            // Kubernetes counts there.
            remove(&mut object, "status");
        }
        "Service" => {
            for field in ["clusterIP", "clusterIPs"] {
                if object["spec"][field] != json!("None") && object["spec"][field] != json!(["None"]) {
                    remove(&mut object["spec"], field);
                }
            }
        }
        "TiProxy" => {
            // Nothing answers here, so it is known only where the place was written before the container ran.
            let conditions = object["status"]["conditions"].as_array_mut();
            if let Some(conditions) = conditions {
                conditions.retain(|condition| condition["type"] != "ConfigApplied");
            }
        }
        _ => {}
    }
    for condition in object["status"]["conditions"]
        .as_array_mut()
        .into_iter()
        .flatten()
    {
        remove(condition, "lastTransitionTime");
        if kind == "TiProxyGroup" {
            remove(condition, "observedGeneration");
        }
    }
    object
}

/// What the operator notes of the place, and whether the Pod ran when it was known.
fn forget_place(metadata: &mut Value) {
    for note in ["core.pingcap.com/node-labels", "core.pingcap.com/config-hash"] {
        remove(&mut metadata["annotations"], note);
    }
    let is_empty = |annotations: &Value| annotations.as_object().is_none_or(serde_json::Map::is_empty);
    if is_empty(&metadata["annotations"]) {
        remove(metadata, "annotations");
    }
}

/// The configuration without what comes from the node; no group here has labels of its own.
fn without_place(text: &str) -> String {
    let place = ["[labels]", "zone = ", "region = ", "host = "];
    text.lines()
        .filter(|line| !line.is_empty() && !place.iter().any(|start| line.starts_with(start)))
        .collect::<Vec<_>>()
        .join("\n")
}

fn remove(object: &mut Value, field: &str) {
    if let Some(fields) = object.as_object_mut() {
        fields.remove(field);
    }
}
