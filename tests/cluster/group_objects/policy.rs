//! The `NetworkPolicy`, as the API server stores it. Nothing here carries it out.

use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::{OBJECT, becomes, goes, is_true};
use crate::harness;
use crate::harness::group::{edit, manifest, settled};
use crate::harness::objects::Keep;

fn ingress(policy: &NetworkPolicy) -> Value {
    serde_json::to_value(policy.spec.as_ref().unwrap().ingress.as_ref()).unwrap()
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn the_policy_comes_on_request_is_kept_and_goes() {
    harness::run(async |test| {
        let arguments = [
            "--operator-namespace",
            "operators",
            "--operator-labels",
            "app=operator,tier=a",
        ];
        let mut operator = test.start_operator_with(&arguments).await;
        test.apply(&manifest(1)).await;
        settled(test, 1).await;
        let policies = test.api::<NetworkPolicy>();
        assert_eq!(policies.get_opt(OBJECT).await.unwrap(), None);

        edit(test, json!({"networkPolicy": {"enabled": true}})).await;
        let made = becomes::<NetworkPolicy>(test, OBJECT, "the policy is there", |_| true).await;
        let rules = ingress(&made);
        assert_eq!(
            rules[0],
            json!({"ports": [{"port": "mysql-client", "protocol": "TCP"}]})
        );
        assert_eq!(rules[1]["ports"], json!([{"port": "api", "protocol": "TCP"}]));
        let peer = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "operators"}},
            "podSelector": {"matchLabels": {"app": "operator", "tier": "a"}}});
        assert_eq!(rules[1]["from"].as_array().unwrap().last(), Some(&peer));
        settled(test, 1).await;

        for drift in [
            json!({"spec": {"ingress": null}}),
            json!({"spec": {"podSelector": {"matchLabels": {"a": "b"}}}}),
        ] {
            let old = policies.get(OBJECT).await.unwrap().metadata.generation;
            policies
                .patch(OBJECT, &PatchParams::default(), &Patch::Merge(&drift))
                .await
                .expect("it can be changed");
            let what = format!("{drift} is put right");
            let right = |policy: &NetworkPolicy| policy.spec == made.spec && policy.metadata.generation > old;
            becomes(test, OBJECT, &what, right).await;
        }
        let old = policies.get(OBJECT).await.unwrap().uid();
        policies
            .delete(OBJECT, &DeleteParams::default())
            .await
            .expect("it is there");
        becomes::<NetworkPolicy>(test, OBJECT, "it is made again", |policy| policy.uid() != old).await;

        edit(test, json!({"networkPolicy": {"enabled": false}})).await;
        goes::<NetworkPolicy>(test, OBJECT).await;
        settled(test, 1).await;

        let theirs = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": OBJECT}, "spec": {"podSelector": {}}});
        let theirs = test.create(&theirs, Keep::Yes).await.expect("the name is free");
        edit(test, json!({"networkPolicy": {"enabled": true}})).await;
        let message = is_true(test, "Stalled", "NameConflict").await;
        assert!(
            message.contains("NetworkPolicy proxy-tiproxy exists and is not ours"),
            "{message}"
        );
        let found = policies.get(OBJECT).await.unwrap();
        assert_eq!(found.resource_version(), theirs.resource_version());

        // An operator that runs outside of the cluster admits everybody but itself.
        operator.stop().await;
        policies
            .delete(OBJECT, &DeleteParams::default())
            .await
            .expect("it is there");
        let _operator = test.start_operator().await;
        let made = becomes::<NetworkPolicy>(test, OBJECT, "the policy is there", |_| true).await;
        assert_eq!(ingress(&made)[1]["from"].as_array().unwrap().len(), 3);
    });
}
