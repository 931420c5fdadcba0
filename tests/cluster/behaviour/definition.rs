//! Definitions that come, go, or are another operator's.
//!
//! They are one for the whole cluster, and deleting one deletes all objects of its kind: this runs in a cluster of its
//! own, never in the one of the other tests, which may be a user's.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::fixture::{
    PATIENCE, becomes, cluster, condition, edit, get, group, instances, is_ready, is_soon_true, is_true,
};
use crate::harness;
use crate::harness::Test;
use crate::harness::cluster::{Settings, output_directory, repository};
use crate::harness::wait::{eventually, expect};

/// A local cluster that goes with this value; its logs stay when the test fails.
struct LocalCluster {
    directory: PathBuf,
}

impl LocalCluster {
    fn start() -> (Self, &'static Settings) {
        let directory = output_directory().join(format!("definitions-{}", std::process::id()));
        let cluster = Self { directory };
        cluster.run(&["up", "--nodes", "1"]);
        let environment = cluster.run(&["env"]);
        let value = |name: &str| {
            let line = environment
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            PathBuf::from(line.unwrap_or_else(|| panic!("{name} is not in {environment}")))
        };
        let settings = Settings::of(
            value("KUBECONFIG"),
            value("OPERATOR_KUBECONFIG"),
            value("KUBECTL"),
        );
        (cluster, Box::leak(Box::new(settings)))
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = Command::new(repository("hack/local-cluster.sh"))
            .args(arguments)
            .arg("--dir")
            .arg(&self.directory)
            .stdin(Stdio::null())
            .output()
            .expect("the script can be started");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "local-cluster.sh {arguments:?}: {errors}"
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for LocalCluster {
    fn drop(&mut self) {
        let _ = Command::new(repository("hack/local-cluster.sh"))
            .args(["down", "--dir"])
            .arg(&self.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn definitions_come_and_go_and_are_replaced() {
    let (_cluster, settings) = LocalCluster::start();
    harness::run_in(settings, Duration::from_mins(5), async |test| {
        for file in ["config/crd", "config/rbac/role.yaml"] {
            apply(test, &repository(file)).await;
        }
        harness::cluster::bind_role(settings).await;
        let _operator = test.start_operator().await;
        without_the_kind_cluster(test).await;
        with_the_kind_cluster_for_a_while(test).await;
        with_another_operators_kinds(test).await;
    });
}

async fn apply(test: &Test, path: &Path) {
    let arguments = [
        "apply",
        "--server-side",
        "--force-conflicts",
        "--filename",
        &path.to_string_lossy(),
    ];
    test.kubectl.succeed(&arguments).await;
}

fn web() -> Value {
    let mut web = group("web", 1);
    web["spec"]["cluster"] = json!({"name": "basic"});
    web
}

async fn without_the_kind_cluster(test: &Test) {
    let own = group("own", 1);
    test.apply(&own).await;
    test.apply(&web()).await;
    let message = is_soon_true(test, &web(), "Reconciling", "ClusterNotFound").await;
    assert!(message.contains("Cluster basic"), "{message}");
    is_ready(test, &own).await;
}

async fn with_the_kind_cluster_for_a_while(test: &Test) {
    let definition = repository("config/crd/optional");
    let is_at = async |service: &str| {
        let address = format!("{service}.{}.svc:2379", test.namespace);
        eventually(PATIENCE, &format!("PD is at {address}"), async || {
            let web = &instances(test).await;
            let found: Vec<_> = web
                .values()
                .filter(|instance| instance.spec.cluster.pd_addrs.is_none())
                .map(|instance| instance.spec.discovery.clone().unwrap_or_default().pd_addrs)
                .collect();
            expect(
                !found.is_empty() && found.iter().all(|at| at == std::slice::from_ref(&address)),
                found,
            )
        })
        .await;
        is_ready(test, &web()).await;
    };
    install(test, &definition).await;
    test.apply(&cluster("basic", json!({"customizedPDServiceName": "pd"})))
        .await;
    is_at("pd").await;

    // All objects of the kind vanish.
    test.kubectl
        .succeed(&["delete", "crd", "clusters.core.pingcap.com"])
        .await;
    eventually(PATIENCE, "the group says that PD is lost", async || {
        let ready = condition(&get(test, &web()).await, "Ready").expect("it has conditions");
        expect(
            ready.status == "True" && ready.message.contains("last known address"),
            ready,
        )
    })
    .await;
    edit(test, &web(), json!({"spec": {"replicas": 2}})).await;
    is_at("pd").await;

    install(test, &definition).await;
    test.apply(&cluster("basic", json!({"customizedPDServiceName": "new-pd"})))
        .await;
    is_at("new-pd").await;
}

async fn install(test: &Test, definition: &Path) {
    apply(test, definition).await;
    let name = "crd/clusters.core.pingcap.com";
    test.kubectl
        .succeed(&["wait", "--for=condition=Established", "--timeout=60s", name])
        .await;
    // kubectl asks for the list of kinds, which is published a moment later.
    eventually(PATIENCE, "the kind is served", async || {
        let answer = test.kubectl.run(&["get", "clusters.core.pingcap.com"]).await;
        expect(answer.code == Some(0), answer)
    })
    .await;
}

/// TiDB Operator's definitions have the names of ours, and not all of our fields.
async fn with_another_operators_kinds(test: &Test) {
    let own = group("own", 1);
    let ours = repository("config/crd");

    // A TiProxy that it does not understand is not made by halves.
    without_field(test, "tiproxies.core.pingcap.com", &["spec", "discovery"]).await;
    edit(test, &own, json!({"spec": {"replicas": 2}})).await;
    let message = is_true(test, &own, "Stalled", "ForeignDefinition").await;
    for part in [
        "TiProxy",
        "spec.discovery",
        "CustomResourceDefinition",
        "config/crd",
    ] {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
    apply(test, &ours).await;
    // Definitions are not watched for this; an edit saves the wait for the next attempt.
    edit(test, &own, json!({"spec": {"minReadySeconds": 1}})).await;
    is_ready(test, &own).await;

    // Nor is a status that it does not understand lost without a word.
    without_field(
        test,
        "tiproxygroups.core.pingcap.com",
        &["status", "drainingReplicas"],
    )
    .await;
    edit(test, &own, json!({"spec": {"replicas": 3}})).await;
    let message = is_true(test, &own, "Stalled", "ForeignDefinition").await;
    assert!(message.contains("status.drainingReplicas"), "{message}");
    becomes(test, &own, PATIENCE, "Ready", "False", "ForeignDefinition").await;
    apply(test, &ours).await;
    edit(test, &own, json!({"spec": {"minReadySeconds": 0}})).await;
    is_ready(test, &own).await;
}

/// Takes a field out of a definition, and waits until the API server refuses it.
async fn without_field(test: &Test, definition: &str, path: &[&str]) {
    let stored = test
        .kubectl
        .succeed(&["get", "crd", definition, "--output", "json"])
        .await;
    let mut stored: Value = serde_json::from_str(&stored).expect("kubectl prints JSON");
    let schema = &mut stored["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let (last, parents) = path.split_last().expect("a path has an end");
    let mut node = schema;
    for parent in parents {
        node = &mut node["properties"][*parent];
    }
    let properties = node["properties"].as_object_mut().expect("an object has fields");
    properties.remove(*last).expect("the field was there");
    stored["metadata"]["managedFields"].take();
    test.kubectl
        .succeed_with_input(&["replace", "--filename", "-"], &stored.to_string())
        .await;
    let kind = stored["spec"]["names"]["kind"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let mut probe = json!({"apiVersion": "core.pingcap.com/v1alpha1", "kind": kind, "metadata": {"name": "probe"},
        "spec": group("probe", 1)["spec"]});
    if kind == "TiProxy" {
        probe["spec"] =
            json!({"cluster": {"name": "basic"}, "subdomain": "a-tiproxy-peer", "version": "v1.3.0"});
    }
    let mut node = &mut probe;
    for name in path {
        node = &mut node[*name];
    }
    *node = json!(1);
    eventually(PATIENCE, "the field is unknown", async || {
        let refused = test.create(&probe, harness::objects::Keep::No).await.err();
        let message = refused.map(|status| status.message).unwrap_or_default();
        expect(message.contains("unknown field"), message)
    })
    .await;
}
