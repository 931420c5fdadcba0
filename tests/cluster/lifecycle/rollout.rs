//! Changes that replace every Pod, by surge.

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tiproxy_operator::api::TiProxyGroup;

use super::scenario::{GROUP, Scenario, all_differ, group_with};
use crate::harness::history::{Change, Entry, replay};
use crate::harness::{self, Test};

/// The most TiProxies, and the fewest that were active, at once after a place in the history.
fn extremes(entries: &[Entry], from: u64) -> (usize, usize) {
    let (mut most, mut fewest) = (0, usize::MAX);
    replay(entries, |state, entry| {
        if entry.resource_version <= from {
            return;
        }
        let instances = || state.iter().filter(|((kind, _), _)| *kind == "TiProxy");
        let active = instances()
            .filter(|(_, instance)| instance.metadata.deletion_timestamp.is_none())
            .count();
        most = most.max(instances().count());
        fewest = fewest.min(active);
    });
    (most, fewest)
}

/// Brings a group of 4 up, changes its template, and waits until every Pod is another one. The most TiProxies, and
/// the fewest that were active, at once.
async fn roll(scenario: &Scenario<'_>, fields: Value, template: Value) -> (usize, usize) {
    scenario.test.apply(&group_with(GROUP, 4, fields)).await;
    scenario.ready(GROUP).await;
    let before = scenario.pod_uids(GROUP).await;
    let from = scenario
        .entries()
        .await
        .last()
        .expect("something happened")
        .resource_version;
    scenario.change_template(GROUP, template).await;
    scenario.ready(GROUP).await;
    assert!(all_differ(&before, &scenario.pod_uids(GROUP).await));
    extremes(&scenario.entries().await, from)
}

fn run_roll(test: impl AsyncFnOnce(&Test, &Scenario<'_>)) {
    harness::run(async |context| {
        let scenario = Scenario::start(context).await;
        test(context, &scenario).await;
        scenario.finish().await;
    });
}

async fn images(scenario: &Scenario<'_>) -> Vec<String> {
    let pods = scenario.of_group::<Pod>(GROUP).await;
    let images = pods
        .into_values()
        .map(|pod| pod.spec.unwrap().containers[0].image.clone().unwrap());
    images.collect()
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_new_version_replaces_all_with_one_more_at_a_time() {
    run_roll(async |_, scenario| {
        let extremes = roll(scenario, json!({}), json!({"version": "v1.3.2"})).await;
        assert_eq!(extremes, (5, 4));
        assert_eq!(images(scenario).await, ["pingcap/tiproxy:v1.3.2"; 4]);
        let status = scenario.ready(GROUP).await.status.unwrap();
        assert_eq!(status.version.as_deref(), Some("v1.3.2"));
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn two_more_and_one_less_at_a_time() {
    run_roll(async |_, scenario| {
        let limits = json!({"maxSurge": 2, "maxUnavailable": 1});
        let (most, fewest) = roll(scenario, limits, json!({"version": "v1.3.2"})).await;
        assert_eq!(most, 6);
        assert!(fewest >= 3, "{fewest}");
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn percentages_are_of_the_replicas() {
    run_roll(async |_, scenario| {
        // 30 % of 4 is 2 rounded up, and 1 rounded down.
        let limits = json!({"maxSurge": "30%", "maxUnavailable": "30%"});
        let (most, fewest) = roll(scenario, limits, json!({"version": "v1.3.2"})).await;
        assert_eq!(most, 6);
        assert!(fewest >= 3, "{fewest}");
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_new_one_counts_only_after_min_ready_seconds() {
    run_roll(async |_, scenario| {
        let limits = json!({"minReadySeconds": 3, "maxSurge": 2});
        let (most, fewest) = roll(scenario, limits, json!({"version": "v1.3.2"})).await;
        assert_eq!((most, fewest), (6, 4));
        // The checker holds each departure against minReadySeconds; here, that the status did too.
        let mut waited = false;
        replay(&scenario.entries().await, |_, entry| {
            let status = &entry.object.data["status"];
            if entry.kind == "TiProxyGroup" && entry.change == Change::Modified {
                waited |= status["readyReplicas"].as_i64() > status["availableReplicas"].as_i64();
            }
        });
        assert!(waited, "nobody was ever ready and not yet available");
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_new_configuration_and_a_request_to_restart_roll() {
    run_roll(async |test, scenario| {
        let config = json!({"config": "[log]\nlevel = \"warn\"\nencoder = \"json\"\n"});
        assert_eq!(roll(scenario, json!({}), config).await, (5, 4));

        let before = scenario.pod_uids(GROUP).await;
        let annotations = json!({"pingcap.com/restartedAt": "2026-01-01T00:00:00Z"});
        let patch = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
        test.api::<TiProxyGroup>()
            .patch(GROUP, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap();
        scenario.ready(GROUP).await;
        assert!(all_differ(&before, &scenario.pod_uids(GROUP).await));
        // Editing nothing but comments and order restarts nobody.
        let after = scenario.pod_uids(GROUP).await;
        let comment = json!({"config": "# why\nlog = {encoder = 'json', level = 'warn'}\n"});
        scenario.change_template(GROUP, comment).await;
        scenario.ready(GROUP).await;
        assert_eq!(after, scenario.pod_uids(GROUP).await);
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn what_a_running_tiproxy_takes_over_restarts_nobody_unless_that_is_asked_for() {
    run_roll(async |test, scenario| {
        test.apply(&group_with(GROUP, 2, json!({}))).await;
        scenario.ready(GROUP).await;
        let before = scenario.pod_uids(GROUP).await;
        let texts = async || {
            let config_maps = scenario.of_group::<ConfigMap>(GROUP).await.into_values();
            config_maps
                .map(|config_map| config_map.data.unwrap_or_default()["config.toml"].clone())
                .collect::<Vec<_>>()
        };
        let hot =
            json!({"config": "log.level = \"warn\"\nfuture.key = 1", "trafficReplay": {"enabled": true}});
        scenario.change_template(GROUP, hot).await;
        scenario.ready(GROUP).await;
        for text in texts().await {
            assert!(text.contains("level = \"warn\""), "{text}");
            assert!(text.contains("enable-traffic-replay = true"), "{text}");
        }
        assert_eq!(before, scenario.pod_uids(GROUP).await);
        // The way back: what is gone is written as its default.
        let back = json!({"config": null, "trafficReplay": null});
        scenario.change_template(GROUP, back).await;
        scenario.ready(GROUP).await;
        for text in texts().await {
            assert!(text.contains("level = \"info\""), "{text}");
        }
        let restart = json!({"updateStrategy": {"config": "Restart"}});
        scenario.change_template(GROUP, restart).await;
        scenario.ready(GROUP).await;
        assert_eq!(before, scenario.pod_uids(GROUP).await);

        let hot = json!({"config": "log.level = \"warn\""});
        scenario.change_template(GROUP, hot).await;
        scenario.ready(GROUP).await;
        assert!(all_differ(&before, &scenario.pod_uids(GROUP).await));
    });
}
