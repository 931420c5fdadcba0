//! One random life.

use std::fmt::Write;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tiproxy_operator::api::{Cluster, TiProxy};

use super::clients::Clients;
use super::event::Event;
use crate::harness::Test;
use crate::lifecycle::pd::{cluster, group_of_cluster, pd_service};
use crate::lifecycle::scenario::{GROUP, Scenario};
use tiproxy_standin::testing::random::Random;

const EVENTS: u32 = 16;
/// The longest time between two events, in milliseconds. Many come while what the last one began still goes on.
const MOST_PAUSE: u64 = 1500;

pub(super) async fn live(test: &Test, seed: u64) {
    let mut random = Random::seeded(seed);
    let scenario = Scenario::start_with(test, &["--proxy-poll-interval", "1"]).await;
    test.apply(&cluster(&json!({}))).await;
    test.apply(&pd_service()).await;
    let replicas = 1 + random.below(4);
    let mut group = group_of_cluster(GROUP, i32::try_from(replicas).expect("few"));
    let template = &mut group["spec"]["template"]["spec"];
    template["preStop"] = json!({"sleepSeconds": 0});
    template["drain"] = json!({"timeoutSeconds": 3, "quietSeconds": 1});
    test.apply(&group).await;
    let clients = Clients::start(
        test.client.clone(),
        &test.namespace,
        Random::seeded(seed ^ u64::from(u32::MAX)),
    );

    let mut story = format!("seed {seed}, {replicas} replicas\n");
    for number in 0..EVENTS {
        tokio::time::sleep(random.millis(0..MOST_PAUSE)).await;
        let event = Event::next(&mut random);
        writeln!(story, "{number}: {event:?}").expect("a text can be written");
        // What failed is seen beside the state of the namespace.
        std::fs::write(test.directory.join("story.log"), &story).expect("the story can be written");
        happen(&scenario, event).await;
    }
    // The trouble is over.
    change_cluster(
        &scenario,
        json!({"paused": false, "suspendAction": {"suspendCompute": false}}),
    )
    .await;
    let replicas = 1 + random.below(4);
    let healed = json!({
        "paused": false, "replicas": replicas,
        "template": {"spec": {"drain": {"timeoutSeconds": 2}}},
    });
    scenario.change(GROUP, healed).await;
    scenario.ready(GROUP).await;
    // What was done last may not have been noticed when it said so.
    scenario.calm().await;
    scenario.ready(GROUP).await;
    assert!(clients.are_there(), "whoever plays the clients has ended");
    scenario.verdict().await;
}

async fn happen(scenario: &Scenario<'_>, event: Event) {
    match event {
        Event::Version(version) => {
            scenario
                .change_template(GROUP, json!({ "version": version }))
                .await;
        }
        Event::Level(level) => {
            let config = format!("[log]\nlevel = \"{level}\"\n");
            scenario.change_template(GROUP, json!({ "config": config })).await;
        }
        Event::Encoder(encoder) => {
            let config = format!("[log]\nencoder = \"{encoder}\"\n");
            scenario.change_template(GROUP, json!({ "config": config })).await;
        }
        Event::Replicas(replicas) => scenario.change(GROUP, json!({ "replicas": replicas })).await,
        Event::Limits {
            max_surge,
            max_unavailable,
        } => {
            let limits = json!({"maxSurge": max_surge, "maxUnavailable": max_unavailable});
            scenario.change(GROUP, limits).await;
        }
        Event::MinReady(seconds) => scenario.change(GROUP, json!({"minReadySeconds": seconds})).await,
        Event::DrainTimeout(seconds) => {
            let drain = json!({"drain": {"timeoutSeconds": seconds}});
            scenario.change_template(GROUP, drain).await;
        }
        Event::Paused(paused) => scenario.change(GROUP, json!({ "paused": paused })).await,
        Event::ClusterPaused(paused) => change_cluster(scenario, json!({ "paused": paused })).await,
        Event::Suspended(suspended) => {
            let action = json!({"suspendAction": {"suspendCompute": suspended}});
            change_cluster(scenario, action).await;
        }
        Event::DeletePod(place) => {
            if let Some(name) = at::<Pod>(scenario, place).await {
                scenario.delete_if_there::<Pod>(&name).await;
            }
        }
        Event::EvictPod(place) => {
            if let Some(name) = at::<Pod>(scenario, place).await {
                evict(scenario, &name).await;
            }
        }
        Event::DeleteTiProxy(place) => {
            if let Some(name) = at::<TiProxy>(scenario, place).await {
                scenario.delete_if_there::<TiProxy>(&name).await;
            }
        }
        Event::RestartOperator { kill } => scenario.restart_operator(kill).await,
    }
}

async fn change_cluster(scenario: &Scenario<'_>, spec: Value) {
    scenario
        .test
        .api::<Cluster>()
        .patch(
            "basic",
            &PatchParams::default(),
            &Patch::Merge(json!({ "spec": spec })),
        )
        .await
        .expect("the Cluster can be changed");
}

/// As the kubelet says it; the Pod may have gone.
async fn evict(scenario: &Scenario<'_>, name: &str) {
    let status = json!({
        "phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory.",
        "conditions": [{"type": "Ready", "status": "False"}],
    });
    let patch = Patch::Merge(json!({ "status": status }));
    let _ = scenario
        .test
        .api::<Pod>()
        .patch_status(name, &PatchParams::default(), &patch)
        .await;
}

/// The name at a place among those that are there, if there are any.
async fn at<K>(scenario: &Scenario<'_>, place: usize) -> Option<String>
where
    K: kube::Resource<Scope = kube::core::NamespaceResourceScope>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug,
    K::DynamicType: Default,
{
    let there: Vec<_> = scenario.of_group::<K>(GROUP).await.into_keys().collect();
    let place = place.checked_rem(there.len())?;
    there.into_iter().nth(place)
}
