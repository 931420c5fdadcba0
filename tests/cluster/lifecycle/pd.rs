//! Where PD is, and what becomes of running TiProxies when that changes.

use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::api::{Patch, PatchParams, PropagationPolicy};
use serde_json::{Value, json};
use tiproxy_operator::api::Cluster;

use super::scenario::{GROUP, PATIENCE, Scenario, all_differ, group};
use crate::harness;
use crate::harness::wait::{eventually, expect};

/// A group that finds PD through the Cluster `basic`.
pub(crate) fn group_of_cluster(name: &str, replicas: i32) -> Value {
    let mut manifest = group(name, replicas);
    manifest["spec"]["cluster"] = json!({"name": "basic"});
    manifest
}

pub(crate) fn cluster(spec: &Value) -> Value {
    json!({
        "apiVersion": "core.pingcap.com/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": "basic"},
        "spec": spec,
    })
}

pub(crate) fn pd_service() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "basic-pd",
            "labels": {"pingcap.com/cluster": "basic", "pingcap.com/component": "pd"},
        },
        "spec": {"ports": [{"port": 2379}]},
    })
}

/// The `proxy.pd-addrs` of every instance; they must agree.
async fn pd_addresses(scenario: &Scenario<'_>) -> String {
    let config_maps = scenario.of_group::<ConfigMap>(GROUP).await;
    let mut addresses: Vec<_> = config_maps
        .values()
        .map(|config_map| {
            let text = &config_map.data.as_ref().unwrap()["config.toml"];
            let document: toml_edit::DocumentMut = text.parse().unwrap();
            document["proxy"]["pd-addrs"].as_str().unwrap().to_owned()
        })
        .collect();
    addresses.dedup();
    assert_eq!(addresses.len(), 1, "{addresses:?}");
    addresses.remove(0)
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_new_answer_rolls_and_a_lost_one_changes_nothing() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        test.apply(&group_of_cluster(GROUP, 2)).await;
        let message = scenario
            .condition(GROUP, "Ready", "False", "ClusterNotFound")
            .await;
        assert!(message.contains("Cluster basic"), "{message}");
        test.apply(&cluster(&json!({}))).await;
        scenario.condition(GROUP, "Ready", "False", "PDNotFound").await;
        scenario.condition(GROUP, "Stalled", "False", "PDNotFound").await;
        test.apply(&pd_service()).await;
        scenario.ready(GROUP).await;
        let namespace = &test.namespace;
        assert_eq!(
            pd_addresses(&scenario).await,
            format!("basic-pd.{namespace}.svc:2379")
        );

        let before = scenario.pod_uids(GROUP).await;
        let patch = Patch::Merge(json!({"spec": {"customizedPDServiceName": "own-pd"}}));
        let clusters = test.api::<Cluster>();
        clusters
            .patch("basic", &PatchParams::default(), &patch)
            .await
            .unwrap();
        // The group's own generation did not change, so only the roll itself tells that it was seen.
        eventually(PATIENCE, "every Pod is another one", async || {
            let now = scenario.pod_uids(GROUP).await;
            expect(now.len() == 2 && all_differ(&before, &now), now)
        })
        .await;
        scenario.ready(GROUP).await;
        assert_eq!(
            pd_addresses(&scenario).await,
            format!("own-pd.{namespace}.svc:2379")
        );

        let running = scenario.pod_uids(GROUP).await;
        scenario
            .delete::<Service>("basic-pd", PropagationPolicy::Background)
            .await;
        scenario
            .delete::<Cluster>("basic", PropagationPolicy::Background)
            .await;
        // Scaling goes on with what was known last.
        scenario.change(GROUP, json!({"replicas": 3})).await;
        scenario.ready(GROUP).await;
        let after = scenario.pod_uids(GROUP).await;
        assert!(running.iter().all(|(name, uid)| after.get(name) == Some(uid)));
        assert_eq!(
            pd_addresses(&scenario).await,
            format!("own-pd.{namespace}.svc:2379")
        );
        scenario.calm().await;
        scenario.finish().await;
    });
}
