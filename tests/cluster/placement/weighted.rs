//! `schedulePolicies`: TiProxies follow the weights of topologies.

use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde_json::json;
use tiproxy_operator::api::TiProxy;

use super::{ZONE, nodes_of_pods, policies, three_zones, zones_of_nodes};
use crate::harness;
use crate::harness::Test;
use crate::harness::group::{edit, manifest, settled};
use crate::harness::history::{Entry, replay};

const MOST: u32 = 12;

/// How many Pods run in each zone, by the nodes that they are on.
async fn running(test: &Test, zones: &[String]) -> Vec<u32> {
    let (nodes, pods) = (zones_of_nodes(test).await, nodes_of_pods(test).await);
    let count = |zone: &String| {
        pods.values()
            .filter(|node| nodes.get(*node) == Some(zone))
            .count()
    };
    zones
        .iter()
        .map(|zone| u32::try_from(count(zone)).unwrap())
        .collect()
}

/// Whether no zone is a whole instance away from its share.
fn follows(weights: &[u32], counts: &[u32]) -> bool {
    let (all, total) = (counts.iter().sum::<u32>(), weights.iter().sum::<u32>());
    let mut pairs = weights.iter().zip(counts);
    pairs.all(|(weight, count)| (count * total).abs_diff(all * weight) < total)
}

/// Every distribution of active TiProxies that there ever was.
fn distributions(entries: &[Entry], zones: &[String]) -> Vec<Vec<u32>> {
    let mut found = Vec::new();
    replay(entries, |state, entry| {
        if entry.kind != "TiProxy" {
            return;
        }
        let active = state
            .iter()
            .filter(|((kind, _), object)| *kind == "TiProxy" && object.metadata.deletion_timestamp.is_none());
        let mut counts = vec![0; zones.len()];
        for (_, object) in active {
            let zone = object.data["spec"]["topology"][ZONE].as_str().unwrap_or_default();
            let index = zones.iter().position(|known| known == zone);
            counts[index.expect("each is in one of the zones")] += 1;
        }
        if found.last() != Some(&counts) {
            found.push(counts);
        }
    });
    found
}

async fn spread(test: &Test, weights: [u32; 3]) {
    let zones = three_zones(test).await;
    let history = test.record_history().await;
    let _operator = test.start_operator().await;
    let mut group = manifest(1);
    group["spec"]["schedulePolicies"] = policies(&zones, &weights);
    test.apply(&group).await;
    let mut table = Vec::new();
    // One by one out and back, then all at once.
    for replicas in (1..=MOST).chain((0..MOST).rev()).chain([MOST, 0]) {
        edit(test, json!({"replicas": replicas})).await;
        settled(test, replicas as usize).await;
        let counts = running(test, &zones).await;
        assert_eq!(counts.iter().sum::<u32>(), replicas, "{counts:?}");
        assert!(follows(&weights, &counts), "{weights:?}: {counts:?}");
        table.push(counts);
    }
    let steps = distributions(&history.entries().await, &zones);
    println!("{weights:?}: {table:?}, {} distributions in all", steps.len());
    for counts in &steps {
        assert!(follows(&weights, counts), "{weights:?}: {counts:?} of {steps:?}");
    }
    assert_eq!(steps.len(), 4 * MOST as usize, "{steps:?}");
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn twelve_pods_are_spread_evenly_at_every_step() {
    harness::run(async |test| spread(test, [1, 1, 1]).await);
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn twelve_pods_are_spread_by_weight_at_every_step() {
    harness::run(async |test| spread(test, [3, 2, 1]).await);
}

/// UIDs of the TiProxies with their zones, by name.
async fn placed(test: &Test) -> Vec<(String, String, String)> {
    let instances: Api<TiProxy> = test.api();
    let list = instances
        .list(&ListParams::default())
        .await
        .expect("they can be listed");
    let zone = |one: &TiProxy| {
        one.spec
            .topology
            .as_ref()
            .and_then(|labels| labels.get(ZONE).cloned())
    };
    list.iter()
        .map(|one| {
            (
                one.name_any(),
                zone(one).unwrap_or_default(),
                one.uid().unwrap_or_default(),
            )
        })
        .collect()
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn other_policies_restart_nobody_and_a_roll_follows_them() {
    harness::run(async |test| {
        let zones = three_zones(test).await;
        let _operator = test.start_operator().await;
        test.apply(&manifest(6)).await;
        settled(test, 6).await;
        let before = placed(test).await;
        assert!(before.iter().all(|(_, zone, _)| zone.is_empty()), "{before:?}");

        edit(test, json!({"schedulePolicies": policies(&zones, &[1, 1, 1])})).await;
        settled(test, 6).await;
        assert_eq!(placed(test).await, before);

        // Whoever is where no policy wants him leaves first, and new ones follow the weights.
        edit(test, json!({"replicas": 9})).await;
        settled(test, 9).await;
        edit(test, json!({"replicas": 4})).await;
        settled(test, 4).await;
        let zone_of = |(_, zone, _): &(String, String, String)| zone.clone();
        let mut left: Vec<String> = placed(test).await.iter().map(zone_of).collect();
        left.sort();
        assert_eq!(left, [&[String::new()], &zones[..]].concat());

        // A roll brings all of them to where the policies of now want them.
        edit(
            test,
            json!({
                "replicas": 6, "schedulePolicies": policies(&zones[..2], &[2, 1]),
                "template": {"metadata": {"annotations": {"pingcap.com/restartedAt": "now"}}},
            }),
        )
        .await;
        settled(test, 6).await;
        assert_eq!(running(test, &zones).await, [4, 2, 0]);

        edit(test, json!({"schedulePolicies": null})).await;
        settled(test, 6).await;
        edit(test, json!({"replicas": 7})).await;
        settled(test, 7).await;
        let free = placed(test)
            .await
            .iter()
            .filter(|(_, zone, _)| zone.is_empty())
            .count();
        assert_eq!(free, 1);
    });
}
