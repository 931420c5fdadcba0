//! Replicas by the scale subresource.

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;
use tiproxy_operator::api::{TiProxy, TiProxyGroup};

use super::scenario::{GROUP, Scenario, group, names};
use crate::harness;

/// How a user scales.
#[derive(Clone, Copy, Debug)]
enum By {
    Patch,
    Put,
    Kubectl,
}

async fn scale(scenario: &Scenario<'_>, by: By, replicas: i32) {
    let groups = scenario.test.api::<TiProxyGroup>();
    match by {
        By::Patch => {
            let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
            let scale = groups.patch_scale(GROUP, &PatchParams::default(), &patch).await;
            assert_eq!(
                scale.unwrap().spec.unwrap().replicas.unwrap_or_default(),
                replicas
            );
        }
        By::Put => {
            let mut scale = groups.get_scale(GROUP).await.unwrap();
            scale.spec.as_mut().unwrap().replicas = Some(replicas);
            groups
                .replace_scale(GROUP, &PostParams::default(), &scale)
                .await
                .unwrap();
        }
        By::Kubectl => {
            let replicas = format!("--replicas={replicas}");
            scenario
                .test
                .kubectl
                .succeed(&["scale", "tiproxygroup", GROUP, &replicas])
                .await;
        }
    }
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn replicas_follow_the_scale_subresource() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        test.apply(&group(GROUP, 0)).await;
        scenario.ready(GROUP).await;
        assert_eq!(scenario.of_group::<Service>(GROUP).await.len(), 2);
        for (by, replicas) in [
            (By::Patch, 3),
            (By::Put, 5),
            (By::Kubectl, 1),
            (By::Patch, 0),
            (By::Put, 3),
        ] {
            let before = scenario.pod_uids(GROUP).await;
            scale(&scenario, by, replicas).await;
            let ready = scenario.ready(GROUP).await;
            let count = usize::try_from(replicas).unwrap();
            let what = format!("{replicas} by {by:?}");
            let instances = scenario.of_group::<TiProxy>(GROUP).await;
            assert!(
                instances.keys().eq(&names("web", count)),
                "{what}: {:?}",
                instances.keys()
            );
            let pods = scenario.of_group::<Pod>(GROUP).await;
            assert!(
                pods.keys().eq(&names("web-tiproxy", count)),
                "{what}: {:?}",
                pods.keys()
            );
            let config_maps = scenario.of_group::<ConfigMap>(GROUP).await;
            assert!(
                config_maps.keys().eq(pods.keys()),
                "{what}: {:?}",
                config_maps.keys()
            );
            // Who was there and stays is not touched.
            for (name, uid) in scenario.pod_uids(GROUP).await {
                assert!(before.get(&name).is_none_or(|old| *old == uid), "{what}: {name}");
            }
            let seen = test.api::<TiProxyGroup>().get_scale(GROUP).await.unwrap();
            assert_eq!(seen.status.unwrap().replicas, replicas, "{what}");
            assert_eq!(ready.status.unwrap().version.as_deref(), Some("v1.3.1"));
        }
        scenario.finish().await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn scaling_in_and_out_at_once_ends_at_the_last_wish() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        test.apply(&group(GROUP, 3)).await;
        scenario.ready(GROUP).await;
        let before = scenario.pod_uids(GROUP).await;
        scale(&scenario, By::Patch, 1).await;
        scale(&scenario, By::Patch, 3).await;
        scenario.ready(GROUP).await;
        // Ordinals of those that were still leaving are taken: only the one that stayed is sure to be there.
        let after = scenario.pod_uids(GROUP).await;
        assert_eq!(after.get("web-tiproxy-0"), before.get("web-tiproxy-0"));
        scenario.finish().await;
    });
}
