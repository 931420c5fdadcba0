//! Labels and annotations: the template's arrive and leave without a restart, and other people's stay.

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};
use kube::api::{Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tiproxy_operator::api::{TiProxy, TiProxyGroup};

use super::scenario::{GROUP, PATIENCE, Scenario, group};
use crate::harness;
use crate::harness::wait::{eventually, expect};

/// Labels and annotations that do not begin with a domain of ours or of Kubernetes.
fn custom(metadata: &kube::api::ObjectMeta) -> Vec<String> {
    let labels = metadata.labels.iter().flatten();
    let annotations = metadata.annotations.iter().flatten();
    let all = labels
        .map(|pair| ("label", pair))
        .chain(annotations.map(|pair| ("annotation", pair)));
    all.filter(|(_, (key, _))| key.starts_with("example.com/"))
        .map(|(what, (key, value))| format!("{what} {key}={value}"))
        .collect()
}

async fn set_template_metadata(scenario: &Scenario<'_>, metadata: Value) {
    let patch = Patch::Merge(json!({"spec": {"template": {"metadata": metadata}}}));
    let groups = scenario.test.api::<TiProxyGroup>();
    groups
        .patch(GROUP, &PatchParams::default(), &patch)
        .await
        .unwrap();
}

/// What is on each TiProxy and each Pod; they must agree.
async fn expect_everywhere(scenario: &Scenario<'_>, expected: &[&str]) {
    eventually(PATIENCE, "the metadata is everywhere", async || {
        let instances = scenario.of_group::<TiProxy>(GROUP).await;
        let pods = scenario.of_group::<Pod>(GROUP).await;
        let seen: Vec<_> = instances
            .values()
            .map(|instance| custom(&instance.metadata))
            .chain(pods.values().map(|pod| custom(&pod.metadata)))
            .collect();
        expect(seen.iter().all(|metadata| metadata == expected), seen)
    })
    .await;
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn template_metadata_arrives_and_leaves_without_a_restart() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        test.apply(&group(GROUP, 2)).await;
        scenario.ready(GROUP).await;
        let pods = scenario.pod_uids(GROUP).await;

        let metadata = json!({
            "labels": {"example.com/team": "a", "example.com/tier": "1"},
            "annotations": {"example.com/note": "text, with \"quotes\""},
        });
        set_template_metadata(&scenario, metadata).await;
        scenario.ready(GROUP).await;
        let all = [
            "label example.com/team=a",
            "label example.com/tier=1",
            "annotation example.com/note=text, with \"quotes\"",
        ];
        expect_everywhere(&scenario, &all).await;

        let metadata =
            json!({"labels": {"example.com/team": "b", "example.com/tier": null}, "annotations": null});
        set_template_metadata(&scenario, metadata).await;
        scenario.ready(GROUP).await;
        expect_everywhere(&scenario, &["label example.com/team=b"]).await;

        // A new TiProxy has it from the start.
        scenario.change(GROUP, json!({"replicas": 3})).await;
        scenario.ready(GROUP).await;
        expect_everywhere(&scenario, &["label example.com/team=b"]).await;
        let after = scenario.pod_uids(GROUP).await;
        assert!(pods.iter().all(|(name, uid)| after.get(name) == Some(uid)));
        scenario.finish().await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn what_somebody_else_writes_on_an_object_stays_and_restarts_nothing() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        test.apply(&group(GROUP, 2)).await;
        scenario.ready(GROUP).await;
        let pods = scenario.pod_uids(GROUP).await;
        let patch = Patch::Merge(json!({"metadata": {
            "labels": {"example.com/team": "somebody"},
            "annotations": {"example.com/note": "mine", "pingcap.com/restartedAt": "now"},
        }}));
        let parameters = PatchParams::default();
        test.api::<TiProxy>()
            .patch("web-0", &parameters, &patch)
            .await
            .unwrap();
        test.api::<Pod>()
            .patch("web-tiproxy-1", &parameters, &patch)
            .await
            .unwrap();
        scenario.rest_after_foreign_changes().await;

        // Also when the template's metadata, or the number of replicas, changes afterwards.
        set_template_metadata(&scenario, json!({"labels": {"example.com/tier": "1"}})).await;
        scenario.change(GROUP, json!({"replicas": 3})).await;
        scenario.ready(GROUP).await;
        let both = [
            "label example.com/team=somebody",
            "label example.com/tier=1",
            "annotation example.com/note=mine",
        ];
        let instance: TiProxy = scenario.get("web-0").await;
        assert_eq!(custom(&instance.metadata), both);
        let pod: Pod = scenario.get("web-tiproxy-1").await;
        assert_eq!(custom(&pod.metadata), both);
        let other: Pod = scenario.get("web-tiproxy-0").await;
        assert_eq!(custom(&other.metadata), ["label example.com/tier=1"]);
        let after = scenario.pod_uids(GROUP).await;
        assert!(pods.iter().all(|(name, uid)| after.get(name) == Some(uid)));
        assert_eq!(
            instance.annotations().get("pingcap.com/restartedAt").unwrap(),
            "now"
        );
        scenario.finish().await;
    });
}

/// Takes our labels off an object; without the first one the operator's watch does not show it at all.
async fn take_labels<K>(scenario: &Scenario<'_>, name: &str)
where
    K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
    K::DynamicType: Default,
{
    let before = scenario.get::<K>(name).await;
    let patch = Patch::Merge(json!({"metadata": {"labels": {
        "pingcap.com/managed-by": null, "pingcap.com/group": "other", "app.kubernetes.io/name": null,
    }}}));
    let parameters = PatchParams::default();
    scenario
        .test
        .api::<K>()
        .patch(name, &parameters, &patch)
        .await
        .expect("labels can be changed");
    let what = format!(
        "the labels of {} {name} are back",
        K::kind(&K::DynamicType::default())
    );
    eventually(PATIENCE, &what, async || {
        let now = scenario.get::<K>(name).await;
        assert_eq!(now.uid(), before.uid());
        expect(now.labels() == before.labels(), now.labels().clone())
    })
    .await;
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn labels_that_are_ours_come_back_without_a_restart() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        test.apply(&group(GROUP, 1)).await;
        scenario.ready(GROUP).await;
        take_labels::<Pod>(&scenario, "web-tiproxy-0").await;
        take_labels::<ConfigMap>(&scenario, "web-tiproxy-0").await;
        take_labels::<Service>(&scenario, "web-tiproxy").await;
        take_labels::<Service>(&scenario, "web-tiproxy-peer").await;
        scenario.ready(GROUP).await;
        scenario.calm().await;
        scenario.finish().await;
    });
}
