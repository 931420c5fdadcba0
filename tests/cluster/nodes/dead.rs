//! A node that is dead, or cut off: it does not end what it should end.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde_json::{Value, json};
use tiproxy_operator::api::TiProxy;

use crate::drain::{NEVER_ENDS, annotate};
use crate::harness;
use crate::harness::history::{Entry, replay};
use crate::harness::wait::{eventually, expect};
use crate::lifecycle::scenario::{GROUP, PATIENCE, Scenario, group, group_with};

/// So long after a Pod should have ended its node counts as dead.
const LOST_AFTER: i64 = 30;
/// How much later than planned something may happen on a busy machine.
const LATE: i64 = 6;

/// What Kubernetes does when a node does not report any more: the Pod is not ready, and is deleted.
async fn node_dies(scenario: &Scenario<'_>, pod: &str) {
    annotate(scenario, pod, NEVER_ENDS, json!("true")).await;
    let this = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod}});
    let unready =
        json!({"type": "Ready", "status": "False", "lastTransitionTime": Timestamp::now().to_string()});
    scenario
        .test
        .patch_status(&this, json!({"conditions": [unready]}))
        .await;
    let uid = scenario
        .get::<Pod>(pod)
        .await
        .uid()
        .expect("a stored object has one");
    scenario.excuse(&uid);
    let delete = ["delete", "pod", pod, "--grace-period=1", "--wait=false"];
    scenario.test.kubectl.succeed(&delete).await;
}

/// When each TiProxy was first called lost, in seconds after its Pod should have ended.
fn lost_after(entries: &[Entry]) -> BTreeMap<String, i64> {
    let mut lost = BTreeMap::new();
    replay(entries, |state, entry| {
        let conditions = entry.object.data["status"]["conditions"].as_array();
        let told = conditions.into_iter().flatten().find(|condition| {
            condition["type"] == "Ready" && condition["status"] == "False" && condition["reason"] == "PodLost"
        });
        let Some(told) = told.filter(|_| entry.kind == "TiProxy") else {
            return;
        };
        let name = entry.object.name_any();
        let pod = state.get(&("Pod", name.replace("web-", "web-tiproxy-")));
        let due = pod.and_then(|pod| pod.metadata.deletion_timestamp.as_ref());
        let message = told["message"].as_str().unwrap_or_default();
        assert!(
            message.contains("node") && message.contains("kubectl delete pod"),
            "{message}"
        );
        if let Some(due) = due {
            // When it was written: the condition was False before, for another reason.
            let written = entry.object.metadata.managed_fields.iter().flatten();
            let written = written
                .filter_map(|fields| fields.time.as_ref())
                .map(|time| time.0)
                .max();
            let after = written.expect("it was written").as_second() - due.0.as_second();
            lost.entry(name).or_insert(after);
        }
    });
    lost
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn who_is_on_a_dead_node_is_replaced_elsewhere_and_goes_when_that_is_safe() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        test.apply(&group(GROUP, 3)).await;
        scenario.ready(GROUP).await;
        let before = scenario.pod_uids(GROUP).await;
        for name in ["web-tiproxy-0", "web-tiproxy-1"] {
            node_dies(&scenario, name).await;
        }
        // Two others come while both are still there.
        let now = eventually(PATIENCE, "there are five", async || {
            let pods = scenario.pod_uids(GROUP).await;
            expect(pods.len() == 5, pods)
        })
        .await;
        assert!(
            before.iter().all(|(name, uid)| now[name] == *uid),
            "{before:?}, {now:?}"
        );
        scenario.condition(GROUP, "Ready", "True", "AllReady").await;

        // One node comes back and ends its Pod; somebody who knows better ends the other.
        annotate(&scenario, "web-tiproxy-0", NEVER_ENDS, Value::Null).await;
        let force = ["delete", "pod", "web-tiproxy-1", "--grace-period=0", "--force"];
        scenario.test.kubectl.succeed(&force).await;
        eventually(PATIENCE, "the lost ones are gone", async || {
            let instances: Vec<_> = scenario.of_group::<TiProxy>(GROUP).await.into_keys().collect();
            expect(instances == ["web-2", "web-3", "web-4"], instances)
        })
        .await;
        scenario.ready(GROUP).await;
        let lost = lost_after(&scenario.entries().await);
        assert!(lost.keys().eq(["web-0", "web-1"]), "{lost:?}");
        for (name, after) in lost {
            assert!(
                (LOST_AFTER..=LOST_AFTER + LATE).contains(&after),
                "{name}: {after} s"
            );
        }
        scenario.finish().await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_node_that_comes_back_in_time_keeps_its_tiproxy() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        test.apply(&group(GROUP, 2)).await;
        scenario.ready(GROUP).await;
        let before = scenario.pod_uids(GROUP).await;
        node_dies(&scenario, "web-tiproxy-0").await;
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        assert_eq!(
            scenario.pod_uids(GROUP).await,
            before,
            "no other Pod while it may run"
        );
        annotate(&scenario, "web-tiproxy-0", NEVER_ENDS, Value::Null).await;
        super::another(&scenario, "web-tiproxy-0", &before["web-tiproxy-0"]).await;
        scenario.ready(GROUP).await;
        let instances: Vec<_> = scenario.of_group::<TiProxy>(GROUP).await.into_keys().collect();
        assert_eq!(instances, ["web-0", "web-1"]);
        scenario.finish().await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_roll_in_place_goes_on_beside_a_dead_node() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        let fields = json!({"maxSurge": 0, "maxUnavailable": 1});
        test.apply(&group_with(GROUP, 3, fields)).await;
        scenario.ready(GROUP).await;
        node_dies(&scenario, "web-tiproxy-1").await;
        scenario
            .change_template(GROUP, json!({"version": "v1.3.2"}))
            .await;
        let reason = "AllReady";
        scenario.condition(GROUP, "Ready", "True", reason).await;
        let versions: Vec<_> = scenario
            .of_group::<TiProxy>(GROUP)
            .await
            .into_values()
            .filter(|instance| {
                instance.metadata.deletion_timestamp.is_none() && instance.spec.offline != Some(true)
            })
            .map(|instance| instance.spec.template.version)
            .collect();
        assert_eq!(versions, ["v1.3.2"; 3]);
        annotate(&scenario, "web-tiproxy-1", NEVER_ENDS, Value::Null).await;
        scenario.ready(GROUP).await;
        scenario.finish().await;
    });
}
