//! Pods that end without being asked: they are replaced under the same TiProxy, again and again with growing pauses.

use k8s_openapi::api::core::v1::Pod;
use kube::api::EvictParams;
use serde_json::{Value, json};
use tiproxy_operator::api::TiProxy;

use super::another;
use crate::drain::NEVER_STARTS;
use crate::harness;
use crate::harness::wait::eventually;
use crate::lifecycle::scenario::{GROUP, PATIENCE, Scenario, group, names};

/// What the kubelet, or the node's manager, writes when a Pod has ended.
async fn ends(scenario: &Scenario<'_>, pod: &str, status: Value) {
    let this = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod}});
    scenario.test.patch_status(&this, status).await;
}

/// A status of a Pod that has failed.
fn failed(reason: &str, message: &str) -> Value {
    json!({
        "phase": "Failed", "reason": reason, "message": message,
        "conditions": [
            {"type": "Ready", "status": "False"},
            {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"},
        ],
    })
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn whatever_ends_a_pod_its_tiproxy_gets_another() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        test.apply(&group(GROUP, 3)).await;
        scenario.ready(GROUP).await;
        let before = scenario.pod_uids(GROUP).await;
        let evicted = failed("Evicted", "The node was low on resource: memory.");
        ends(&scenario, "web-tiproxy-0", evicted).await;
        let failed = failed("NodeAffinity", "Predicate NodeAffinity failed");
        ends(&scenario, "web-tiproxy-1", failed).await;
        // As the scheduler does when something more important needs the room.
        scenario.delete_if_there::<Pod>("web-tiproxy-2").await;
        for (name, uid) in &before {
            another(&scenario, name, uid).await;
        }
        scenario.ready(GROUP).await;
        let instances = scenario.of_group::<TiProxy>(GROUP).await;
        assert!(instances.keys().eq(&names("web", 3)), "{:?}", instances.keys());

        let uid = scenario.pod_uids(GROUP).await["web-tiproxy-2"].clone();
        scenario.excuse(&uid);
        // As `kubectl drain` does for a node. The disruption controller counts a moment later.
        eventually(PATIENCE, "one may be evicted", async || {
            let evicted = test
                .api::<Pod>()
                .evict("web-tiproxy-2", &EvictParams::default())
                .await;
            evicted.map(drop).map_err(|error| error.to_string())
        })
        .await;
        another(&scenario, "web-tiproxy-2", &uid).await;
        scenario.ready(GROUP).await;
        scenario.calm().await;
        scenario.finish().await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_pod_that_fails_again_and_again_is_replaced_with_pauses() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        let mut web = group(GROUP, 1);
        // One that becomes ready in between has a new chance.
        let annotations = json!({NEVER_STARTS: "true"});
        web["spec"]["template"]["metadata"] = json!({"annotations": annotations});
        test.apply(&web).await;
        let mut uid = another(&scenario, "web-tiproxy-0", "none").await;
        let mut pauses = Vec::new();
        for _ in 0..2 {
            let began = std::time::Instant::now();
            let status = failed("UnexpectedAdmissionError", "no room");
            ends(&scenario, "web-tiproxy-0", status).await;
            uid = another(&scenario, "web-tiproxy-0", &uid).await;
            pauses.push(began.elapsed().as_secs());
        }
        assert!(pauses[0] < 8, "the first is replaced at once: {pauses:?}");
        assert!((9..30).contains(&pauses[1]), "the second after 10 s: {pauses:?}");
        scenario.verdict().await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_container_that_runs_out_of_memory_is_told() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        test.apply(&group(GROUP, 2)).await;
        scenario.ready(GROUP).await;
        let before = scenario.pod_uids(GROUP).await;
        let container = json!({
            "name": "tiproxy", "image": "pingcap/tiproxy:v1.3.1", "imageID": "", "ready": false, "restartCount": 3,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}},
            "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
        });
        let conditions = json!([{"type": "Ready", "status": "False"}]);
        let status = json!({"conditions": conditions, "containerStatuses": [container]});
        ends(&scenario, "web-tiproxy-1", status).await;
        let message = scenario.condition(GROUP, "Stalled", "True", "CrashLooping").await;
        for part in ["web-1", "OOMKilled", "memory", "spec.template.spec.resources"] {
            assert!(message.contains(part), "{part:?} is not in {message:?}");
        }
        // The kubelet restarts it; another Pod would fare no better.
        scenario.calm().await;
        assert_eq!(scenario.pod_uids(GROUP).await, before);
        scenario.verdict().await;
    });
}
