//! The labels `zone`, `region` and `host` of TiProxy, from the node that its Pod runs on.

use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod};
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::harness;
use crate::harness::Test;
use crate::harness::group::{PATIENCE, edit, manifest, settled};
use crate::harness::wait::{eventually, expect};

/// The labels in the configuration of the first TiProxy.
async fn labels(test: &Test) -> toml_edit::Table {
    let config_map = test
        .api::<ConfigMap>()
        .get("proxy-tiproxy-0")
        .await
        .expect("a ConfigMap");
    let data = config_map.data.unwrap_or_default();
    let document: toml_edit::DocumentMut = data["config.toml"].parse().expect("TOML");
    let labels = document.get("labels").and_then(|labels| labels.as_table());
    labels.cloned().unwrap_or_default()
}

fn value<'a>(labels: &'a toml_edit::Table, name: &str) -> Option<&'a str> {
    labels.get(name)?.as_str()
}

/// The labels that the configuration for a Pod should have from its node: none where the node names no zone.
pub(crate) async fn expected(test: &Test, pod: &str) -> Vec<(&'static str, String)> {
    let node = eventually(PATIENCE, "the Pod is bound", async || {
        let found = test.api::<Pod>().get_opt(pod).await.expect("Pods can be read");
        let node = found.and_then(|found| found.spec?.node_name);
        node.ok_or_else(|| format!("{pod} is not"))
    })
    .await;
    let node = Api::<Node>::all(test.client.clone())
        .get(&node)
        .await
        .expect("its node");
    let zone = "topology.kubernetes.io/zone";
    if !node.labels().contains_key(zone) {
        return Vec::new();
    }
    let sources = [
        ("zone", zone),
        ("region", "topology.kubernetes.io/region"),
        ("host", "kubernetes.io/hostname"),
    ];
    sources
        .into_iter()
        .filter_map(|(name, source)| Some((name, node.labels().get(source)?.clone())))
        .collect()
}

/// Waits until the labels are those of the node, and returns them.
async fn follow(test: &Test) -> Vec<(&'static str, String)> {
    let expected = expected(test, "proxy-tiproxy-0").await;
    eventually(PATIENCE, "the labels are those of the node", async || {
        let labels = labels(test).await;
        let holds = expected
            .iter()
            .all(|(name, text)| value(&labels, name) == Some(text.as_str()));
        expect(holds, labels.to_string())
    })
    .await;
    expected
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn labels_come_from_the_node_without_a_restart_and_follow_a_new_pod() {
    harness::run(async |test| {
        let _operator = test.start_operator().await;
        test.apply(&manifest(1)).await;
        settled(test, 1).await;
        let before = test.api::<Pod>().get("proxy-tiproxy-0").await.unwrap();
        let labels_of_node = follow(test).await;
        assert_eq!(
            test.api::<Pod>().get("proxy-tiproxy-0").await.unwrap().uid(),
            before.uid()
        );
        // The user's own value wins, and is given back.
        edit(
            test,
            json!({"template": {"spec": {"config": "labels = { zone = \"mine\" }"}}}),
        )
        .await;
        eventually(PATIENCE, "the user's zone is written", async || {
            let labels = labels(test).await;
            expect(value(&labels, "zone") == Some("mine"), labels.to_string())
        })
        .await;
        edit(test, json!({"template": {"spec": {"config": null}}})).await;
        assert_eq!(follow(test).await, labels_of_node);
        assert_eq!(
            test.api::<Pod>().get("proxy-tiproxy-0").await.unwrap().uid(),
            before.uid()
        );
        // A new Pod may be elsewhere.
        for _ in 0..3 {
            let uid = test.api::<Pod>().get("proxy-tiproxy-0").await.unwrap().uid();
            test.kubectl
                .succeed(&["delete", "pod", "proxy-tiproxy-0", "--grace-period=0", "--force"])
                .await;
            eventually(PATIENCE, "the Pod is replaced", async || {
                let pod = test
                    .api::<Pod>()
                    .get_opt("proxy-tiproxy-0")
                    .await
                    .expect("Pods can be read");
                let found = pod.as_ref().and_then(ResourceExt::uid);
                let is_bound = pod.is_some_and(|pod| pod.spec.is_some_and(|spec| spec.node_name.is_some()));
                expect(found.is_some() && found != uid && is_bound, found)
            })
            .await;
            follow(test).await;
        }
    });
}
