//! What recorded objects say, read without the operator's own code.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::DynamicObject;
use serde_json::Value;
use tiproxy_operator::api::name::ANNOTATION_DRAIN_BEGIN;

use crate::lifecycle::document::meaning;

/// Fields of a TiProxy that its running Pod follows, or that do not concern it.
const NEED_NO_NEW_POD: [&str; 8] = [
    "offline",
    "topology",
    "subdomain",
    "replicas",
    "features",
    "updateStrategy",
    "drain",
    "volumeRetention",
];

/// The keys of the configuration that TiProxy reads at its start only, as far as any test sets them.
const READ_AT_THE_START: [&str; 4] = [
    "\"log\".\"encoder\"",
    "\"log\".\"simple\"",
    "\"proxy\".\"port-range\"",
    "\"balance\".\"routing-rule\"",
];

/// The numbers of a group's spec that bound a rollout.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) replicas: i64,
    pub(crate) max_surge: i64,
    pub(crate) max_unavailable: i64,
    pub(crate) min_ready: i64,
}

pub(crate) fn limits(spec: &Value) -> Limits {
    let replicas = spec["replicas"].as_i64().unwrap_or_default();
    let amount = |field: &str, default: i64, rounding: i64| match spec[field].as_str() {
        Some(percent) => {
            let percent: i64 = percent.trim_end_matches('%').parse().expect("a percentage");
            (percent * replicas + rounding) / 100
        }
        None => spec[field].as_i64().unwrap_or(default),
    };
    let max_surge = amount("maxSurge", 1, 99);
    let max_unavailable = amount("maxUnavailable", 0, 0);
    let stuck = max_surge == 0 && max_unavailable == 0;
    Limits {
        replicas,
        max_surge,
        max_unavailable: if stuck { 1 } else { max_unavailable },
        min_ready: spec["minReadySeconds"].as_i64().unwrap_or(10),
    }
}

/// The controlling owner.
pub(crate) fn owner(object: &DynamicObject) -> Option<&OwnerReference> {
    object
        .owner_references()
        .iter()
        .find(|owner| owner.controller == Some(true))
}

/// The part of a TiProxy's spec whose change needs a new Pod.
pub(crate) fn pod_inputs(instance: &DynamicObject) -> Value {
    let mut spec = instance.data["spec"].clone();
    let restarts = spec["updateStrategy"]["config"] == "Restart";
    let server = spec.get_mut("server").and_then(Value::as_object_mut);
    if let Some(server) = server.filter(|_| !restarts) {
        server.remove("labels");
    }
    if let Some(fields) = spec.as_object_mut() {
        fields.retain(|field, _| !NEED_NO_NEW_POD.contains(&field.as_str()));
        if !restarts {
            fields.remove("balance");
            fields.remove("trafficReplay");
        }
        // Comments and order in the configuration mean nothing, and most keys are taken over by a running process.
        if let Some(config) = fields.get("config").and_then(Value::as_str) {
            let mut meaning = meaning(config);
            let counts = |line: &String| restarts || READ_AT_THE_START.iter().any(|key| line.contains(key));
            // A default that is written out says nothing.
            meaning.retain(|line| counts(line) && !line.ends_with(".\"log\".\"encoder\" = \"tidb\""));
            fields.insert("config".to_owned(), meaning.into_iter().collect());
        }
        // Nothing that counts is as good as nothing.
        fields.retain(|_, value| value.as_array().is_none_or(|list| !list.is_empty()));
        fields.retain(|_, value| value.as_object().is_none_or(|object| !object.is_empty()));
        // A volume grows and changes its class under a running Pod.
        let volumes = fields.get_mut("volumes").and_then(Value::as_array_mut);
        for volume in volumes.into_iter().flatten().filter_map(Value::as_object_mut) {
            volume.retain(|field, _| field == "name" || field == "mounts");
        }
    }
    spec
}

pub(crate) fn is_leaving(object: &DynamicObject) -> bool {
    object.metadata.deletion_timestamp.is_some()
}

/// Neither offline nor deleting.
pub(crate) fn is_active(instance: &DynamicObject) -> bool {
    !is_leaving(instance) && instance.data["spec"]["offline"] != true
}

pub(crate) fn observed_generation(object: &DynamicObject) -> i64 {
    object.data["status"]["observedGeneration"].as_i64().unwrap_or(-1)
}

/// Since when it says Ready of its present generation, in seconds.
pub(crate) fn ready_since(object: &DynamicObject) -> Option<i64> {
    let ready = condition(object, "Ready").filter(|ready| ready["status"] == "True")?;
    if ready["observedGeneration"].as_i64() != object.metadata.generation {
        return None;
    }
    let since: Timestamp = ready["lastTransitionTime"].as_str()?.parse().ok()?;
    Some(since.as_second())
}

/// Whether a Pod serves, as it is stored.
pub(crate) fn is_pod_ready(pod: &DynamicObject) -> bool {
    let ready = condition(pod, "Ready").is_some_and(|ready| ready["status"] == "True");
    ready && !is_leaving(pod) && !has_ended(pod) && !is_marked(pod)
}

/// Whether a Pod carries a time since when it leaves.
pub(crate) fn is_marked(pod: &DynamicObject) -> bool {
    pod.annotations().contains_key(ANNOTATION_DRAIN_BEGIN)
}

/// Whether a TiProxy says that its node is dead.
pub(crate) fn is_lost(instance: &DynamicObject) -> bool {
    condition(instance, "Ready").is_some_and(|ready| ready["reason"] == "PodLost")
}

/// Whether a Cluster asks for its compute to be suspended.
pub(crate) fn is_suspended(cluster: &DynamicObject) -> bool {
    cluster.data["spec"]["suspendAction"]["suspendCompute"] == true
}

/// Whether a Pod will not run again.
pub(crate) fn has_ended(pod: &DynamicObject) -> bool {
    let phase = &pod.data["status"]["phase"];
    *phase == "Failed" || *phase == "Succeeded"
}

fn condition<'a>(object: &'a DynamicObject, condition_type: &str) -> Option<&'a Value> {
    object.data["status"]["conditions"]
        .as_array()?
        .iter()
        .find(|condition| condition["type"] == condition_type)
}

/// The latest time that an object knows, in seconds; a deletion's is when it was asked for, not when it is due.
pub(crate) fn time_of(object: &DynamicObject) -> i64 {
    let meta = &object.metadata;
    let written = meta
        .managed_fields
        .iter()
        .flatten()
        .filter_map(|fields| fields.time.as_ref());
    let created = meta.creation_timestamp.as_ref();
    let grace = meta.deletion_grace_period_seconds.unwrap_or_default();
    let deleted = meta
        .deletion_timestamp
        .as_ref()
        .map(|time| time.0.as_second() - grace);
    written
        .chain(created)
        .map(|time| time.0.as_second())
        .chain(deleted)
        .max()
        .unwrap_or_default()
}
