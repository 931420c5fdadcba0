//! Create, expand, remove, keep, delete and create again.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::PropagationPolicy;
use serde_json::json;
use tiproxy_operator::api::{TiProxy, TiProxyGroup};

use super::fixture::{claims, claims_are, condition, group, instances, mounted, uids, volume};
use crate::harness;
use crate::harness::objects::Keep;
use crate::harness::storage::{self, Storage};
use crate::harness::wait::{eventually, expect};
use crate::lifecycle::scenario::{GROUP, PATIENCE, Scenario};

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn volumes_come_grow_and_go_with_their_tiproxies() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        let _storage = Storage::start(test);
        let class = storage::class(test, "fast", "Immediate", true).await;
        let late = storage::class(test, "late", "WaitForFirstConsumer", true).await;
        let volumes = json!([volume("data", &class), volume("log", &late)]);
        test.apply(&group(2, &volumes, json!({}))).await;
        scenario.ready(GROUP).await;
        let both = [
            "data-web-tiproxy-0",
            "data-web-tiproxy-1",
            "log-web-tiproxy-0",
            "log-web-tiproxy-1",
        ];
        claims_are(&scenario, &both).await;
        for (name, claim) in claims(&scenario).await {
            let instance = &claim.labels()["pingcap.com/instance"];
            let owner: TiProxy = scenario.get(instance).await;
            let owners = claim.owner_references();
            assert_eq!(
                (owners.len(), Some(&owners[0].uid)),
                (1, owner.metadata.uid.as_ref()),
                "{name}"
            );
        }
        let pods = scenario.of_group::<Pod>(GROUP).await;
        assert_eq!(
            mounted(&pods["web-tiproxy-0"]),
            ["data-web-tiproxy-0", "log-web-tiproxy-0"]
        );
        condition(&scenario, "web-0", "VolumesReady", "True", "VolumesBound").await;

        // Larger, in place; then with other attributes.
        let (before, running) = (uids(&scenario).await, scenario.pod_uids(GROUP).await);
        let mut larger = volumes.clone();
        larger[0]["storage"] = json!("2Gi");
        scenario
            .change_template(GROUP, json!({ "volumes": larger }))
            .await;
        for name in ["data-web-tiproxy-0", "data-web-tiproxy-1"] {
            eventually(PATIENCE, &format!("{name} has grown"), async || {
                let claim = claims(&scenario).await.remove(name).expect("it is there");
                let capacity = claim.status.and_then(|status| status.capacity);
                expect(
                    capacity
                        .as_ref()
                        .is_some_and(|capacity| capacity["storage"].0 == "2Gi"),
                    capacity,
                )
            })
            .await;
        }
        larger[0]["volumeAttributesClassName"] = json!("gold");
        scenario
            .change_template(GROUP, json!({ "volumes": larger }))
            .await;
        for name in ["data-web-tiproxy-0", "data-web-tiproxy-1"] {
            eventually(PATIENCE, &format!("{name} is gold"), async || {
                let claim = claims(&scenario).await.remove(name).expect("it is there");
                let class = claim
                    .status
                    .and_then(|status| status.current_volume_attributes_class_name);
                expect(class.as_deref() == Some("gold"), class)
            })
            .await;
        }
        for name in ["web-0", "web-1"] {
            condition(&scenario, name, "VolumesReady", "True", "VolumesBound").await;
        }
        scenario.ready(GROUP).await;
        assert_eq!(
            (uids(&scenario).await, scenario.pod_uids(GROUP).await),
            (before, running)
        );

        // Fewer and more: the claims of a TiProxy that goes go with it.
        scenario.change(GROUP, json!({"replicas": 1})).await;
        scenario.ready(GROUP).await;
        claims_are(&scenario, &["data-web-tiproxy-0", "log-web-tiproxy-0"]).await;
        scenario.change(GROUP, json!({"replicas": 2})).await;
        scenario.ready(GROUP).await;
        claims_are(&scenario, &both).await;

        scenario
            .delete::<TiProxyGroup>(GROUP, PropagationPolicy::Background)
            .await;
        scenario.all_gone(GROUP).await;
        claims_are(&scenario, &[]).await;
        scenario.verdict().await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_volume_that_is_added_or_removed_takes_a_new_pod_and_only_its_own_claim_goes() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        let _storage = Storage::start(test);
        let class = storage::class(test, "fast", "Immediate", true).await;
        let (data, log) = (volume("data", &class), volume("log", &class));
        test.apply(&group(1, &json!([data]), json!({"maxSurge": 0})))
            .await;
        scenario.ready(GROUP).await;
        let first = uids(&scenario).await;
        let pods = scenario.pod_uids(GROUP).await;

        scenario
            .change_template(GROUP, json!({"volumes": [data, log]}))
            .await;
        scenario.ready(GROUP).await;
        assert_ne!(scenario.pod_uids(GROUP).await, pods, "the Pod is another one");
        claims_are(&scenario, &["data-web-tiproxy-0", "log-web-tiproxy-0"]).await;
        let pod: Pod = scenario.get("web-tiproxy-0").await;
        assert_eq!(mounted(&pod), ["data-web-tiproxy-0", "log-web-tiproxy-0"]);

        scenario.change_template(GROUP, json!({"volumes": [data]})).await;
        scenario.ready(GROUP).await;
        claims_are(&scenario, &["data-web-tiproxy-0"]).await;
        assert_eq!(uids(&scenario).await, first, "the data is where it was");

        // With volumes that are kept, one that is removed stays, and is used again when it comes back.
        let kept = json!({"volumeRetention": "Retain", "template": {"spec": {"volumes": [data, log]}}});
        scenario.change(GROUP, kept).await;
        scenario.ready(GROUP).await;
        let both = uids(&scenario).await;
        assert_eq!(both["data-web-tiproxy-0"], first["data-web-tiproxy-0"]);
        scenario.change_template(GROUP, json!({"volumes": [log]})).await;
        scenario.ready(GROUP).await;
        assert_eq!(uids(&scenario).await, both);
        let pod: Pod = scenario.get("web-tiproxy-0").await;
        assert_eq!(mounted(&pod), ["log-web-tiproxy-0"]);
        scenario
            .change_template(GROUP, json!({"volumes": [data, log]}))
            .await;
        scenario.ready(GROUP).await;
        assert_eq!(uids(&scenario).await, both);
        scenario.finish().await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn volumes_that_are_kept_outlive_tiproxies_and_group_and_are_used_again() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        let _storage = Storage::start(test);
        let class = storage::class(test, "fast", "Immediate", true).await;
        let manifest = group(
            3,
            &json!([volume("data", &class)]),
            json!({"volumeRetention": "Retain"}),
        );
        test.apply(&manifest).await;
        scenario.ready(GROUP).await;
        let kept = uids(&scenario).await;
        let names: Vec<_> = kept.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            ["data-web-tiproxy-0", "data-web-tiproxy-1", "data-web-tiproxy-2"]
        );
        for (name, claim) in claims(&scenario).await {
            assert!(claim.owner_references().is_empty(), "{name}");
        }
        for replicas in [1, 3, 0] {
            scenario.change(GROUP, json!({ "replicas": replicas })).await;
            scenario.ready(GROUP).await;
            assert_eq!(uids(&scenario).await, kept, "{replicas} replicas");
        }
        for propagation in [PropagationPolicy::Background, PropagationPolicy::Foreground] {
            scenario.delete::<TiProxyGroup>(GROUP, propagation).await;
            scenario.all_gone(GROUP).await;
            assert_eq!(uids(&scenario).await, kept);
            test.create(&manifest, Keep::Yes).await.expect("the name is free");
            scenario.ready(GROUP).await;
            assert_eq!(instances(&scenario).await, ["web-0", "web-1", "web-2"]);
            assert_eq!(uids(&scenario).await, kept);
        }
        // From now on they go with their TiProxies.
        scenario.change(GROUP, json!({"volumeRetention": "Delete"})).await;
        eventually(PATIENCE, "each claim has an owner", async || {
            let claims = claims(&scenario).await.into_values();
            let owned = claims
                .filter(|claim| !claim.owner_references().is_empty())
                .count();
            expect(owned == 3, owned)
        })
        .await;
        scenario.change(GROUP, json!({"replicas": 1})).await;
        scenario.ready(GROUP).await;
        claims_are(&scenario, &["data-web-tiproxy-0"]).await;
        assert_eq!(
            uids(&scenario).await["data-web-tiproxy-0"],
            kept["data-web-tiproxy-0"]
        );
        // And the other way round, and the group with it.
        scenario
            .change(GROUP, json!({"replicas": 0, "volumeRetention": "Retain"}))
            .await;
        scenario
            .delete::<TiProxyGroup>(GROUP, PropagationPolicy::Background)
            .await;
        scenario.all_gone(GROUP).await;
        scenario.calm().await;
        assert_eq!(
            uids(&scenario).await["data-web-tiproxy-0"],
            kept["data-web-tiproxy-0"]
        );
        scenario.verdict().await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn an_ordinal_is_used_again_when_its_claims_are_gone() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        let _storage = Storage::start(test);
        let class = storage::class(test, "fast", "Immediate", true).await;
        test.apply(&group(2, &json!([volume("data", &class)]), json!({})))
            .await;
        scenario.ready(GROUP).await;
        // Somebody else's finalizer keeps the claim although its TiProxy is gone.
        let hold = async |finalizers: &str| {
            let patch = format!(r#"{{"metadata": {{"finalizers": {finalizers}}}}}"#);
            let arguments = [
                "patch",
                "pvc",
                "data-web-tiproxy-1",
                "--type=merge",
                "--patch",
                &patch,
            ];
            test.kubectl.succeed(&arguments).await;
        };
        hold(r#"["example.com/hold"]"#).await;
        scenario.change(GROUP, json!({"replicas": 1})).await;
        scenario.ready(GROUP).await;
        eventually(PATIENCE, "the claim is going", async || {
            let claim = claims(&scenario)
                .await
                .remove("data-web-tiproxy-1")
                .expect("it is held");
            expect(claim.metadata.deletion_timestamp.is_some(), claim)
        })
        .await;
        scenario.change(GROUP, json!({"replicas": 2})).await;
        scenario.ready(GROUP).await;
        assert_eq!(instances(&scenario).await, ["web-0", "web-2"]);
        hold("[]").await;
        claims_are(&scenario, &["data-web-tiproxy-0", "data-web-tiproxy-2"]).await;
        scenario.change(GROUP, json!({"replicas": 3})).await;
        scenario.ready(GROUP).await;
        assert_eq!(instances(&scenario).await, ["web-0", "web-1", "web-2"]);
        scenario.finish().await;
    });
}
