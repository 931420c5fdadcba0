//! What goes by somebody else's hand, or fails, comes back.

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};
use kube::api::{Patch, PatchParams, PropagationPolicy};
use kube::core::NamespaceResourceScope;
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;
use tiproxy_operator::api::TiProxy;

use super::scenario::{GROUP, PATIENCE, Scenario, group, names};
use crate::harness;
use crate::harness::wait::{eventually, expect};

/// Deletes an object and waits until another one has its name.
async fn comes_back<K>(scenario: &Scenario<'_>, name: &str) -> K
where
    K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
    K::DynamicType: Default,
{
    let old = scenario.get::<K>(name).await.uid();
    scenario.delete::<K>(name, PropagationPolicy::Background).await;
    another(scenario, name, old).await
}

async fn another<K>(scenario: &Scenario<'_>, name: &str, old: Option<String>) -> K
where
    K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
    K::DynamicType: Default,
{
    let what = format!("another {name} is there");
    let found = eventually(PATIENCE, &what, async || {
        let found = scenario
            .test
            .api::<K>()
            .get_opt(name)
            .await
            .expect("the API answers");
        let new = found.as_ref().and_then(ResourceExt::uid);
        expect(new.is_some() && new != old, found)
    });
    found.await.expect("it was just seen")
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn whatever_the_user_deletes_comes_back() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        test.apply(&group(GROUP, 2)).await;
        scenario.ready(GROUP).await;
        let before = scenario.pod_uids(GROUP).await;

        let config: ConfigMap = scenario.get("web-tiproxy-0").await;
        let again: ConfigMap = comes_back(&scenario, "web-tiproxy-0").await;
        assert_eq!(again.data, config.data);
        for name in ["web-tiproxy", "web-tiproxy-peer"] {
            let service: Service = scenario.get(name).await;
            let again: Service = comes_back(&scenario, name).await;
            let selector = |service: Service| service.spec.unwrap().selector;
            assert_eq!(selector(again), selector(service));
        }
        scenario.ready(GROUP).await;
        assert_eq!(scenario.pod_uids(GROUP).await, before);

        comes_back::<Pod>(&scenario, "web-tiproxy-0").await;
        scenario.ready(GROUP).await;
        let after = scenario.pod_uids(GROUP).await;
        assert_ne!(after["web-tiproxy-0"], before["web-tiproxy-0"]);
        assert_eq!(after["web-tiproxy-1"], before["web-tiproxy-1"]);

        let old = scenario.get::<TiProxy>("web-1").await.uid();
        scenario
            .delete::<TiProxy>("web-1", PropagationPolicy::Background)
            .await;
        eventually(PATIENCE, "another TiProxy takes its place", async || {
            let instances = scenario.of_group::<TiProxy>(GROUP).await;
            let replaced = instances.values().all(|instance| instance.uid() != old);
            expect(instances.len() == 2 && replaced, instances.len())
        })
        .await;
        scenario.ready(GROUP).await;
        assert_eq!(
            scenario.pod_uids(GROUP).await["web-tiproxy-0"],
            after["web-tiproxy-0"]
        );
        scenario.calm().await;
        scenario.finish().await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn what_somebody_writes_into_our_objects_is_corrected() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        test.apply(&group(GROUP, 1)).await;
        scenario.ready(GROUP).await;
        let before = scenario.pod_uids(GROUP).await;
        let config: ConfigMap = scenario.get("web-tiproxy-0").await;
        let service: Service = scenario.get("web-tiproxy").await;
        let parameters = PatchParams::default();
        let patch = Patch::Merge(json!({"data": {"config.toml": "broken", "other": "file"}}));
        test.api::<ConfigMap>()
            .patch("web-tiproxy-0", &parameters, &patch)
            .await
            .unwrap();
        let patch = Patch::Merge(json!({"spec": {"selector": {"pingcap.com/group": "other"}}}));
        test.api::<Service>()
            .patch("web-tiproxy", &parameters, &patch)
            .await
            .unwrap();
        eventually(PATIENCE, "both are as they were", async || {
            let now: ConfigMap = scenario.get("web-tiproxy-0").await;
            let current: Service = scenario.get("web-tiproxy").await;
            expect(
                now.data == config.data && current.spec == service.spec,
                (now.data, current.spec),
            )
        })
        .await;
        scenario.ready(GROUP).await;
        assert_eq!(scenario.pod_uids(GROUP).await, before);
        scenario.calm().await;
        scenario.finish().await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn an_evicted_pod_is_replaced() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        test.apply(&group(GROUP, 2)).await;
        scenario.ready(GROUP).await;
        let pod: Pod = scenario.get("web-tiproxy-0").await;
        let evicted = json!({
            "phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory.",
            "conditions": [{"type": "Ready", "status": "False"}],
        });
        let patch = Patch::Merge(json!({"status": evicted}));
        test.api::<Pod>()
            .patch_status("web-tiproxy-0", &PatchParams::default(), &patch)
            .await
            .unwrap();
        another::<Pod>(&scenario, "web-tiproxy-0", pod.uid()).await;
        scenario.ready(GROUP).await;
        let instances = scenario.of_group::<TiProxy>(GROUP).await;
        assert!(instances.keys().eq(&names("web", 2)));
        scenario.calm().await;
        scenario.finish().await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn pods_that_are_lost_during_a_roll_do_not_break_the_limits() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        test.apply(&group(GROUP, 4)).await;
        scenario.ready(GROUP).await;
        scenario
            .change_template(GROUP, json!({"version": "v1.3.2"}))
            .await;
        for round in 0..3 {
            // Whichever Pod is there: an old one, or one of those that replace them.
            let name = eventually(PATIENCE, "a Pod can be taken", async || {
                let pods = scenario.of_group::<Pod>(GROUP).await;
                let mut there = pods
                    .into_iter()
                    .filter(|(_, pod)| pod.metadata.deletion_timestamp.is_none());
                there.nth(round).map(|(name, _)| name).ok_or_else(String::new)
            })
            .await;
            scenario.delete_if_there::<Pod>(&name).await;
        }
        scenario.ready(GROUP).await;
        scenario.calm().await;
        scenario.finish().await;
    });
}
