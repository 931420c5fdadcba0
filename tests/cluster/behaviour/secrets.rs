//! A Secret that a Pod needs and that is not there, as kubelets tell of it: by Events.

use serde_json::{Value, json};

use super::fixture::{
    PATIENCE, edit, get, group, instance, instances, is_ready, is_soon_true, pods, something_else,
};
use crate::harness;
use crate::harness::Test;
use crate::harness::wait::{eventually, expect};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

const POD: &str = "web-tiproxy-0";

/// A group whose Pods mount certificates for clients.
fn with_tls() -> Value {
    let mut web = group("web", 1);
    web["spec"]["template"]["spec"]["security"] = json!({"tls": {"mysql": {"enabled": true}}});
    web
}

/// What the kubelet writes into the status of a Pod that waits for its volumes, or runs.
async fn set_pod(test: &Test, runs: bool) {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": POD}});
    let status = if runs { "True" } else { "False" };
    let state = if runs {
        json!({"running": {"startedAt": Timestamp::now().to_string()}, "waiting": null})
    } else {
        json!({"waiting": {"reason": "ContainerCreating"}})
    };
    let condition = |condition_type: &str, status: &str| {
        json!({"type": condition_type, "status": status,
        "lastTransitionTime": "2026-01-01T00:00:00Z"})
    };
    test.patch_status(
        &pod,
        json!({
            "phase": if runs { "Running" } else { "Pending" },
            "conditions": [
                condition("PodScheduled", "True"), condition("Initialized", "True"),
                condition("ContainersReady", status), condition("Ready", status),
            ],
            "containerStatuses": [{
                "name": "tiproxy", "image": "pingcap/tiproxy:v1.3.0", "imageID": "", "ready": runs,
                "restartCount": 0, "state": state, "lastState": {},
            }],
        }),
    )
    .await;
}

/// The kubelet's Event about a Pod: a new one, or one more time the same.
async fn complain(test: &Test, name: &str, count: u32, message: &str) {
    let uid = pods(test).await[POD].uid();
    let now = Timestamp::now();
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": name},
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", "name": POD, "namespace": test.namespace, "uid": uid},
        "type": "Warning", "reason": "FailedMount", "message": message, "count": count,
        "firstTimestamp": (now - SignedDuration::from_secs(60)).to_string(), "lastTimestamp": now.to_string(),
        "source": {"component": "kubelet", "host": "node-1"},
    });
    test.apply(&event).await;
}

fn failed(why: &str) -> String {
    format!("MountVolume.SetUp failed for volume \"ti-tiproxy-sql-tls\" : {why}")
}

fn holds(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_missing_secret_or_key_is_told_and_no_longer_when_the_pod_runs() {
    harness::run(async |test| {
        let mut operator = test.start_operator().await;
        let (web, web_0) = (with_tls(), instance("web-0"));
        test.apply(&web).await;
        is_ready(test, &web).await;

        set_pod(test, false).await;
        complain(
            test,
            "first",
            1,
            &failed("secret \"web-tiproxy-server-secret\" not found"),
        )
        .await;
        let message = is_soon_true(test, &web_0, "Stalled", "SecretMissing").await;
        let parts = [
            "Pod web-tiproxy-0: the Secret web-tiproxy-server-secret does not exist",
            "spec.template.spec.security.tls.mysql",
            "ca.crt, tls.crt, tls.key",
            "create what is missing",
        ];
        holds(&message, &parts);
        let of_group = is_soon_true(test, &web, "Stalled", "SecretMissing").await;
        assert_eq!(of_group, format!("TiProxy web-0: {message}"));

        // The same again, by the same Event and by another, changes nothing; nor does a restart.
        let version = async || {
            let (group, instances) = (get(test, &web).await, instances(test).await);
            (group.resource_version(), instances["web-0"].resource_version())
        };
        something_else(test).await;
        let before = version().await;
        complain(
            test,
            "first",
            2,
            &failed("secret \"web-tiproxy-server-secret\" not found"),
        )
        .await;
        let again = format!(
            "(combined from similar events): {}",
            failed("secret \"web-tiproxy-server-secret\" not found")
        );
        complain(test, "second", 1, &again).await;
        something_else(test).await;
        assert_eq!(version().await, before);
        operator.stop().await;
        let _operator = test.start_operator().await;
        something_else(test).await;
        assert_eq!(version().await, before, "after a restart");

        // The Secret is there, and lacks a key.
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
        complain(
            test,
            "third",
            1,
            &failed("references non-existent secret key: tls.key"),
        )
        .await;
        eventually(PATIENCE, "the key is named", async || {
            let message = is_soon_true(test, &web, "Stalled", "SecretMissing").await;
            expect(
                message.contains("the Secret web-tiproxy-server-secret has no key tls.key"),
                message,
            )
        })
        .await;

        // The Events are still there.
        set_pod(test, true).await;
        is_ready(test, &web).await;
        is_ready(test, &web_0).await;
        something_else(test).await;
        is_ready(test, &web).await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn another_trouble_with_a_volume_is_told_in_the_kubelet_s_words() {
    harness::run(async |test| {
        let _operator = test.start_operator().await;
        let (web, web_0) = (with_tls(), instance("web-0"));
        test.apply(&web).await;
        is_ready(test, &web).await;
        set_pod(test, false).await;
        let words =
            "Unable to attach or mount volumes: unmounted volumes=[log]: timed out waiting for the condition";
        complain(test, "first", 1, words).await;
        let message = is_soon_true(test, &web_0, "Reconciling", "NotReady").await;
        holds(&message, &["Pod web-tiproxy-0 waits for its volumes: ", words]);
        // An Event about somebody else's Pod, or an older Pod of the name, is none of ours.
        edit(
            test,
            &web,
            json!({"spec": {"template": {"spec": {"version": "v1.3.1"}}}}),
        )
        .await;
        is_ready(test, &web).await;
        assert_eq!(pods(test).await.len(), 1);
    });
}
