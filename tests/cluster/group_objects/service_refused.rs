//! Options of the client Service that the API server refuses: told with field, value and what to do.

use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::DeleteParams;
use serde_json::json;

use super::{OBJECT, becomes, is_true};
use crate::harness;
use crate::harness::group::{edit, manifest, settled};
use crate::harness::objects::Keep;

fn has(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn what_the_api_server_refuses_is_told_and_stops_nothing_else() {
    harness::run(async |test| {
        let _operator = test.start_operator().await;
        test.apply(&manifest(1)).await;
        settled(test, 1).await;

        let port = 30986;
        let theirs = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "theirs"},
            "spec": {"type": "NodePort", "ports": [{"port": 1, "nodePort": port}]}});
        test.create(&theirs, Keep::Yes).await.expect("the port is free");
        edit(
            test,
            json!({"replicas": 2, "service": {"type": "NodePort", "nodePorts": {"sql": port}}}),
        )
        .await;
        let message = is_true(test, "Stalled", "InvalidSpec").await;
        has(
            &message,
            &[
                "provided port is already allocated",
                "spec.service.nodePorts.sql is 30986",
                "choose a port",
            ],
        );
        // It keeps nobody from scaling.
        becomes::<Pod>(test, "proxy-tiproxy-1", "the second Pod is there", |_| true).await;
        test.api::<Service>()
            .delete("theirs", &DeleteParams::default())
            .await
            .expect("it is there");
        settled(test, 2).await;

        edit(test, json!({"service": {"nodePorts": {"sql": 80}}})).await;
        let message = is_true(test, "Stalled", "InvalidSpec").await;
        has(&message, &["spec.service.nodePorts.sql is 80", "30000 to 32767"]);
        edit(test, json!({"service": {"nodePorts": null}})).await;
        settled(test, 2).await;

        edit(
            test,
            json!({"service": {"type": "LoadBalancer", "loadBalancerClass": "example.com/a"}}),
        )
        .await;
        settled(test, 2).await;
        edit(test, json!({"service": {"loadBalancerClass": "example.com/b"}})).await;
        let message = is_true(test, "Stalled", "InvalidSpec").await;
        has(
            &message,
            &[
                "may not change once set",
                "spec.service.loadBalancerClass is example.com/b",
                "set type to ClusterIP first",
            ],
        );
        // As it says.
        edit(
            test,
            json!({"service": {"type": "ClusterIP", "loadBalancerClass": null}}),
        )
        .await;
        settled(test, 2).await;
        edit(
            test,
            json!({"service": {"type": "LoadBalancer", "loadBalancerClass": "example.com/b"}}),
        )
        .await;
        settled(test, 2).await;
        let class = |service: &Service| service.spec.as_ref().unwrap().load_balancer_class.clone();
        becomes::<Service>(test, OBJECT, "it has the new class", |service| {
            class(service).as_deref() == Some("example.com/b")
        })
        .await;

        // The local cluster has one family of addresses; where there are two, nothing is refused.
        if test.audit_if_recorded().is_some() {
            edit(test, json!({"service": {"ipFamilyPolicy": "RequireDualStack"}})).await;
            let message = is_true(test, "Stalled", "InvalidSpec").await;
            has(
                &message,
                &[
                    "spec.service.ipFamilyPolicy is RequireDualStack",
                    "set PreferDualStack",
                ],
            );
            edit(test, json!({"service": {"ipFamilyPolicy": "PreferDualStack"}})).await;
            settled(test, 2).await;
        }
    });
}
