//! What a `HorizontalPodAutoscaler` needs: replicas and a selector in the scale subresource.

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::{Value, json};
use tiproxy_operator::api::TiProxyGroup;

use super::scenario::{GROUP, PATIENCE, Scenario, group, group_with, names};
use crate::harness;
use crate::harness::metrics_api::MetricsApi;
use crate::harness::wait::{eventually, expect};

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn the_scale_subresource_selects_exactly_the_serving_pods() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        // A group whose name begins with the other's, to be kept apart.
        test.apply(&group(GROUP, 2)).await;
        test.apply(&group("web-two", 1)).await;
        scenario.ready(GROUP).await;
        scenario.ready("web-two").await;
        let selected = async || {
            let scale = test.api::<TiProxyGroup>().get_scale(GROUP).await.unwrap();
            let status = scale.status.unwrap();
            assert_eq!((scale.spec.unwrap().replicas, status.replicas), (Some(2), 2));
            let labels = ListParams::default().labels(&status.selector.unwrap());
            let pods = test.api::<Pod>().list(&labels).await.unwrap();
            let mut names: Vec<_> = pods.iter().map(ResourceExt::name_any).collect();
            names.sort();
            names
        };
        assert_eq!(selected().await, names("web-tiproxy", 2));
        // A Pod without the serving label has left: it is not counted, and the label is not put back.
        let leave = ["label", "pod", "web-tiproxy-1", "core.pingcap.com/serving-"];
        test.kubectl.succeed(&leave).await;
        scenario.rest_after_foreign_changes().await;
        assert_eq!(selected().await, ["web-tiproxy-0"]);
        scenario.finish().await;
    });
}

/// What a `HorizontalPodAutoscaler` of the group says; between 3 and 6 TiProxies at half of their CPU.
fn autoscaler() -> Value {
    json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "core.pingcap.com/v1alpha1", "kind": "TiProxyGroup", "name": GROUP},
            "minReplicas": 3,
            "maxReplicas": 6,
            "metrics": [{
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
            }],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
        },
    })
}

/// Waits until the autoscaler has brought the group to so many, and all of them serve.
async fn brought_to(scenario: &Scenario<'_>, replicas: i32) {
    // A new kind the controller learns of within 30 s; it acts at most every 15 s.
    let what = format!("the autoscaler asked for {replicas}");
    eventually(PATIENCE, &what, async || {
        let group: TiProxyGroup = scenario.get(GROUP).await;
        let autoscaler: HorizontalPodAutoscaler = scenario.get("web").await;
        expect(
            group.spec.replicas == replicas,
            (group.spec.replicas, autoscaler.status),
        )
    })
    .await;
    let serving = usize::try_from(replicas).unwrap();
    scenario.ready(GROUP).await;
    assert_eq!(scenario.pod_uids(GROUP).await.len(), serving);
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_horizontal_pod_autoscaler_keeps_to_its_minimum() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        test.apply(&group(GROUP, 2)).await;
        scenario.ready(GROUP).await;
        // It needs no metrics for that.
        test.apply(&autoscaler()).await;
        brought_to(&scenario, 3).await;
        scenario.finish().await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_horizontal_pod_autoscaler_follows_the_load_up_and_down() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        let metrics = MetricsApi::start(test, 150).await;
        let mut web = group_with(GROUP, 3, json!({}));
        web["spec"]["template"]["spec"]["resources"] = json!({"requests": {"cpu": "100m"}});
        test.apply(&web).await;
        scenario.ready(GROUP).await;
        let first = scenario.pod_uids(GROUP).await;
        test.apply(&autoscaler()).await;
        eventually(PATIENCE, "the autoscaler sees the load", async || {
            let autoscaler: HorizontalPodAutoscaler = scenario.get("web").await;
            let conditions = autoscaler.status.and_then(|status| status.conditions);
            let conditions = conditions.unwrap_or_default();
            let is_active = conditions
                .iter()
                .any(|condition| condition.type_ == "ScalingActive" && condition.status == "True");
            expect(is_active, conditions)
        })
        .await;
        metrics.set_load(300);
        brought_to(&scenario, 6).await;
        metrics.set_load(90);
        brought_to(&scenario, 3).await;
        // Whoever was there first is still there: the last to come are the first to go.
        assert_eq!(scenario.pod_uids(GROUP).await, first);
        scenario.finish().await;
    });
}
