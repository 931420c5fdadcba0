//! TiDB Operator v2: every field that it has.

use serde_json::{Value, json};

use super::manifest::{Kind, documents, set};
use super::sample::assert_kept;
use crate::harness::{self, objects::Keep};

const EVERYTHING: &str = include_str!("tidb_operator.yaml");
/// The shapes in which its examples, documentation and tests write manifests.
const EXAMPLES: &str = include_str!("tidb_operator_examples.yaml");

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
/// What TiProxy needs of a Cluster, and what else TiDB Operator has there.
const CLUSTER_FIELDS: &[&str] = &[
    "paused",
    "suspendAction.suspendCompute",
    "tlsCluster.enabled",
    "featureGates.0.name",
    "dns.mode",
    "dns.clusterDomain",
    "security.tls.client.ca.name",
    "security.tls.client.certKeyPair.name",
    "security.tls.client.insecureSkipTLSVerify",
    "security.sessionTokenSigningCertKeyPair.name",
    "upgradePolicy",
    "revisionHistoryLimit",
    "customizedPDServiceName",
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
        (&manifests[2], "/spec", CLUSTER_FIELDS),
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
fn every_example_is_accepted_as_it_stands() {
    harness::run(async |test| {
        for apply in [&["apply"][..], &["apply", "--server-side"]] {
            let strict = [apply, &["--validate=strict", "--filename", "-"]].concat();
            for manifest in documents(EXAMPLES) {
                let name = manifest["metadata"]["name"].as_str().unwrap();
                let resource = manifest["kind"].as_str().unwrap();
                let applied = test.kubectl.run_with_input(&strict, &manifest.to_string()).await;
                assert_eq!(
                    (applied.code, applied.stderr.as_str()),
                    (Some(0), ""),
                    "{name}: {applied:?}"
                );
                assert_kept(test, &manifest).await;
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
