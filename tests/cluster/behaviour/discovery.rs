//! Where PD is: what a group says while nobody knows, and what it does when that changes.

use kube::api::DeleteParams;
use serde_json::{Value, json};
use tiproxy_operator::api::TiProxyGroup;

use super::fixture::{
    PATIENCE, cluster, condition, edit, get, group, instances, is_ready, is_soon_true, is_true, pods,
    something_else, versions,
};
use crate::harness;
use crate::harness::Test;
use crate::harness::wait::{eventually, expect};

/// A group of a cluster that a Cluster describes.
fn group_of(cluster: &str) -> Value {
    let mut group = group(&format!("of-{cluster}"), 1);
    group["spec"]["cluster"] = json!({"name": cluster});
    group
}

fn pd_service(name: &str, cluster: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "labels": {"pingcap.com/cluster": cluster, "pingcap.com/component": "pd"}},
        "spec": {"ports": [{"name": "client", "port": 2379}]},
    })
}

/// Says what is missing, and is not Stalled: the order of `kubectl apply` must not matter.
async fn waits_for(test: &Test, group: &Value, reason: &str, parts: &[&str]) {
    let message = is_soon_true(test, group, "Reconciling", reason).await;
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
    let object = get(test, group).await;
    let status = |condition_type| condition(&object, condition_type).map(|seen| (seen.status, seen.reason));
    let so = |status: &str| Some((status.to_owned(), reason.to_owned()));
    assert_eq!((status("Ready"), status("Stalled")), (so("False"), so("False")));
}

