//! What keeps a Pod from becoming ready is told within 10 s, and the group goes on when the cause has gone.

use serde_json::{Value, json};

use super::fixture::{edit, group, is_ready, is_soon_true, pods};
use crate::harness;
use crate::harness::Test;

/// What the kubelet says, and what the operator makes of it.
struct Trouble {
    waiting: Value,
    last: Value,
    reason: &'static str,
    parts: &'static [&'static str],
}

fn troubles() -> [Trouble; 5] {
    [
        Trouble {
            waiting: json!({"reason": "ErrImagePull", "message": "rpc error: manifest unknown"}),
            last: json!({}),
            reason: "ImageUnavailable",
            parts: &[
                "image pingcap/tiproxy:v1.3.0",
                "manifest unknown",
                "spec.template.spec.image",
            ],
        },
        Trouble {
            waiting: json!({"reason": "ImagePullBackOff", "message": "Back-off pulling image"}),
            last: json!({}),
            reason: "ImageUnavailable",
            parts: &[
                "image pingcap/tiproxy:v1.3.0",
                "Back-off pulling image",
                "version",
            ],
        },
        Trouble {
            waiting: json!({"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}),
            last: json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}),
            reason: "CrashLooping",
            parts: &[
                "ended 4 times",
                "exit code 137 (OOMKilled)",
                "kubectl logs --previous web-tiproxy-0",
            ],
        },
        Trouble {
            waiting: json!({"reason": "CreateContainerConfigError", "message": "secret \"tls\" not found"}),
            last: json!({}),
            reason: "SecretMissing",
            parts: &["secret \"tls\" not found", "create the Secret or the key"],
        },
        Trouble {
            waiting: json!({"reason": "InvalidImageName", "message": "couldn't parse image name"}),
            last: json!({}),
            reason: "ImageUnavailable",
            parts: &["couldn't parse image name"],
        },
    ]
}

/// What the kubelet writes into the status of a Pod.
async fn set_pod(test: &Test, ready: bool, state: Value, last: &Value) {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-tiproxy-0"}});
    let status = if ready { "True" } else { "False" };
    let condition = |condition_type: &str, status: &str| json!({"type": condition_type, "status": status, "lastTransitionTime": "2026-01-01T00:00:00Z"});
    test.patch_status(
        &pod,
        json!({
            "conditions": [
                condition("PodScheduled", "True"), condition("Initialized", "True"),
                condition("ContainersReady", status), condition("Ready", status),
            ],
            "containerStatuses": [{
                "name": "tiproxy", "image": "pingcap/tiproxy:v1.3.0", "imageID": "", "ready": ready,
                "restartCount": 4, "state": state, "lastState": last,
            }],
        }),
    )
    .await;
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn what_the_kubelet_complains_of_is_told() {
    harness::run(async |test| {
        let _operator = test.start_operator().await;
        let web = group("web", 1);
        test.apply(&web).await;
        is_ready(test, &web).await;
        for trouble in troubles() {
            set_pod(test, false, json!({"waiting": trouble.waiting}), &trouble.last).await;
            let message = is_soon_true(test, &web, "Stalled", trouble.reason).await;
            for part in [&["TiProxy web-0: ", "Pod web-tiproxy-0"], trouble.parts].concat() {
                assert!(message.contains(part), "{part:?} is not in {message:?}");
            }
            let state = json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}});
            set_pod(test, true, state, &trouble.last).await;
            is_ready(test, &web).await;
        }
        // A bad image does not stop the way back, nor another version.
        let waiting = json!({"reason": "ImagePullBackOff", "message": "Back-off pulling image"});
        set_pod(test, false, json!({ "waiting": waiting }), &json!({})).await;
        is_soon_true(test, &web, "Stalled", "ImageUnavailable").await;
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

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_pod_that_fits_no_node_is_told_and_takes_nothing_away() {
    harness::run(async |test| {
        let _operator = test.start_operator().await;
        let web = group("web", 2);
        test.apply(&web).await;
        is_ready(test, &web).await;
        let before: Vec<_> = pods(test)
            .await
            .into_values()
            .map(|pod| pod.metadata.uid)
            .collect();
        edit(
            test,
            &web,
            json!({"spec": {"template": {"spec": {"resources": {"cpu": "1000"}}}}}),
        )
        .await;
        let message = is_soon_true(test, &web, "Stalled", "Unschedulable").await;
        for part in [
            "TiProxy web-2: Pod web-tiproxy-2 fits no node",
            "Insufficient cpu",
            "spec.template.spec.resources",
        ] {
            assert!(message.contains(part), "{part:?} is not in {message:?}");
        }
        let now: Vec<_> = pods(test)
            .await
            .into_values()
            .map(|pod| pod.metadata.uid)
            .collect();
        assert!(before.iter().all(|uid| now.contains(uid)), "{before:?} {now:?}");
        edit(
            test,
            &web,
            json!({"spec": {"template": {"spec": {"resources": {"cpu": "1"}}}}}),
        )
        .await;
        is_ready(test, &web).await;
    });
}
