//! An object that is as large as the schema allows: the rules must stay within the API server's cost budget.

use serde_json::{Map, Value, json};

use super::manifest::{Kind, set};
use crate::harness::{self, objects::Keep};

fn labels(count: usize) -> Value {
    let label = |index| {
        let key = format!("{}.example.com/{}{index}", "p".repeat(40), "k".repeat(40));
        (key, json!("v".repeat(63)))
    };
    Value::Object((0..count).map(label).collect())
}

fn topologies() -> Vec<Value> {
    let topology = |index: usize| {
        let labels: Map<_, _> = (0..16)
            .map(|key| (format!("key-{key}"), json!(format!("{index:063}"))))
            .collect();
        json!({"topology": labels})
    };
    (0..32).map(topology).collect()
}

/// The API server takes at most 3 MiB: either many mounts, or long paths.
fn volumes(mounts: usize, path: &str, storage: &str) -> Vec<Value> {
    let mounts: Vec<_> = (0..mounts)
        .map(|index| json!({"mountPath": format!("/{path}{index}"), "subPath": path}))
        .collect();
    (0..256)
        .map(|index| json!({"name": format!("{index:056}"), "storage": storage, "mounts": mounts}))
        .collect()
}

fn largest() -> Value {
    let mut group = Kind::Group.smallest("web");
    let addresses: Vec<_> = (0..32)
        .map(|index| format!("{}{index:02}:65535", "p".repeat(250)))
        .collect();
    let ranges: Vec<_> = (0..128).map(|index| format!("fd00::{index:04x}/128")).collect();
    let claims: Vec<_> = (0..256)
        .map(|index| json!({"name": format!("{index:056}"), "volumeClaim": {}}))
        .collect();
    for (path, value) in [
        ("spec.cluster.pdAddrs", json!(addresses)),
        (
            "spec.schedulePolicies",
            json!([{"type": "EvenlySpread", "evenlySpread": {"topologies": topologies()}}]),
        ),
        (
            "spec.service",
            json!({"type": "LoadBalancer", "loadBalancerSourceRanges": ranges, "labels": labels(64)}),
        ),
        ("spec.template.metadata", json!({"labels": labels(512)})),
        (
            "spec.template.spec.version",
            json!(format!("1.2.3-{}", "a".repeat(122))),
        ),
        ("spec.template.spec.config", json!("a".repeat(65_536))),
        (
            "spec.template.spec.overlay",
            json!({"pod": {"metadata": {"labels": labels(512)}}, "volumeClaims": claims}),
        ),
    ] {
        set(&mut group, path, value);
    }
    group
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn the_largest_object_may_be_created_and_changed() {
    harness::run(async |test| {
        let mut group = largest();
        let long = "a".repeat(1000);
        for (name, mounts, path) in [("many", 64, ""), ("long", 2, long.as_str())] {
            set(
                &mut group,
                "metadata",
                json!({"name": name, "resourceVersion": ""}),
            );
            set(
                &mut group,
                "spec.template.spec.volumes",
                json!(volumes(mounts, path, "1Gi")),
            );
            let created = test.create(&group, Keep::Yes).await.unwrap();
            let version = created.metadata.resource_version;
            set(&mut group, "metadata.resourceVersion", json!(version));
            set(
                &mut group,
                "spec.template.spec.volumes",
                json!(volumes(mounts, path, "2Gi")),
            );
            test.replace(&group, Keep::Yes).await.unwrap();
        }
    });
}
