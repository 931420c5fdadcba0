//! The subresources: status and scale.

use k8s_openapi::api::autoscaling::v1::Scale;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tiproxy_operator::api::{TiProxy, TiProxyGroup};

use super::manifest::{Kind, set};
use crate::harness::{self, Test, objects::Keep};

/// A fresh object must not look finished to a tool that compares `observedGeneration`.
#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_new_object_is_observed_by_nobody() {
    let unseen = json!({"observedGeneration": -1});
    harness::run(async |test| {
        for kind in Kind::BOTH {
            let mut manifest = kind.smallest("created");
            let created = test.create(&manifest, Keep::Yes).await.unwrap();
            assert_eq!(created.data["status"], unseen, "{kind:?} in the answer");
            let stored = test.dynamic(&manifest).get("created").await.unwrap();
            assert_eq!(stored.data["status"], unseen, "{kind:?} when read");

            set(&mut manifest, "metadata.name", json!("claims"));
            set(&mut manifest, "status.observedGeneration", json!(1));
            let claims = test.create(&manifest, Keep::Yes).await.unwrap();
            assert_eq!(
                claims.data["status"], unseen,
                "{kind:?} with a status of the user's"
            );

            let applied = test.apply(&kind.smallest("applied")).await;
            assert_eq!(applied.data["status"], unseen, "{kind:?} applied");
        }
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn status_and_spec_are_written_apart() {
    harness::run(async |test| {
        for kind in Kind::BOTH {
            let mut manifest = kind.smallest("web");
            test.create(&manifest, Keep::Yes).await.unwrap();
            let written = test
                .patch_status(
                    &manifest,
                    json!({"observedGeneration": 1, "currentRevision": "a"}),
                )
                .await;
            assert_eq!(
                written.metadata.generation,
                Some(1),
                "{kind:?}: a status is no new generation"
            );

            set(&mut manifest, "metadata.labels", json!({"team": "database"}));
            let labelled = test.apply(&manifest).await;
            assert_eq!(labelled.metadata.generation, Some(1), "{kind:?}: nor is a label");

            let template = match kind {
                Kind::Group => "spec.template.spec",
                Kind::Instance => "spec",
            };
            set(&mut manifest, &format!("{template}.version"), json!("v1.4.0"));
            let changed = test.apply(&manifest).await;
            assert_eq!(changed.metadata.generation, Some(2), "{kind:?}: a spec is");
            assert_eq!(changed.data["status"], written.data["status"], "{kind:?}");
        }
    });
}

async fn patch_scale<K>(api: &Api<K>, name: &str, replicas: i32) -> Result<Scale, kube::Error>
where
    K: Clone + serde::de::DeserializeOwned,
{
    let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    api.patch_scale(name, &PatchParams::default(), &patch).await
}

fn numbers(scale: &Scale) -> (Option<i32>, Option<i32>, Option<&str>) {
    let status = scale.status.as_ref();
    (
        scale.spec.as_ref().and_then(|spec| spec.replicas),
        status.map(|status| status.replicas),
        status.and_then(|status| status.selector.as_deref()),
    )
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_group_scales_as_an_autoscaler_does_it() {
    harness::run(async |test| {
        let group = Kind::Group.smallest("web");
        test.create(&group, Keep::Yes).await.unwrap();
        let api = test.api::<TiProxyGroup>();
        assert_eq!(
            numbers(&api.get_scale("web").await.unwrap()),
            (Some(1), Some(0), None)
        );

        let selector = "core.pingcap.com/serving=true,pingcap.com/group=web";
        test.patch_status(&group, json!({"replicas": 1, "selector": selector}))
            .await;
        let scale = patch_scale(&api, "web", 7).await.unwrap();
        assert_eq!(numbers(&scale), (Some(7), Some(1), Some(selector)));
        let stored = api.get("web").await.unwrap();
        assert_eq!((stored.spec.replicas, stored.metadata.generation), (7, Some(2)));

        for refused in [-1, 100_001] {
            let error = patch_scale(&api, "web", refused).await.unwrap_err();
            assert!(error.to_string().contains("spec.replicas"), "{error}");
        }
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn kubectl_scales_a_group() {
    harness::run(async |test| {
        test.create(&Kind::Group.smallest("web"), Keep::Yes)
            .await
            .unwrap();
        test.kubectl
            .succeed(&["scale", "tpg", "web", "--replicas=5"])
            .await;
        assert_eq!(replicas(test).await, 5);
        let stale = [
            "scale",
            "tiproxygroup/web",
            "--current-replicas=4",
            "--replicas=3",
        ];
        let output = test.kubectl.run(&stale).await;
        assert_eq!(output.code, Some(1), "{output:?}");
        assert!(
            output.stderr.contains("Expected replicas to be 4, was 5"),
            "{output:?}"
        );
        test.kubectl
            .succeed(&["scale", "tiproxygroups", "--all", "--replicas=0"])
            .await;
        assert_eq!(replicas(test).await, 0);
    });
}

async fn replicas(test: &Test) -> i32 {
    test.api::<TiProxyGroup>().get("web").await.unwrap().spec.replicas
}

/// A `PodDisruptionBudget` counts on it: the scale of each Pod's owner says how many Pods to expect.
#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_tiproxy_counts_as_one() {
    harness::run(async |test| {
        let mut manifest = Kind::Instance.smallest("web-0");
        set(&mut manifest, "spec.replicas", json!(1));
        test.create(&manifest, Keep::Yes).await.unwrap();
        let api = test.api::<TiProxy>();
        assert_eq!(
            numbers(&api.get_scale("web-0").await.unwrap()),
            (Some(1), Some(0), None)
        );
        test.patch_status(&manifest, json!({"replicas": 1})).await;
        assert_eq!(
            numbers(&api.get_scale("web-0").await.unwrap()),
            (Some(1), Some(1), None)
        );
        for refused in [0, 2] {
            let error = patch_scale(&api, "web-0", refused).await.unwrap_err();
            assert!(error.to_string().contains("spec.replicas"), "{error}");
        }
        test.kubectl
            .succeed(&["scale", "tp", "web-0", "--replicas=1"])
            .await;
    });
}

/// Conditions are merged by type, so that two writers do not take away each other's.
#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn conditions_are_a_map_by_type() {
    let condition = |condition_type: &str| {
        json!({
            "type": condition_type,
            "status": "True",
            "reason": "Test",
            "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        })
    };
    harness::run(async |test| {
        let manifest = Kind::Group.smallest("web");
        test.create(&manifest, Keep::Yes).await.unwrap();
        for (manager, condition_type) in [("first", "Ready"), ("second", "Available")] {
            let patch = Patch::Apply(json!({
                "apiVersion": "core.pingcap.com/v1alpha1",
                "kind": "TiProxyGroup",
                "status": {"conditions": [condition(condition_type)]},
            }));
            test.dynamic(&manifest)
                .patch_status("web", &PatchParams::apply(manager), &patch)
                .await
                .unwrap();
        }
        let stored = test.dynamic(&manifest).get("web").await.unwrap();
        let types: Vec<&Value> = stored.data["status"]["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|condition| &condition["type"])
            .collect();
        assert_eq!(types, ["Ready", "Available"]);
    });
}
