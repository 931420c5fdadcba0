//! Changes of mind in the middle of a rollout.

use kube::ResourceExt;
use serde_json::json;
use tiproxy_operator::api::{TiProxy, TiProxyGroup};

use super::scenario::{GROUP, PATIENCE, Scenario, group_with};
use crate::harness;
use crate::harness::wait::{eventually, expect};

/// Brings up a group of 4 and waits until a roll to another version is under way: some are new, some are old.
async fn half_way(scenario: &Scenario<'_>) {
    // Each step takes this long at least, so that the change of mind comes in time on a slow machine, too.
    let fields = json!({"minReadySeconds": 2});
    scenario.test.apply(&group_with(GROUP, 4, fields)).await;
    scenario.ready(GROUP).await;
    scenario
        .change_template(GROUP, json!({"version": "v1.3.2"}))
        .await;
    eventually(PATIENCE, "the roll is under way", async || {
        let instances = scenario.of_group::<TiProxy>(GROUP).await;
        let new = instances
            .values()
            .filter(|instance| instance.spec.template.version == "v1.3.2")
            .count();
        expect((2..=3).contains(&new), instances.len())
    })
    .await;
}

async fn versions(scenario: &Scenario<'_>) -> Vec<String> {
    let instances = scenario.of_group::<TiProxy>(GROUP).await;
    instances
        .into_values()
        .map(|instance| instance.spec.template.version)
        .collect()
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_rollback_in_the_middle_of_a_roll() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        half_way(&scenario).await;
        scenario
            .change_template(GROUP, json!({"version": "v1.3.1"}))
            .await;
        let before = scenario.of_group::<TiProxy>(GROUP).await;
        scenario.ready(GROUP).await;
        assert_eq!(versions(&scenario).await, ["v1.3.1"; 4]);
        // Who was still of the old version need not have gone; a decision from before the rollback may be on its way.
        let after = scenario.of_group::<TiProxy>(GROUP).await;
        let went = before.values().filter(|instance| {
            let same = after
                .get(&instance.name_any())
                .is_some_and(|now| now.uid() == instance.uid());
            let stays = instance.metadata.deletion_timestamp.is_none();
            instance.spec.template.version == "v1.3.1" && stays && !same
        });
        assert!(went.count() <= 1, "{:?}", after.keys());
        scenario.finish().await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_third_version_in_the_middle_of_a_roll() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        half_way(&scenario).await;
        scenario
            .change_template(GROUP, json!({"version": "v1.3.3"}))
            .await;
        scenario.ready(GROUP).await;
        assert_eq!(versions(&scenario).await, ["v1.3.3"; 4]);
        scenario.finish().await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn scaling_in_the_middle_of_a_roll() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        half_way(&scenario).await;
        scenario.change(GROUP, json!({"replicas": 6})).await;
        let grown = scenario.ready(GROUP).await;
        assert_eq!(versions(&scenario).await, ["v1.3.2"; 6]);
        assert_eq!(grown.status.unwrap().updated_replicas, Some(6));

        scenario
            .change_template(GROUP, json!({"version": "v1.3.1"}))
            .await;
        eventually(PATIENCE, "somebody new is there", async || {
            let versions = versions(&scenario).await;
            expect(versions.iter().any(|version| version == "v1.3.1"), versions)
        })
        .await;
        scenario.change(GROUP, json!({"replicas": 2})).await;
        scenario.ready(GROUP).await;
        assert_eq!(versions(&scenario).await, ["v1.3.1"; 2]);
        scenario.finish().await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_paused_roll_stops_and_goes_on() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        half_way(&scenario).await;
        scenario.change(GROUP, json!({"paused": true})).await;
        scenario.condition(GROUP, "Ready", "False", "Paused").await;
        // Scaling goes on, and leaves the old ones alone as long as it adds.
        scenario.change(GROUP, json!({"replicas": 5})).await;
        eventually(PATIENCE, "there are five", async || {
            let status = test
                .api::<TiProxyGroup>()
                .get(GROUP)
                .await
                .unwrap()
                .status
                .unwrap();
            expect(status.available_replicas >= Some(5), status)
        })
        .await;
        assert!(versions(&scenario).await.contains(&"v1.3.1".to_owned()));
        scenario.change(GROUP, json!({"paused": null})).await;
        scenario.ready(GROUP).await;
        assert_eq!(versions(&scenario).await, ["v1.3.2"; 5]);
        scenario.finish().await;
    });
}