/// Waits until all TiProxies of a group look for PD at one address.
async fn looks_at(test: &Test, group: &Value, address: &str) {
    is_ready(test, group).await;
    eventually(PATIENCE, &format!("PD is at {address}"), async || {
        let name = group["metadata"]["name"].as_str().unwrap_or_default();
        let found: Vec<_> = instances(test)
            .await
            .into_iter()
            .filter(|(instance, _)| instance.starts_with(name))
            .map(|(_, instance)| instance.spec.discovery.unwrap_or_default().pd_addrs)
            .collect();
        expect(
            !found.is_empty() && found.iter().all(|addresses| addresses == &[address]),
            found,
        )
    })
    .await;
    is_ready(test, group).await;
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_group_goes_on_when_pd_is_found() {
    harness::run(async |test| {
        let _operator = test.start_operator().await;
        let clusters = ["labelled", "reported", "customized"];
        for cluster in clusters {
            test.apply(&group_of(cluster)).await;
        }
        for name in clusters {
            let parts = [&*format!("Cluster {name}"), "spec.cluster.pdAddrs"];
            waits_for(test, &group_of(name), "ClusterNotFound", &parts).await;
        }
        for name in clusters {
            test.apply(&cluster(name, json!({}))).await;
        }
        for name in clusters {
            let parts = [
                name,
                "status.pd",
                "customizedPDServiceName",
                "pingcap.com/component=pd",
                "2379",
            ];
            waits_for(test, &group_of(name), "PDNotFound", &parts).await;
        }
        assert!(instances(test).await.is_empty());

        // Not these: one is headless, one is another cluster's.
        let mut headless = pd_service("a-pd", "labelled");
        headless["spec"]["clusterIP"] = json!("None");
        test.apply(&headless).await;
        test.apply(&pd_service("b-pd", "other")).await;
        let service = pd_service("labelled-pd", "labelled");
        test.apply(&service).await;
        let reported = cluster("reported", json!({}));
        test.patch_status(&reported, json!({"pd": "https://reported-pd.far:2379"}))
            .await;
        test.apply(&cluster(
            "customized",
            json!({"customizedPDServiceName": "my-pd"}),
        ))
        .await;
        // The namespace makes the short names of Services unmistakable.
        let in_namespace = |name: &str| format!("{name}.{}.svc:2379", test.namespace);
        looks_at(test, &group_of("labelled"), &in_namespace("labelled-pd")).await;
        looks_at(test, &group_of("reported"), "reported-pd.far:2379").await;
        looks_at(test, &group_of("customized"), &in_namespace("my-pd")).await;

        // Addresses of one's own need no Cluster, and win over one.
        let mut own = group_of("absent");
        own["spec"]["cluster"]["pdAddrs"] = json!(["pd.example:2379"]);
        test.apply(&own).await;
        looks_at(test, &own, "pd.example:2379").await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn losing_pd_changes_nothing_that_runs() {
    harness::run(async |test| {
        let _operator = test.start_operator().await;
        let basic = cluster("basic", json!({}));
        let web = group_of("basic");
        test.apply(&basic).await;
        test.apply(&pd_service("basic-pd", "basic")).await;
        test.apply(&web).await;
        let address = format!("basic-pd.{}.svc:2379", test.namespace);
        looks_at(test, &web, &address).await;

        let before = versions(test).await;
        let mut expected = before.clone();
        expected.retain(|(_, name), _| name != "basic-pd");
        delete(test, &pd_service("basic-pd", "basic")).await;
        says_it_is_lost(test, &web, "status.pd").await;
        delete(test, &basic).await;
        says_it_is_lost(test, &web, "Cluster basic").await;
        something_else(test).await;
        assert_eq!(versions(test).await, expected);

        // Scale-out, with the last known address; and a roll.
        test.kubectl
            .succeed(&["scale", "tpg", "of-basic", "--replicas=3"])
            .await;
        is_ready(test, &web).await;
        looks_at(test, &web, &address).await;
        assert_eq!(instances(test).await.len(), 3);
        let after: Vec<_> = versions(test).await.into_iter().collect();
        for entry in &expected {
            assert!(
                after.contains(&(entry.0.clone(), entry.1.clone())),
                "{entry:?} was touched"
            );
        }

        // A new answer rolls out.
        test.apply(&cluster("basic", json!({"customizedPDServiceName": "new-pd"})))
            .await;
        looks_at(test, &web, &format!("new-pd.{}.svc:2379", test.namespace)).await;
        assert_eq!(pods(test).await.len(), 3);
    });
}

/// The group stays Ready and says what it goes on with.
async fn says_it_is_lost(test: &Test, group: &Value, part: &str) {
    eventually(PATIENCE, "the group says that PD is lost", async || {
        let ready = condition(&get(test, group).await, "Ready").expect("it has conditions");
        let says = ready.message.contains("last known address") && ready.message.contains(part);
        expect(ready.status == "True" && says, ready)
    })
    .await;
}

async fn delete(test: &Test, manifest: &Value) {
    let name = manifest["metadata"]["name"].as_str().expect("it has a name");
    test.dynamic(manifest)
        .delete(name, &DeleteParams::default())
        .await
        .unwrap_or_else(|error| panic!("{name}: {error}"));
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_paused_cluster_stops_everything_but_deletion() {
    harness::run(async |test| {
        let _operator = test.start_operator().await;
        let basic = cluster("basic", json!({"customizedPDServiceName": "pd"}));
        test.apply(&basic).await;
        let (web, gone) = (group_of("basic"), {
            let mut other = group_of("basic");
            other["metadata"]["name"] = json!("gone");
            other
        });
        for group in [&web, &gone] {
            test.apply(group).await;
            is_ready(test, group).await;
        }
        let paused = cluster(
            "basic",
            json!({"customizedPDServiceName": "other-pd", "paused": true}),
        );
        let before = versions(test).await;
        test.apply(&paused).await;
        for group in [&web, &gone] {
            // The change of PD makes it more than a label.
            is_true(test, group, "Reconciling", "Paused").await;
        }
        edit(
            test,
            &web,
            json!({"spec": {"replicas": 2, "template": {"spec": {"version": "v1.3.1"}}}}),
        )
        .await;
        let message = is_soon_true(test, &web, "Reconciling", "Paused").await;
        assert!(message.contains("unset its spec.paused"), "{message}");
        let mut created = group_of("basic");
        created["metadata"]["name"] = json!("created");
        test.apply(&created).await;
        is_soon_true(test, &created, "Reconciling", "Paused").await;
        // What runs is untouched and counts as before.
        assert_eq!(versions(test).await, before);
        let status = get(test, &web).await.data["status"].clone();
        assert_eq!(status["readyReplicas"], json!(1), "{status}");

        test.api::<TiProxyGroup>()
            .delete("gone", &DeleteParams::default())
            .await
            .expect("it is there");
        eventually(PATIENCE, "the deleted group and its Pod are gone", async || {
            let (left, pods) = (test.api::<TiProxyGroup>().get_opt("gone").await, pods(test).await);
            let left = left.expect("groups can be read");
            expect(
                left.is_none() && pods.len() == 1,
                (left.is_some(), pods.keys().cloned().collect::<Vec<_>>()),
            )
        })
        .await;

        test.apply(&cluster(
            "basic",
            json!({"customizedPDServiceName": "other-pd", "paused": false}),
        ))
        .await;
        for group in [&web, &created] {
            looks_at(test, group, &format!("other-pd.{}.svc:2379", test.namespace)).await;
        }
        assert_eq!(pods(test).await.len(), 3);
    });
}
