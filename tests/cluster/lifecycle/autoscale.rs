//! What a `HorizontalPodAutoscaler` needs: replicas and a selector in the scale subresource.

use std::time::Duration;

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::json;
use tiproxy_operator::api::TiProxyGroup;

use super::scenario::{GROUP, Scenario, group, names};
use crate::harness;
use crate::harness::wait::eventually;

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

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_horizontal_pod_autoscaler_finds_its_target() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        test.apply(&group(GROUP, 2)).await;
        scenario.ready(GROUP).await;
        let autoscaler = json!({
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "web"},
            "spec": {
                "scaleTargetRef": {"apiVersion": "core.pingcap.com/v1alpha1", "kind": "TiProxyGroup", "name": GROUP},
                "minReplicas": 3,
                "maxReplicas": 5,
                "metrics": [{
                    "type": "Resource",
                    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
                }],
            },
        });
        test.apply(&autoscaler).await;
        // The controller looks every 15 s; a new kind it learns of within 30 s.
        eventually(
            Duration::from_mins(3),
            "the autoscaler found its target",
            async || {
                let found: HorizontalPodAutoscaler = scenario.get("web").await;
                let conditions = found
                    .status
                    .and_then(|status| status.conditions)
                    .unwrap_or_default();
                let able = conditions
                    .iter()
                    .any(|condition| condition.type_ == "AbleToScale" && condition.status == "True");
                if able {
                    Ok(())
                } else {
                    Err(format!("{conditions:?}"))
                }
            },
        )
        .await;
        // It needs no metrics to keep to its minimum.
        let three = eventually(Duration::from_mins(2), "there are three", async || {
            let found: TiProxyGroup = scenario.get(GROUP).await;
            if found.spec.replicas == 3 {
                Ok(())
            } else {
                Err(found.spec.replicas.to_string())
            }
        });
        three.await;
        scenario.ready(GROUP).await;
        scenario.finish().await;
    });
}
