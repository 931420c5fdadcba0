//! The `PodDisruptionBudget`, with the real disruption controller.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{DeleteParams, EvictParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use super::{OBJECT, becomes, goes, is_true};
use crate::harness;
use crate::harness::Test;
use crate::harness::group::{PATIENCE, edit, manifest, settled};
use crate::harness::objects::Keep;
use crate::harness::wait::{eventually, expect};

/// What the disruption controller counts: wanted, healthy, needed, and how many may go.
fn counted(budget: &PodDisruptionBudget) -> Option<[i32; 4]> {
    let status = budget.status.as_ref()?;
    let current = status.observed_generation == budget.metadata.generation;
    current.then_some([
        status.expected_pods,
        status.current_healthy,
        status.desired_healthy,
        status.disruptions_allowed,
    ])
}

async fn counts(test: &Test, expected: [i32; 4]) {
    let what = format!("the budget counts {expected:?}");
    becomes::<PodDisruptionBudget>(test, OBJECT, &what, |budget| counted(budget) == Some(expected)).await;
}

/// The HTTP status of an eviction.
async fn evict(test: &Test, pod: &str) -> u16 {
    let pods = Api::<Pod>::namespaced(test.client_without_retries().await, &test.namespace);
    match pods.evict(pod, &EvictParams::default()).await {
        Ok(_) => 201,
        Err(kube::Error::Api(status)) => status.code,
        Err(error) => panic!("{pod}: {error}"),
    }
}

async fn hold_back_new_pods(test: &Test) {
    let limit = json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "more-than-there-is"},
        "spec": {"limits": [{"type": "Container", "default": {"cpu": "9000"}, "defaultRequest": {"cpu": "9000"}}]}});
    test.create(&limit, Keep::Yes).await.expect("the name is free");
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "trial"},
        "spec": {"containers": [{"name": "trial", "image": "trial"}]}});
    eventually(PATIENCE, "new Pods have what the limit says", async || {
        let made = test
            .create(&pod, Keep::No)
            .await
            .map_err(|error| error.to_string())?;
        let request = &made.data["spec"]["containers"][0]["resources"]["requests"]["cpu"];
        expect(request.is_string(), request.clone())
    })
    .await;
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn one_pod_may_be_evicted_a_second_not_and_an_unready_one_always() {
    harness::run(async |test| {
        let _operator = test.start_operator().await;
        test.apply(&manifest(2)).await;
        settled(test, 2).await;
        // Which the controller can only know through the scale of each TiProxy.
        counts(test, [2, 2, 1, 1]).await;
        // It goes along with the size of the group, without a write of ours.
        let generation = test
            .api::<PodDisruptionBudget>()
            .get(OBJECT)
            .await
            .unwrap()
            .metadata
            .generation;
        edit(test, json!({"replicas": 4})).await;
        settled(test, 4).await;
        counts(test, [4, 4, 3, 1]).await;
        let budget = test.api::<PodDisruptionBudget>().get(OBJECT).await.unwrap();
        assert_eq!(budget.metadata.generation, generation);

        // From now on a new Pod asks for more than any node has, so that what was evicted stays away.
        hold_back_new_pods(test).await;
        let first = "proxy-tiproxy-0";
        let uid = test.api::<Pod>().get(first).await.unwrap().uid();
        assert_eq!(evict(test, first).await, 201);
        becomes::<Pod>(test, first, "another Pod waits for a node", |pod| {
            pod.uid() != uid
        })
        .await;
        counts(test, [4, 3, 3, 0]).await;
        assert_eq!(evict(test, "proxy-tiproxy-1").await, 429);

        let unready = json!({"status": {"conditions": [
            {"type": "Ready", "status": "False", "reason": "Test", "lastTransitionTime": "2026-01-01T00:00:00Z"},
        ]}});
        let second = "proxy-tiproxy-2";
        eventually(PATIENCE, "an unready Pod is evicted", async || {
            test.api::<Pod>()
                .patch_status(second, &PatchParams::default(), &Patch::Strategic(&unready))
                .await
                .map_err(|error| error.to_string())?;
            // The simulated kubelet may have made it ready again.
            let code = evict(test, second).await;
            expect(code == 201, code)
        })
        .await;
        assert_eq!(evict(test, "proxy-tiproxy-1").await, 429);
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn the_budget_is_kept_as_it_should_be_and_goes_on_request() {
    harness::run(async |test| {
        let _operator = test.start_operator().await;
        test.apply(&manifest(1)).await;
        settled(test, 1).await;
        let one = IntOrString::Int(1);
        let is_right = |budget: &PodDisruptionBudget| {
            let spec = budget.spec.as_ref().unwrap();
            let labels = spec
                .selector
                .as_ref()
                .and_then(|selector| selector.match_labels.as_ref());
            spec.max_unavailable.as_ref() == Some(&one)
                && spec.unhealthy_pod_eviction_policy.as_deref() == Some("AlwaysAllow")
                && labels
                    .is_some_and(|labels| labels.len() == 5 && labels["core.pingcap.com/serving"] == "true")
                && budget.labels()["pingcap.com/group"] == "proxy"
        };
        becomes(test, OBJECT, "the budget is there", is_right).await;
        let budgets = test.api::<PodDisruptionBudget>();
        for drift in [
            json!({"spec": {"maxUnavailable": 3}}),
            json!({"spec": {"maxUnavailable": null, "minAvailable": 0, "unhealthyPodEvictionPolicy": null}}),
            json!({"spec": {"selector": {"matchLabels": {"team": "a"}}}, "metadata": {"labels": {"pingcap.com/group": "x"}}}),
        ] {
            budgets
                .patch(OBJECT, &PatchParams::default(), &Patch::Merge(&drift))
                .await
                .expect("it can be changed");
            becomes(test, OBJECT, &format!("{drift} is put right"), is_right).await;
        }
        let old = budgets.get(OBJECT).await.unwrap().uid();
        budgets
            .delete(OBJECT, &DeleteParams::default())
            .await
            .expect("it is there");
        becomes(test, OBJECT, "it is made again", |budget| {
            is_right(budget) && budget.uid() != old
        })
        .await;

        edit(test, json!({"podDisruptionBudget": {"enabled": false}})).await;
        goes::<PodDisruptionBudget>(test, OBJECT).await;
        settled(test, 1).await;

        // Somebody else's is no matter while we want none, and stands in the way of nothing but itself.
        let theirs = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": OBJECT},
            "spec": {"minAvailable": 1, "selector": {"matchLabels": {"team": "a"}}}});
        test.create(&theirs, Keep::Yes).await.expect("the name is free");
        edit(test, json!({"replicas": 2})).await;
        settled(test, 2).await;
        edit(test, json!({"replicas": 3, "podDisruptionBudget": null})).await;
        let message = is_true(test, "Stalled", "NameConflict").await;
        assert!(
            message.contains("PodDisruptionBudget proxy-tiproxy exists and is not ours"),
            "{message}"
        );
        becomes::<Pod>(test, "proxy-tiproxy-2", "the third Pod is there", |_| true).await;
        let found = budgets.get(OBJECT).await.unwrap();
        assert_eq!(
            (found.spec.unwrap().max_unavailable, found.metadata.labels),
            (None, None)
        );
        budgets
            .delete(OBJECT, &DeleteParams::default())
            .await
            .expect("it is there");
        becomes(test, OBJECT, "ours is made", is_right).await;
        settled(test, 3).await;
    });
}
