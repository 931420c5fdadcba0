//! The client Service: each option of `spec.service`, from each to each other, and what others change.

use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::{OBJECT, becomes};
use crate::harness;
use crate::harness::Test;
use crate::harness::group::{edit, manifest, settled};

/// Options, and what they make of the Service.
fn options() -> Vec<(Value, Value)> {
    let balancer = |more: Value| {
        let mut options = json!({"type": "LoadBalancer"});
        merge(&mut options, &more);
        options
    };
    vec![
        (
            json!({}),
            json!({"type": "ClusterIP", "internalTrafficPolicy": "Cluster", "sessionAffinity": "None"}),
        ),
        (
            json!({"internalTrafficPolicy": "Local"}),
            json!({"type": "ClusterIP", "internalTrafficPolicy": "Local"}),
        ),
        (
            json!({"sessionAffinity": "ClientIP"}),
            json!({"type": "ClusterIP", "sessionAffinity": "ClientIP"}),
        ),
        (
            json!({"ipFamilyPolicy": "SingleStack"}),
            json!({"type": "ClusterIP", "ipFamilyPolicy": "SingleStack"}),
        ),
        (
            json!({"type": "NodePort", "externalTrafficPolicy": "Local"}),
            json!({"type": "NodePort", "externalTrafficPolicy": "Local"}),
        ),
        (
            balancer(json!({})),
            json!({"type": "LoadBalancer", "externalTrafficPolicy": "Cluster"}),
        ),
        (
            balancer(json!({"externalTrafficPolicy": "Local", "loadBalancerSourceRanges": ["10.0.0.0/8"]})),
            json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "loadBalancerSourceRanges": ["10.0.0.0/8"]}),
        ),
    ]
}

fn merge(base: &mut Value, more: &Value) {
    let more = more.as_object().expect("an object").clone();
    base.as_object_mut().expect("an object").extend(more);
}

/// Whether the Service's spec has all that is expected, and has lost what the type does not allow.
fn fits(spec: &ServiceSpec, expected: &Value) -> bool {
    let found = serde_json::to_value(spec).expect("a spec is JSON");
    let all = expected
        .as_object()
        .expect("an object")
        .iter()
        .all(|(field, value)| found[field] == *value);
    let names: Vec<_> = spec
        .ports
        .iter()
        .flatten()
        .filter_map(|port| port.name.as_deref())
        .collect();
    // The API asks for no password, so it is never offered to the outside.
    let inside = expected["type"] == "ClusterIP";
    let ports = if inside {
        &["mysql-client", "api"][..]
    } else {
        &["mysql-client"]
    };
    let outside = spec.external_traffic_policy.is_some()
        && spec.ports.iter().flatten().all(|port| port.node_port.is_some());
    let ranges = found["loadBalancerSourceRanges"] == expected["loadBalancerSourceRanges"];
    let affinity = (expected["sessionAffinity"] == "ClientIP") == spec.session_affinity_config.is_some();
    all && names == ports && inside != outside && ranges && affinity
}

/// Sets exactly these options: a merge patch keeps what it does not name.
async fn set(test: &Test, options: &Value) {
    let mut patch: Value = ALL
        .into_iter()
        .map(|field| (field.to_owned(), Value::Null))
        .collect();
    merge(&mut patch, options);
    edit(test, json!({"service": patch})).await;
}

const ALL: [&str; 6] = [
    "type",
    "internalTrafficPolicy",
    "externalTrafficPolicy",
    "sessionAffinity",
    "ipFamilyPolicy",
    "loadBalancerSourceRanges",
];

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn every_option_can_be_changed_into_every_other() {
    harness::run(async |test| {
        let _operator = test.start_operator().await;
        test.apply(&manifest(0)).await;
        settled(test, 0).await;
        let address = becomes::<Service>(test, OBJECT, "the Service is there", |_| true).await;
        let address = address.spec.unwrap().cluster_ip;
        let all = options();
        for (from, _) in &all {
            for (to, expected) in &all {
                if from == to {
                    continue;
                }
                set(test, from).await;
                set(test, to).await;
                let what = format!("{from} becomes {to}");
                let service = becomes::<Service>(test, OBJECT, &what, |service| {
                    fits(service.spec.as_ref().unwrap(), expected)
                })
                .await;
                assert_eq!(service.spec.unwrap().cluster_ip, address, "{what}");
            }
        }
        settled(test, 0).await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn what_is_ours_is_put_right_and_what_others_added_stays() {
    harness::run(async |test| {
        let _operator = test.start_operator().await;
        let mut group = manifest(0);
        group["spec"]["service"] = json!({"type": "NodePort", "labels": {"team": "a"}, "annotations": {"note": "b"},
            "nodePorts": {"sql": 30987}, "sessionAffinity": "ClientIP"});
        test.apply(&group).await;
        settled(test, 0).await;
        let is_right = |service: &Service| {
            let spec = service.spec.as_ref().unwrap();
            let ports: Vec<_> = spec
                .ports
                .iter()
                .flatten()
                .map(|port| (port.port, port.node_port))
                .collect();
            ports == [(6000, Some(30987))]
                && spec.type_.as_deref() == Some("NodePort")
                && spec.session_affinity.as_deref() == Some("ClientIP")
                && spec.selector.as_ref().is_some_and(|selector| selector.len() == 5)
                && service.labels()["team"] == "a"
                && service.annotations().get("note").map(String::as_str) == Some("b")
        };
        becomes(test, OBJECT, "the Service is there", is_right).await;
        let services = test.api::<Service>();
        let theirs = json!({"metadata": {"labels": {"cloud": "x"}, "annotations": {"cloud": "y"}}});
        let patched = services
            .patch(OBJECT, &PatchParams::default(), &Patch::Merge(&theirs))
            .await;
        patched.expect("it can be changed");
        for drift in [
            json!({"spec": {"selector": {"app": "other"}}}),
            json!({"spec": {"type": "ClusterIP"}}),
            json!({"spec": {"sessionAffinity": "None"}}),
            json!({"spec": {"ports": [{"name": "other", "port": 1}]}}),
            json!({"metadata": {"labels": {"team": "c"}, "annotations": {"note": null}}}),
        ] {
            let before = services
                .patch(OBJECT, &PatchParams::default(), &Patch::Merge(&drift))
                .await;
            let before = before
                .unwrap_or_else(|error| panic!("{drift}: {error}"))
                .resource_version();
            let what = format!("{drift} is put right");
            let right = |service: &Service| is_right(service) && service.resource_version() != before;
            let found = becomes(test, OBJECT, &what, right).await;
            assert_eq!(
                (
                    found.labels()["cloud"].as_str(),
                    found.annotations()["cloud"].as_str()
                ),
                ("x", "y")
            );
        }
        edit(
            test,
            json!({"service": {"labels": null, "annotations": {"note": null}}}),
        )
        .await;
        becomes::<Service>(test, OBJECT, "what the spec took back is gone", |service| {
            !service.labels().contains_key("team") && !service.annotations().contains_key("note")
        })
        .await;
    });
}
