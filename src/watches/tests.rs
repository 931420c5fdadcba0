//! Who is told of which object.

use serde_json::{Value, json};

use super::*;

fn pod(metadata: &Value) -> Pod {
    serde_json::from_value(json!({ "metadata": metadata, "spec": {"containers": []} })).unwrap()
}

fn owner(kind: &str, controller: bool) -> Value {
    json!([{"apiVersion": "core.pingcap.com/v1alpha1", "kind": kind, "name": "web-0", "uid": "x", "controller": controller}])
}

#[test]
fn the_controller_is_told_and_for_an_orphan_whom_its_label_names() {
    let labels = json!({name::LABEL_INSTANCE: "web-7"});
    for (metadata, told) in [
        (
            json!({"labels": labels, "ownerReferences": owner("TiProxy", true)}),
            Some("web-0"),
        ),
        (json!({ "labels": labels }), Some("web-7")),
        (
            json!({"labels": labels, "ownerReferences": owner("TiProxy", false)}),
            Some("web-7"),
        ),
        // Somebody else's, which may stand in the way of the one that its labels name.
        (
            json!({"labels": labels, "ownerReferences": owner("StatefulSet", true)}),
            Some("web-7"),
        ),
        (json!({}), None),
    ] {
        let found = owner_or_label(&pod(&metadata), "TiProxy", name::LABEL_INSTANCE);
        assert_eq!(found.as_deref(), told, "{metadata}");
    }
}

#[test]
fn an_object_puts_one_tiproxy_into_the_queue() {
    let queue = Queue::new();
    add_instance_of(
        &queue,
        &pod(&json!({"namespace": "ns", "labels": {name::LABEL_INSTANCE: "web-7"}})),
    );
    add_instance_of(
        &queue,
        &pod(&json!({"namespace": "ns", "labels": {name::LABEL_INSTANCE: "web-7"}})),
    );
    assert_eq!(queue.depth(), 1);
    add_instance_of(
        &queue,
        &pod(&json!({"namespace": "other", "labels": {name::LABEL_INSTANCE: "web-7"}})),
    );
    assert_eq!(queue.depth(), 2);
    add_instance_of(&queue, &pod(&json!({"namespace": "ns"})));
    assert_eq!(queue.depth(), 2);
}

#[test]
fn a_cluster_concerns_the_groups_of_its_namespace_that_ask_it() {
    let group = |name: &str, namespace: &str, cluster: Value| -> TiProxyGroup {
        serde_json::from_value(json!({
            "apiVersion": "core.pingcap.com/v1alpha1", "kind": "TiProxyGroup",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"cluster": cluster, "replicas": 1, "template": {"spec": {"version": "v1.3.2"}}},
        }))
        .unwrap()
    };
    let basic = json!({"name": "basic"});
    for (group, told) in [
        (group("a", "ns", basic.clone()), 1),
        (group("a", "other", basic), 0),
        (group("a", "ns", json!({"name": "else"})), 0),
        (
            group("a", "ns", json!({"name": "basic", "pdAddrs": ["pd:2379"]})),
            0,
        ),
    ] {
        let queue = Queue::new();
        add_groups_of(&Cache::of([group.clone()]), &queue, "ns", "basic");
        assert_eq!(queue.depth(), told, "{group:?}");
    }
}

#[test]
fn of_a_pod_only_metadata_and_status_are_kept() {
    let mut found = pod(&json!({"name": "a", "labels": {"a": "b"}}));
    forget_pod_spec(&mut found);
    assert_eq!((found.spec.is_none(), found.name_any().as_str()), (true, "a"));
}
