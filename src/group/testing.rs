//! Groups for the tests of this module.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::build;
use super::observe::Observed;
use super::validate::{Group, validate};
use super::volumes::LeftBehind;
use crate::api::{Discovery, TiProxy, TiProxyGroup};
use crate::instance::testing::lay_over;
use crate::ownership::Slot;
use crate::revision;

/// A group of three with these changes to its spec.
pub(crate) fn object(spec: &Value) -> TiProxyGroup {
    let mut group = json!({
        "apiVersion": "core.pingcap.com/v1alpha1", "kind": "TiProxyGroup",
        "metadata": {"name": "web", "namespace": "ns", "uid": "uid-group", "resourceVersion": "1", "generation": 3},
        "spec": {"cluster": {"name": "basic"}, "replicas": 3, "template": {"spec": {"version": "v1.3.2"}}},
    });
    lay_over(&mut group["spec"], spec);
    serde_json::from_value(group).unwrap()
}

/// The same, validated.
pub(crate) fn group(spec: &Value) -> Group {
    validate(&object(spec)).unwrap()
}

/// A discovery that found PD.
pub(crate) fn discovery() -> Discovery {
    Discovery {
        pd_addrs: vec!["basic-pd.ns.svc:2379".to_owned()],
        ..Discovery::default()
    }
}

/// The condition Ready of a TiProxy, and its Stalled.
pub(crate) fn conditions(ready: &str, stalled: &str, reason: &str, generation: i64) -> Value {
    let condition = |kind: &str, status: &str| {
        json!({"type": kind, "status": status, "reason": reason, "message": "why", "observedGeneration": generation,
            "lastTransitionTime": "2026-11-23T09:00:00Z"})
    };
    json!([condition("Ready", ready), condition("Stalled", stalled)])
}

/// A TiProxy of the group, ready, with these changes to the object.
pub(crate) fn instance(group: &Group, ordinal: u32, changes: &Value) -> Arc<TiProxy> {
    let made = build::instance::instance(group, &discovery(), ordinal, None);
    let revision = revision::name(&group.name, &made.spec);
    let mut value = serde_json::to_value(made).unwrap();
    let status = json!({"replicas": 1, "updateRevision": revision, "conditions": conditions("True", "False", "AllReady", 1)});
    let metadata = json!({"uid": format!("uid-{ordinal}"), "resourceVersion": "5", "generation": 1});
    lay_over(&mut value, &json!({"metadata": metadata, "status": status}));
    lay_over(&mut value, changes);
    Arc::new(serde_json::from_value(value).unwrap())
}

/// A group with these TiProxies, and PD found.
pub(crate) fn observed(object: TiProxyGroup, instances: Vec<Arc<TiProxy>>) -> Observed {
    Observed {
        object: Arc::new(object),
        with_pod: instances
            .iter()
            .filter_map(|instance| instance.metadata.uid.clone())
            .collect(),
        instances,
        adoptable: Vec::new(),
        reserved_ordinals: BTreeSet::new(),
        left_behind: LeftBehind::default(),
        client_service: Slot::Absent,
        peer_service: Slot::Absent,
        disruption_budget: Slot::Absent,
        network_policy: Slot::Absent,
        cluster: None,
        discovery: Ok(discovery()),
    }
}
