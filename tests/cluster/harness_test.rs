//! The harness itself: a recorder that misses something would let every other test pass.

use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::harness;
use crate::harness::audit::count;
use crate::harness::history::{Change, replay};
use crate::harness::wait::{eventually, expect};

fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"step": "1"}})
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn the_history_has_every_change_in_order() {
    harness::run(async |test| {
        let history = test.record_history().await;
        let api = test.api::<ConfigMap>();
        for name in ["first", "second"] {
            test.apply(&config_map(name)).await;
        }
        let patch = Patch::Merge(json!({"data": {"step": "2"}}));
        api.patch("first", &PatchParams::default(), &patch).await.unwrap();
        api.delete("second", &DeleteParams::default()).await.unwrap();

        let mut seen = Vec::new();
        replay(&history.entries().await, |state, entry| {
            if entry.object.name_any() == "kube-root-ca.crt" {
                return;
            }
            let first = state.get(&("ConfigMap", "first".to_owned()));
            let step = first.and_then(|object| object.data["data"]["step"].as_str());
            seen.push((entry.change, entry.object.name_any(), step.map(str::to_owned)));
        });
        let change = |change, name: &str, step: &str| (change, name.to_owned(), Some(step.to_owned()));
        assert_eq!(
            seen,
            [
                change(Change::Added, "first", "1"),
                change(Change::Added, "second", "1"),
                change(Change::Modified, "first", "2"),
                change(Change::Deleted, "second", "2"),
            ]
        );
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn budgets_count_the_operators_requests_only() {
    harness::run(async |test| {
        let operator: Api<ConfigMap> = Api::namespaced(test.operator_client().await, &test.namespace);
        operator.list(&ListParams::default()).await.unwrap();
        let mut audit = test.audit();
        let mine = serde_json::from_value(config_map("operator")).unwrap();
        operator.create(&PostParams::default(), &mine).await.unwrap();
        operator.create(&PostParams::default(), &mine).await.unwrap_err();
        operator.get("operator").await.unwrap();
        test.apply(&config_map("administrator")).await;

        let requests = audit.requests();
        let counts: Vec<_> = count(&requests).into_iter().collect();
        assert_eq!(
            counts,
            [
                ("create configmaps 201".to_owned(), 1),
                ("create configmaps 409".to_owned(), 1),
                ("get configmaps 200".to_owned(), 1),
            ]
        );
        assert_eq!(audit.writes().len(), 2);
        audit.restart();
        assert_eq!(audit.requests(), []);
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_namespace_goes_also_when_its_test_fails() {
    harness::run(async |test| {
        let mut name = String::new();
        let failed = std::thread::scope(|scope| {
            let inner = scope.spawn(|| {
                harness::run(async |inner| {
                    name.clone_from(&inner.namespace);
                    panic!("on purpose");
                });
            });
            inner.join()
        });
        assert!(failed.is_err());
        assert_ne!(name, "");
        eventually(Duration::from_mins(4), "the namespace goes", async || {
            let output = test
                .kubectl
                .run(&["get", "namespace", &name, "--output", "name"])
                .await;
            expect(output.stderr.contains("NotFound"), output)
        })
        .await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn an_operator_starts_stops_and_dies() {
    harness::run(async |test| {
        let mut operator = test.start_operator().await;
        let (status, metrics) = operator.get("/metrics").unwrap();
        assert_eq!(status, 200);
        assert!(metrics.contains("# TYPE "), "{metrics}");
        assert!(operator.stop().await.success(), "{}", operator.log());

        let mut operator = test.start_operator_with(&["--log-filter", "debug"]).await;
        assert!(operator.ended().is_none());
        operator.kill();
        assert_eq!(operator.ended().and_then(|status| status.code()), None);
        assert_eq!(operator.get("/readyz"), None);
    });
}
