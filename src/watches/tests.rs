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
fn of_a_pod_only_its_node_is_kept_and_of_a_node_only_what_changed_is_news() {
    let mut pod: Pod = serde_json::from_value(
        json!({"metadata": {}, "spec": {"nodeName": "node-1", "containers": [{"name": "tiproxy"}]}}),
    )
    .unwrap();
    forget_all_but_the_node(&mut pod);
    assert_eq!(location::node_name(&pod), Some("node-1"));
    assert!(pod.spec.unwrap().containers.is_empty());
    let node = |name: &str, zone: &str| -> PartialObjectMeta<Node> {
        serde_json::from_value(json!({"metadata": {"name": name, "labels": {"zone": zone}}})).unwrap()
    };
    let (news, nodes) = (NodeNews::default(), Cache::of([node("a", "1")]));
    let told: Vec<bool> = [("a", "1"), ("a", "1"), ("b", "1"), ("a", "2"), ("a", "2")]
        .into_iter()
        .map(|(name, zone)| news.is_news(&node(name, zone), &nodes))
        .collect();
    assert_eq!(told, [true, false, true, true, false]);
    for number in 0..1000 {
        news.is_news(&node(&number.to_string(), "1"), &nodes);
    }
    assert!(
        news.0.lock().unwrap().len() < 300,
        "nodes that are gone are forgotten"
    );
    assert!(!news.is_news(&node("a", "2"), &nodes));
}
