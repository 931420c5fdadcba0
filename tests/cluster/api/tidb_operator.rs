//! TiDB Operator v2: each of its validation rules, and every field that it has.

use serde_json::{Value, json};

use super::manifest::{Kind, causes, documents, set};
use super::sample::assert_kept;
use crate::harness::{self, Test, objects::Keep};

const EVERYTHING: &str = include_str!("tidb_operator.yaml");

/// The fields of a group's template and of a TiProxy, below the template.
const TEMPLATE_FIELDS: &[&str] = &[
    "version",
    "image",
    "server.ports.client.port",
    "server.ports.api.port",
    "server.ports.peer.port",
    "server.labels",
    "probes.readiness.type",
    "resources.cpu",
    "resources.memory",
    "config",
    "updateStrategy.config",
    "security.tls.mysql.enabled",
    "security.tls.mysql.clientAuth",
    "security.tls.mysql.ca.name",
    "security.tls.mysql.certKeyPair.name",
    "security.tls.backend.enabled",
    "security.tls.backend.mutual",
    "security.tls.backend.insecureSkipTLSVerify",
    "security.tls.backend.ca.name",
    "security.tls.backend.certKeyPair.name",
    "security.tls.cluster.insecureSkipTLSVerify",
    "security.tls.cluster.ca.name",
    "security.tls.cluster.certKeyPair.name",
    "security.tls.server.enabled",
    "security.tls.server.clientAuth",
    "security.tls.server.ca.name",
    "security.tls.server.certKeyPair.name",
    "volumes.0.name",
    "volumes.0.mounts.0.type",
    "volumes.0.mounts.0.mountPath",
    "volumes.0.mounts.0.subPath",
    "volumes.0.storage",
    "volumes.0.storageClassName",
    "volumes.0.volumeAttributesClassName",
    "preStop.sleepSeconds",
    "overlay.pod.metadata.labels",
    "overlay.pod.metadata.annotations",
    "overlay.pod.spec",
    "overlay.volumeClaims.0.name",
    "overlay.volumeClaims.0.volumeClaim.metadata.labels",
    "overlay.volumeClaims.0.volumeClaim.metadata.annotations",
    "overlay.volumeClaims.0.volumeClaim.spec",
];
const GROUP_FIELDS: &[&str] = &[
    "cluster.name",
    "features",
    "replicas",
    "schedulePolicies.0.type",
    "schedulePolicies.0.evenlySpread.topologies.0.topology",
    "schedulePolicies.0.evenlySpread.topologies.1.weight",
    "minReadySeconds",
    "maxSurge",
    "template.metadata.name",
    "template.metadata.labels",
    "template.metadata.annotations",
];
const INSTANCE_FIELDS: &[&str] = &[
    "cluster.name",
    "features",
    "topology",
    "subdomain",
    "replicas",
    "offline",
];

fn everything() -> Vec<Value> {
    let mut manifests = documents(EVERYTHING);
    let template = manifests[0]["spec"]["template"]["spec"].clone();
    set(&mut manifests[1], "spec", template);
    manifests
}

