//! What stops a volume is told with what to do, and nothing that runs is touched for it.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::DeleteParams;
use serde_json::json;

use super::fixture::{claims, condition, group, uids, volume};
use crate::harness;
use crate::harness::objects::Keep;
use crate::harness::storage::{self, Storage};
use crate::lifecycle::scenario::{GROUP, Scenario};

fn holds(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_claim_of_somebody_else_is_never_written_to() {
    harness::run(async |test| {
        let labels = |group: &str| {
            json!({"pingcap.com/managed-by": "tiproxy-operator", "pingcap.com/component": "tiproxy",
                "pingcap.com/group": group, "pingcap.com/instance": format!("{group}-0"),
                "pingcap.com/volume-name": "data"})
        };
        let scenario = Scenario::start(test).await;
        let _storage = Storage::start(test);
        let class = storage::class(test, "fast", "Immediate", true).await;
        for (retention, labels) in [
            ("Delete", json!({})),
            ("Retain", json!({})),
            // Two groups and volumes can come to the same name of a claim.
            ("Retain", labels("other")),
        ] {
            let foreign = json!({
                "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": {"name": "data-web-tiproxy-0", "labels": labels},
                "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class,
                    "resources": {"requests": {"storage": "1Mi"}}},
            });
            test.create(&foreign, Keep::Yes).await.expect("the name is free");
            let fields = json!({ "volumeRetention": retention });
            test.apply(&group(1, &json!([volume("data", &class)]), fields))
                .await;
            let message = scenario.condition(GROUP, "Stalled", "True", "NameConflict").await;
            holds(
                &message,
                &[
                    "PersistentVolumeClaim data-web-tiproxy-0 exists and is not ours",
                    "delete it",
                ],
            );
            let claims = test.api::<PersistentVolumeClaim>();
            let found = claims.get("data-web-tiproxy-0").await.unwrap();
            let managers = found.metadata.managed_fields.iter().flatten();
            let managers: Vec<_> = managers.filter_map(|fields| fields.manager.as_deref()).collect();
            assert!(!managers.contains(&"tiproxy-operator"), "{managers:?}");
            claims
                .delete("data-web-tiproxy-0", &DeleteParams::default())
                .await
                .unwrap();
            scenario.ready(GROUP).await;
            scenario
                .delete::<tiproxy_operator::api::TiProxyGroup>(
                    GROUP,
                    kube::api::PropagationPolicy::Background,
                )
                .await;
            scenario.all_gone(GROUP).await;
            let _ = claims
                .delete("data-web-tiproxy-0", &DeleteParams::default())
                .await;
            super::fixture::claims_are(&scenario, &[]).await;
        }
        scenario.verdict().await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn what_kubernetes_does_not_change_is_told_and_what_runs_goes_on() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        let _storage = Storage::start(test);
        let class = storage::class(test, "rigid", "Immediate", false).await;
        let other = storage::class(test, "other", "Immediate", true).await;
        let mut data = volume("data", &class);
        test.apply(&group(1, &json!([data]), json!({}))).await;
        scenario.ready(GROUP).await;
        let (claims_before, pods) = (uids(&scenario).await, scenario.pod_uids(GROUP).await);

        data["storage"] = json!("2Gi");
        scenario.change_template(GROUP, json!({"volumes": [data]})).await;
        let message = condition(&scenario, "web-0", "VolumesReady", "False", "AdmissionDenied").await;
        holds(
            &message,
            &[
                "PersistentVolumeClaim",
                "must support resize",
                "allowVolumeExpansion: true",
            ],
        );
        condition(&scenario, "web-0", "Ready", "True", "AllReady").await;
        let message = scenario
            .condition(GROUP, "Stalled", "True", "AdmissionDenied")
            .await;
        holds(&message, &["TiProxy web-0", "data-web-tiproxy-0"]);
        // The class learns it, and the claim grows without another edit.
        let allow = r#"{"allowVolumeExpansion": true}"#;
        let patch = ["patch", "storageclass", &class, "--type=merge", "--patch", allow];
        test.kubectl.succeed(&patch).await;
        condition(&scenario, "web-0", "VolumesReady", "True", "VolumesBound").await;
        scenario.ready(GROUP).await;

        data["storageClassName"] = json!(other);
        scenario.change_template(GROUP, json!({"volumes": [data]})).await;
        let message = condition(&scenario, "web-0", "VolumesReady", "False", "InvalidSpec").await;
        holds(&message, &["volumes[data].storageClassName", &class, &other]);
        condition(&scenario, "web-0", "Ready", "True", "AllReady").await;
        scenario.condition(GROUP, "Stalled", "True", "InvalidSpec").await;
        data["storageClassName"] = json!(class);
        scenario.change_template(GROUP, json!({"volumes": [data]})).await;
        scenario.ready(GROUP).await;
        assert_eq!(
            (uids(&scenario).await, scenario.pod_uids(GROUP).await),
            (claims_before, pods)
        );

        // A path of the operator's stops the group before anything is touched.
        data["mounts"] = json!([{"mountPath": "/etc/tiproxy/data"}]);
        scenario.change_template(GROUP, json!({"volumes": [data]})).await;
        let message = scenario.condition(GROUP, "Stalled", "True", "InvalidSpec").await;
        holds(&message, &["spec.template.spec.volumes[data]", "/etc/tiproxy"]);
        scenario.finish().await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_claim_that_is_not_bound_is_named_and_the_pod_starts_when_it_is() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        for mode in ["Immediate", "WaitForFirstConsumer"] {
            let class = storage::class(test, &mode.to_lowercase(), mode, false).await;
            test.apply(&group(1, &json!([volume("data", &class)]), json!({})))
                .await;
            let message = condition(&scenario, "web-0", "Ready", "False", "VolumeNotBound").await;
            holds(
                &message,
                &[
                    "PersistentVolumeClaim data-web-tiproxy-0",
                    &class,
                    "kubectl describe pvc",
                ],
            );
            condition(&scenario, "web-0", "VolumesReady", "False", "VolumeNotBound").await;
            let storage = Storage::start(test);
            scenario.ready(GROUP).await;
            condition(&scenario, "web-0", "VolumesReady", "True", "VolumesBound").await;
            drop(storage);
            scenario
                .delete::<tiproxy_operator::api::TiProxyGroup>(
                    GROUP,
                    kube::api::PropagationPolicy::Background,
                )
                .await;
            scenario.all_gone(GROUP).await;
            super::fixture::claims_are(&scenario, &[]).await;
        }
        assert!(claims(&scenario).await.is_empty());
        scenario.verdict().await;
    });
}
