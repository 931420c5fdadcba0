//! The labels `zone`, `region` and `host` of TiProxy, from the node that its Pod runs on.

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::ResourceExt;
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
    let text = config_map.data.unwrap_or_default()["config.toml"].clone();
    let document: toml_edit::DocumentMut = text.parse().expect("TOML");
    let labels = document.get("labels").and_then(|labels| labels.as_table());
    labels.cloned().unwrap_or_default()
}

fn value<'a>(labels: &'a toml_edit::Table, name: &str) -> Option<&'a str> {
    labels.get(name)?.as_str()
}

/// The number of the node that the first Pod runs on.
async fn node(test: &Test) -> usize {
    let pod = test.api::<Pod>().get("proxy-tiproxy-0").await.expect("a Pod");
    let name = pod.spec.and_then(|spec| spec.node_name).expect("it is bound");
    name.strip_prefix("node-")
        .expect("a node")
        .parse()
        .expect("a number")
}

/// Waits until the labels are those of the node.
async fn follow(test: &Test) -> String {
    let number = node(test).await;
    let zone = ["zone-a", "zone-b", "zone-c"][(number - 1) % 3];
    eventually(PATIENCE, "the labels are those of the node", async || {
        let labels = labels(test).await;
        let found = ["zone", "region", "host"].map(|name| value(&labels, name).map(ToOwned::to_owned));
        let expected = [zone, "region", &format!("node-{number}")].map(|text| Some(text.to_owned()));
        expect(found == expected, found)
    })
    .await;
    zone.to_owned()
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn labels_come_from_the_node_without_a_restart_and_follow_a_new_pod() {
    harness::run(async |test| {
        let _operator = test.start_operator().await;
        test.apply(&manifest(1)).await;
        settled(test, 1).await;
        let before = test.api::<Pod>().get("proxy-tiproxy-0").await.unwrap();
        let zone = follow(test).await;
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
        assert_eq!(follow(test).await, zone);
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
