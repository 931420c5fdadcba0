//! Rollouts without a surge: Pods are replaced under their names.

use std::collections::BTreeMap;

use kube::ResourceExt;
use serde_json::json;
use tiproxy_operator::api::TiProxy;

use super::scenario::{GROUP, Scenario, all_differ, group_with};
use crate::harness;
use crate::harness::history::{Change, Entry, replay};

/// Without the labels that come from the node of the Pod, which change while it is there.
fn without_place(content: &str) -> String {
    let place = ["zone = ", "region = ", "host = ", "[labels]"];
    content
        .lines()
        .filter(|line| !line.is_empty() && !place.iter().any(|start| line.starts_with(start)))
        .collect::<Vec<_>>()
        .join("\n")
}

/// How often a ConfigMap changed; fails if one did while its old Pod was there.
fn config_changes(entries: &[Entry]) -> usize {
    let mut contents = BTreeMap::new();
    let mut changes = 0;
    replay(entries, |state, entry| {
        if entry.kind != "ConfigMap" || entry.change == Change::Deleted {
            return;
        }
        let name = entry.object.name_any();
        let content = without_place(
            entry.object.data["data"]["config.toml"]
                .as_str()
                .unwrap_or_default(),
        );
        let old = contents.insert(name.clone(), content.clone());
        if old.is_some_and(|old| old != content) {
            changes += 1;
            let pod = state.get(&("Pod", name.clone()));
            assert!(pod.is_none(), "{name} changed while a Pod was using it");
        }
    });
    changes
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn without_a_surge_pods_are_replaced_under_their_names() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        let fields = json!({"maxSurge": 0, "maxUnavailable": 1});
        test.apply(&group_with(GROUP, 3, fields)).await;
        scenario.ready(GROUP).await;
        let uids = async || -> BTreeMap<_, _> {
            let instances = scenario.of_group::<TiProxy>(GROUP).await;
            instances
                .into_iter()
                .map(|(name, instance)| (name, instance.uid()))
                .collect()
        };
        let (instances, pods) = (uids().await, scenario.pod_uids(GROUP).await);
        let change = json!({"version": "v1.3.2", "config": "[log]\nlevel = \"warn\"\n"});
        scenario.change_template(GROUP, change).await;
        scenario.ready(GROUP).await;

        assert_eq!(uids().await, instances);
        let after = scenario.pod_uids(GROUP).await;
        assert!(after.keys().eq(pods.keys()));
        assert!(all_differ(&pods, &after));
        assert_eq!(config_changes(&scenario.entries().await), 3);
        scenario.finish().await;
    });
}