#[test]
fn the_manifest_has_every_field() {
    let manifests = everything();
    let mut missing = Vec::new();
    for (manifest, base, fields) in [
        (&manifests[0], "/spec", GROUP_FIELDS),
        (&manifests[0], "/spec/template/spec", TEMPLATE_FIELDS),
        (&manifests[1], "/spec", INSTANCE_FIELDS),
        (&manifests[1], "/spec", TEMPLATE_FIELDS),
    ] {
        for field in fields {
            let pointer = format!("{base}/{}", field.replace('.', "/"));
            if manifest.pointer(&pointer).is_none() {
                missing.push(pointer);
            }
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn every_field_is_accepted_and_kept() {
    harness::run(async |test| {
        for apply in [&["apply"][..], &["apply", "--server-side"]] {
            for manifest in everything() {
                let strict = [apply, &["--validate=strict", "--filename", "-"]].concat();
                test.kubectl
                    .succeed_with_input(&strict, &manifest.to_string())
                    .await;
                assert_kept(test, &manifest).await;
                let name = manifest["metadata"]["name"].as_str().unwrap();
                let resource = manifest["kind"].as_str().unwrap();
                test.kubectl.succeed(&["delete", resource, name]).await;
            }
        }
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_status_of_tidb_operator_is_accepted() {
    let condition = json!({
        "type": "Ready",
        "status": "False",
        "reason": "NotAllInstancesReady",
        "message": "not all instances are ready",
        "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    });
    let common = json!({
        "conditions": [condition],
        "observedGeneration": 1,
        "observedClusterGeneration": 1,
        "currentRevision": "a",
        "updateRevision": "b",
        "collisionCount": 0,
    });
    let group = json!({
        "version": "v1.3.2",
        "selector": "pingcap.com/group=web",
        "replicas": 3,
        "readyReplicas": 2,
        "currentReplicas": 1,
        "updatedReplicas": 2,
        "drainingReplicas": 1,
    });
    harness::run(async |test| {
        for (kind, own) in [(Kind::Group, group.clone()), (Kind::Instance, json!({}))] {
            let manifest = kind.smallest("web");
            test.create(&manifest, Keep::Yes).await.unwrap();
            let mut status = common.clone();
            set(&mut status, "", own);
            let stored = test.patch_status(&manifest, status.clone()).await;
            assert_eq!(stored.data["status"], status, "{kind:?}");
        }
    });
}

/// One rule of TiDB Operator, by its number in the notes on it. What is refused names the field and the text.
struct Rule {
    number: &'static str,
    kind: Kind,
    at: &'static str,
    accepted: Vec<Value>,
    refused: Vec<(Value, &'static str, &'static str)>,
}

fn rule(number: &'static str, kind: Kind, at: &'static str, accepted: &[Value]) -> Rule {
    Rule {
        number,
        kind,
        at,
        accepted: accepted.to_vec(),
        refused: Vec::new(),
    }
}

impl Rule {
    fn refuses(mut self, values: &[Value], field: &'static str, text: &'static str) -> Self {
        self.refused
            .extend(values.iter().map(|value| (value.clone(), field, text)));
        self
    }
}

/// V4, V12 to V14, V16 and V22 are about changes: see `super::change`.
fn rules() -> Vec<Rule> {
    use Kind::{Group, Instance};
    let template = "spec.template.spec";
    let policies = |topology: Value, weight: i64| json!([{"type": "EvenlySpread", "evenlySpread": {"topologies": [{"topology": topology, "weight": weight}]}}]);
    let claims = |volumes: &[&str], claims: &[&str]| {
        let volume = |name: &&str| json!({"name": name, "storage": "1Gi", "mounts": [{"mountPath": "/a"}]});
        let claim = |name: &&str| json!({"name": name, "volumeClaim": {}});
        json!({
            "version": "v1.3.2",
            "volumes": volumes.iter().map(volume).collect::<Vec<_>>(),
            "overlay": {"volumeClaims": claims.iter().map(claim).collect::<Vec<_>>()},
        })
    };
    let sized =
        |storage: Value| json!([{"name": "log", "storage": storage, "mounts": [{"mountPath": "/a"}]}]);
    vec![
        rule("V1", Group, "metadata.name", &[json!("a".repeat(40))]).refuses(
            &[json!("a".repeat(41))],
            "<nil>",
            "name must not exceed 40 characters",
        ),
        rule("V2", Instance, "metadata.name", &[json!("a".repeat(47))]).refuses(
            &[json!("a".repeat(48))],
            "<nil>",
            "name must not exceed 47 characters",
        ),
        rule(
            "V3",
            Group,
            "spec.cluster.name",
            &[json!("a"), json!("a.b"), json!("1-a")],
        )
        .refuses(
            &["A", "a_b", "-a", "a.", ""].map(Value::from),
            "spec.cluster.name",
            "",
        ),
        rule("V5", Group, "spec.replicas", &[json!(0), json!(1)])
            .refuses(&[json!(-1)], "spec.replicas", "greater than or equal to 0")
            .refuses(&[Value::Null], "spec.replicas", "Required value"),
        rule(
            "V6",
            Group,
            "spec.minReadySeconds",
            &[Value::Null, json!(0), json!(10), json!(3600)],
        )
        .refuses(&[json!(-1)], "spec.minReadySeconds", "greater than or equal to 0"),
        // 0 is ours: a TiProxy is then replaced in place.
        rule("V7", Group, "spec.maxSurge", &[Value::Null, json!(1), json!(3)]).refuses(
            &[json!(-1)],
            "spec.maxSurge",
            "must be a number from 0",
        ),
        // Build metadata, which no image tag can hold, is refused at once.
        rule(
            "V8",
            Group,
            "spec.template.spec.version",
            &["v1.3.1", "8.5.0-alpha.1"].map(Value::from),
        )
        .refuses(
            &["1", "1.2", "01.2.3", "v1.2.3.4", "latest"].map(Value::from),
            "spec.template.spec.version",
            "must be a semantic version",
        ),
        rule(
            "V9",
            Group,
            "spec.template.spec.server",
            &[json!({"labels": {"a": "b"}})],
        )
        .refuses(
            &["host", "region", "zone"].map(|key| json!({"labels": {key: "x"}})),
            "spec.template.spec.server.labels",
            "labels cannot contain 'host', 'region', or 'zone' keys",
        ),
        rule(
            "V10",
            Group,
            template,
            &[
                claims(&[], &[]),
                claims(&["a"], &["a"]),
                claims(&["a", "b"], &["a", "b"]),
            ],
        )
        .refuses(
            &[
                claims(&["a"], &["b"]),
                claims(&["a"], &["a", "b"]),
                claims(&[], &["a"]),
            ],
            template,
            "overlay volumeClaims names must exist in volumes",
        ),
        rule(
            "V11",
            Group,
            "spec.template.spec.overlay",
            &[json!({"pod": {"metadata": {"labels": {"foo/bar": "x"}}}})],
        )
        .refuses(
            &[json!({"pod": {"metadata": {"labels": {"pingcap.com/x": "x"}}}})],
            "spec.template.spec.overlay.pod.metadata.labels",
            "cannot overlay pod labels starting with 'pingcap.com/'",
        ),
        rule("V15", Instance, "spec.topology", &[json!({"zone": "a"})]).refuses(
            &[json!({})],
            "spec.topology",
            "should have at least 1 properties",
        ),
        rule("V16", Instance, "spec.subdomain", &[json!("a")]).refuses(
            &[Value::Null],
            "spec.subdomain",
            "Required value",
        ),
        rule("V17", Instance, "spec.replicas", &[Value::Null, json!(1)]).refuses(
            &[json!(0), json!(2)],
            "spec.replicas",
            "than or equal to 1",
        ),
        // `http` is ours.
        rule(
            "V18",
            Group,
            "spec.template.spec.probes.readiness.type",
            &[json!("tcp"), json!("command")],
        )
        .refuses(
            &[json!("exec")],
            "spec.template.spec.probes.readiness.type",
            "supported values: \"http\", \"tcp\", \"command\"",
        ),
        rule(
            "V19",
            Group,
            "spec.template.spec.updateStrategy.config",
            &["Restart", "HotReload"].map(Value::from),
        )
        .refuses(
            &[json!("Recreate")],
            "spec.template.spec.updateStrategy.config",
            "supported values: \"HotReload\", \"Restart\"",
        ),
        rule(
            "V20",
            Group,
            "spec.schedulePolicies",
            &[policies(json!({"zone": "a"}), 1)],
        )
        .refuses(
            &[policies(json!({}), 1)],
            "spec.schedulePolicies[0].evenlySpread.topologies[0].topology",
            "should have at least 1 properties",
        )
        .refuses(
            &[policies(json!({"zone": "a"}), 0)],
            "spec.schedulePolicies[0].evenlySpread.topologies[0].weight",
            "greater than or equal to 1",
        ),
        // Our text names the size.
        rule("V21", Group, "spec.template.spec.volumes", &[sized(json!("1Gi"))]).refuses(
            &[sized(json!("0")), sized(json!(0))],
            "spec.template.spec.volumes[0].storage",
            "storage: 0 must be more than 0",
        ),
    ]
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn its_validation_rules_hold() {
    harness::run(async |test| {
        for rule in rules() {
            check(test, &rule).await;
        }
    });
}

async fn check(test: &Test, rule: &Rule) {
    let manifest = |value: &Value| {
        let mut manifest = rule.kind.smallest("web");
        set(&mut manifest, rule.at, value.clone());
        manifest
    };
    for value in &rule.accepted {
        let result = test.create(&manifest(value), Keep::No).await;
        assert!(result.is_ok(), "{}: {value}: {result:?}", rule.number);
    }
    for (value, field, text) in &rule.refused {
        let status = test.create(&manifest(value), Keep::No).await.map_or_else(
            |status| status,
            |_| panic!("{}: {value} is accepted", rule.number),
        );
        let causes = causes(&status);
        let found = causes
            .iter()
            .any(|(at, message)| at == field && message.contains(text));
        assert!(found, "{}: {value}: {causes:?}", rule.number);
    }
}
