//! What TiDB Operator v2 manages is left alone: it reconciles these kinds whatever our labels say.

use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;
use serde_json::json;

use super::fixture::{edit, get, group, instance, is_ready, is_soon_true, something_else, versions};
use crate::harness;

const FINALIZER: &str = "pingcap.com/finalizer";

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_group_with_its_finalizer_begins_when_that_is_gone() {
    harness::run(async |test| {
        let _operator = test.start_operator().await;
        let mut web = group("web", 1);
        web["metadata"]["finalizers"] = json!([FINALIZER]);
        let before = versions(test).await;
        test.apply(&web).await;
        let message = is_soon_true(test, &web, "Stalled", "ManagedByTiDBOperator").await;
        for part in ["TiDB Operator", FINALIZER, "remove"] {
            assert!(message.contains(part), "{part:?} is not in {message:?}");
        }
        something_else(test).await;
        assert_eq!(versions(test).await, before);
        assert_eq!(
            get(test, &web).await.metadata.finalizers,
            Some(vec![FINALIZER.to_owned()])
        );
        edit(test, &web, json!({"metadata": {"finalizers": null}})).await;
        is_ready(test, &web).await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_running_group_that_it_takes_over_is_left_alone() {
    harness::run(async |test| {
        let _operator = test.start_operator().await;
        let web = group("web", 2);
        test.apply(&web).await;
        is_ready(test, &web).await;
        let ours = get(test, &web).await.metadata.finalizers.expect("ours is there");

        let both = [&ours[..], &[FINALIZER.to_owned()]].concat();
        edit(test, &web, json!({"metadata": {"finalizers": both}})).await;
        is_soon_true(test, &web, "Stalled", "ManagedByTiDBOperator").await;
        let before = versions(test).await;
        edit(
            test,
            &web,
            json!({"spec": {"replicas": 3, "template": {"spec": {"version": "v1.3.1"}}}}),
        )
        .await;
        is_soon_true(test, &web, "Stalled", "ManagedByTiDBOperator").await;
        // Not even a Pod that is gone is replaced.
        let parameters = DeleteParams::default().grace_period(0);
        test.api::<Pod>()
            .delete("web-tiproxy-0", &parameters)
            .await
            .expect("it is there");
        something_else(test).await;
        let mut expected = before;
        expected.remove(&("Pod", "web-tiproxy-0".to_owned()));
        assert_eq!(versions(test).await, expected);

        edit(test, &web, json!({"metadata": {"finalizers": ours}})).await;
        is_ready(test, &web).await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_group_with_one_of_its_children_is_left_alone() {
    harness::run(async |test| {
        let _operator = test.start_operator().await;
        let web = group("web", 2);
        test.apply(&web).await;
        is_ready(test, &web).await;
        let child = instance("web-0");
        let label = |value: &str| json!({"metadata": {"labels": {"pingcap.com/managed-by": value}}});
        edit(test, &child, label("tidb-operator")).await;
        let message = is_soon_true(test, &web, "Stalled", "ManagedByTiDBOperator").await;
        assert!(message.contains("TiProxy web-0"), "{message}");
        let before = versions(test).await;
        edit(
            test,
            &web,
            json!({"spec": {"replicas": 3, "template": {"spec": {"version": "v1.3.1"}}}}),
        )
        .await;
        is_soon_true(test, &web, "Stalled", "ManagedByTiDBOperator").await;
        something_else(test).await;
        assert_eq!(versions(test).await, before);
        edit(test, &child, label("tiproxy-operator")).await;
        is_ready(test, &web).await;
    });
}
