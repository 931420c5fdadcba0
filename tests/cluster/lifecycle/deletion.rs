//! Deletion in every mode, and whatever else is wrong at the time.

use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use kube::api::{DeleteParams, ListParams, PostParams, PropagationPolicy};
use kube::{Api, ResourceExt};
use serde_json::json;
use tiproxy_operator::api::{Cluster, TiProxy, TiProxyGroup};

use super::pd::{cluster, group_of_cluster, pd_service};
use super::scenario::{GROUP, PATIENCE, Scenario, group};
use crate::harness;
use crate::harness::history::Change;
use crate::harness::wait::{eventually, expect};

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn in_the_background_services_outlive_the_tiproxies() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        test.apply(&group(GROUP, 3)).await;
        scenario.ready(GROUP).await;
        scenario
            .delete::<TiProxyGroup>(GROUP, PropagationPolicy::Background)
            .await;
        scenario.all_gone(GROUP).await;
        let entries = scenario.entries().await;
        let deleted = |kind: &'static str| {
            let entries = entries
                .iter()
                .filter(move |entry| entry.kind == kind && entry.change == Change::Deleted);
            entries.map(|entry| entry.resource_version)
        };
        assert!(deleted("TiProxy").max() < deleted("Service").min());
        assert!(deleted("TiProxy").max() < deleted("PodDisruptionBudget").min());
        assert!(deleted("TiProxy").max() < deleted("TiProxyGroup").min());
        assert!(deleted("Pod").max() < deleted("TiProxy").max());
        let counts = ["Pod", "TiProxy", "Service", "PodDisruptionBudget"].map(|kind| deleted(kind).count());
        assert_eq!(counts, [3, 3, 2, 1]);
        scenario.finish().await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn in_the_foreground_everything_goes_before_the_group() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        test.apply(&group(GROUP, 2)).await;
        scenario.ready(GROUP).await;
        scenario
            .delete::<TiProxyGroup>(GROUP, PropagationPolicy::Foreground)
            .await;
        scenario.group_gone(GROUP).await;
        // What blocks the owner's deletion is gone with the owner; nothing has to be waited for.
        assert_eq!(scenario.of_group::<TiProxy>(GROUP).await.len(), 0);
        assert_eq!(scenario.of_group::<Pod>(GROUP).await.len(), 0);
        assert_eq!(scenario.of_group::<Service>(GROUP).await.len(), 0);
        scenario.all_gone(GROUP).await;
        scenario.finish().await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn orphans_run_on_and_are_adopted_by_a_group_of_the_same_name() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        test.apply(&group(GROUP, 3)).await;
        let old = scenario.ready(GROUP).await.uid();
        let pods = scenario.pod_uids(GROUP).await;
        let services = scenario.of_group::<Service>(GROUP).await;
        scenario
            .delete::<TiProxyGroup>(GROUP, PropagationPolicy::Orphan)
            .await;
        scenario.group_gone(GROUP).await;
        let instances = scenario.of_group::<TiProxy>(GROUP).await;
        assert_eq!(instances.len(), 3);
        for instance in instances.values() {
            assert_eq!(
                (instance.owner_references(), &instance.metadata.deletion_timestamp),
                (&[][..], &None)
            );
        }
        scenario.rest().await;
        assert_eq!(scenario.pod_uids(GROUP).await, pods);

        test.apply(&group(GROUP, 3)).await;
        let new = scenario.ready(GROUP).await.uid();
        assert_ne!(new, old);
        assert_eq!(scenario.pod_uids(GROUP).await, pods);
        for instance in scenario.of_group::<TiProxy>(GROUP).await.values() {
            assert_eq!(Some(&instance.owner_references()[0].uid), new.as_ref());
            assert_eq!(instance.uid(), instances[&instance.name_any()].uid());
        }
        for (name, service) in scenario.of_group::<Service>(GROUP).await {
            assert_eq!(service.uid(), services[&name].uid());
            assert_eq!(Some(&service.owner_references()[0].uid), new.as_ref());
        }
        assert_eq!(scenario.deletes().len(), 0);
        // What was adopted is the group's own in every respect.
        scenario.change(GROUP, json!({"replicas": 1})).await;
        scenario.ready(GROUP).await;
        scenario
            .delete::<TiProxyGroup>(GROUP, PropagationPolicy::Background)
            .await;
        scenario.all_gone(GROUP).await;
        scenario.finish().await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn nothing_that_is_wrong_holds_a_deletion_up() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        let background = PropagationPolicy::Background;
        // There never was a Cluster.
        test.apply(&group_of_cluster("alone", 2)).await;
        scenario
            .condition("alone", "Ready", "False", "ClusterNotFound")
            .await;
        scenario.delete::<TiProxyGroup>("alone", background.clone()).await;
        scenario.all_gone("alone").await;

        // There is one, and PD is unknown.
        test.apply(&cluster(&json!({}))).await;
        test.apply(&group_of_cluster("lost", 2)).await;
        scenario.condition("lost", "Ready", "False", "PDNotFound").await;
        scenario.delete::<TiProxyGroup>("lost", background.clone()).await;
        scenario.all_gone("lost").await;

        // The spec is invalid, from the start and after it was valid.
        test.apply(&pd_service()).await;
        let names = ["invalid", "spoilt", "stopped", "left"];
        for name in names {
            test.apply(&group_of_cluster(name, 1)).await;
        }
        for name in names {
            scenario.ready(name).await;
        }
        scenario
            .change_template("spoilt", json!({"config": "labels={\"group\":\"oltp\"}"}))
            .await;
        scenario
            .condition("spoilt", "Stalled", "True", "InvalidSpec")
            .await;
        scenario
            .delete::<TiProxyGroup>("spoilt", background.clone())
            .await;
        scenario.all_gone("spoilt").await;
        scenario
            .delete::<TiProxyGroup>("invalid", background.clone())
            .await;
        scenario.all_gone("invalid").await;
        let mut invalid = group_of_cluster("invalid", 1);
        invalid["spec"]["template"]["spec"]["config"] = "]".into();
        test.apply(&invalid).await;
        scenario
            .condition("invalid", "Stalled", "True", "InvalidSpec")
            .await;
        scenario
            .delete::<TiProxyGroup>("invalid", background.clone())
            .await;
        scenario.all_gone("invalid").await;

        // The Cluster is paused.
        test.apply(&cluster(&json!({"paused": true}))).await;
        scenario.change("stopped", json!({"replicas": 3})).await;
        scenario.condition("stopped", "Ready", "False", "Paused").await;
        scenario
            .delete::<TiProxyGroup>("stopped", background.clone())
            .await;
        scenario.all_gone("stopped").await;

        // The Cluster has gone.
        scenario.delete::<Cluster>("basic", background.clone()).await;
        scenario.delete::<Service>("basic-pd", background.clone()).await;
        scenario.delete::<TiProxyGroup>("left", background).await;
        scenario.all_gone("left").await;
        scenario.finish().await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_namespace_goes_with_all_that_is_in_it() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        test.apply(&group(GROUP, 3)).await;
        scenario.ready(GROUP).await;
        scenario.verdict().await;
        let namespaces = Api::<Namespace>::all(test.client.clone());
        namespaces
            .delete(&test.namespace, &DeleteParams::default())
            .await
            .unwrap();
        eventually(2 * PATIENCE, "the namespace is gone", async || {
            let left = namespaces.get_opt(&test.namespace).await.unwrap();
            expect(left.is_none(), left.and_then(|left| left.status))
        })
        .await;
        let everywhere = ListParams::default().fields(&format!("metadata.namespace={}", test.namespace));
        let pods = Api::<Pod>::all(test.client.clone())
            .list(&everywhere)
            .await
            .unwrap();
        assert_eq!(pods.items.len(), 0);
        // The harness deletes it again.
        let again = Namespace {
            metadata: kube::api::ObjectMeta {
                name: Some(test.namespace.clone()),
                ..Default::default()
            },
            ..Default::default()
        };
        namespaces.create(&PostParams::default(), &again).await.unwrap();
    });
}
