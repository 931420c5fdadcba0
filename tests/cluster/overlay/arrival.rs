//! What an overlay says arrives in the Pods that the API server stores.

use std::collections::BTreeMap;

use kube::ResourceExt;
use serde_json::{Value, json};

use crate::behaviour::fixture::{PATIENCE, becomes, edit, get, group, is_ready, is_true, pods};
use crate::harness::wait::{eventually, expect};
use crate::harness::{self, Test};

/// The Pod of the group's first TiProxy, as stored.
async fn pod(test: &Test) -> Value {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-tiproxy-0"}});
    serde_json::to_value(get(test, &pod).await).expect("a Pod is JSON")
}

fn named<'a>(list: &'a Value, name: &str) -> &'a Value {
    let items = list.as_array().expect("a list");
    let found = items.iter().find(|item| item["name"] == name);
    found.unwrap_or_else(|| panic!("{name} is not in {list}"))
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn what_an_overlay_says_arrives() {
    harness::run(async |test| {
        let _operator = test.start_operator().await;
        let mut web = group("web", 1);
        web["spec"]["template"]["spec"]["overlay"] = json!({"pod": {
            "metadata": {"labels": {"team": "a"}, "annotations": {"prometheus.io/scrape": "false"}},
            "spec": {
                // Zeros and their like, against defaults of the operator or of the API server.
                "automountServiceAccountToken": true, "terminationGracePeriodSeconds": 0,
                "shareProcessNamespace": false, "hostUsers": true,
                "securityContext": {"fsGroupChangePolicy": null, "runAsGroup": 0},
                "tolerations": [{"key": "a", "operator": "Exists"}],
                "containers": [
                    {"name": "tiproxy",
                        "lifecycle": {"preStop": {"exec": {"command": ["true"]}}},
                        "readinessProbe": {"tcpSocket": {"port": "api"}, "initialDelaySeconds": 0, "timeoutSeconds": 9},
                        "securityContext": {"$patch": "replace", "privileged": false},
                        "env": [{"name": "EMPTY", "value": ""}, {"name": "GOMAXPROCS", "value": "4"}],
                        "ports": [{"containerPort": 6000, "protocol": "UDP", "name": "udp"}]},
                    {"name": "log", "image": "busybox:1"},
                ],
                "initContainers": [{"name": "first", "image": "busybox:1"}],
                "volumes": [{"name": "scratch", "emptyDir": {}}],
            },
        }});
        web["spec"]["template"]["spec"]["resources"] = json!({"cpu": "1"});
        test.apply(&web).await;
        is_ready(test, &web).await;
        becomes(test, &web, PATIENCE, "UnsupportedFields", "False", "NoWarnings").await;

        let stored = pod(test).await;
        assert_eq!(stored["metadata"]["labels"]["team"], "a");
        assert_eq!(stored["metadata"]["annotations"]["prometheus.io/scrape"], "false");
        let spec = &stored["spec"];
        assert_eq!(spec["automountServiceAccountToken"], true);
        assert_eq!(spec["terminationGracePeriodSeconds"], 0);
        assert_eq!(spec["securityContext"]["runAsGroup"], 0);
        assert_eq!(spec["securityContext"].get("fsGroupChangePolicy"), None);
        assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
        named(&spec["containers"], "log");
        named(&spec["initContainers"], "first");
        named(&spec["volumes"], "scratch");
        named(&spec["volumes"], "ti-config");
        let container = named(&spec["containers"], "tiproxy");
        assert_eq!(
            container["lifecycle"],
            json!({"preStop": {"exec": {"command": ["true"]}}})
        );
        let probe = &container["readinessProbe"];
        assert_eq!(
            (probe.get("httpGet"), &probe["tcpSocket"]["port"]),
            (None, &json!("api"))
        );
        assert_eq!(
            (&probe["timeoutSeconds"], &probe["periodSeconds"]),
            (&json!(9), &json!(5))
        );
        assert_eq!(container["securityContext"], json!({"privileged": false}));
        assert_eq!(
            named(&container["env"], "GOMAXPROCS"),
            &json!({"name": "GOMAXPROCS", "value": "4"})
        );
        assert_eq!(container["ports"].as_array().map(Vec::len), Some(3));
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn its_metadata_is_changed_in_place_and_its_spec_by_new_pods() {
    harness::run(async |test| {
        let _operator = test.start_operator().await;
        let web = group("web", 1);
        test.apply(&web).await;
        is_ready(test, &web).await;
        let before = pods(test).await;
        let overlay = |pod: Value| json!({"spec": {"template": {"spec": {"overlay": {"pod": pod}}}}});
        for labels in [json!({"a": "1", "b": "1"}), json!({"a": "2", "b": null})] {
            edit(test, &web, overlay(json!({"metadata": {"labels": labels}}))).await;
            eventually(PATIENCE, "the Pod has the labels", async || {
                let found = pods(test).await["web-tiproxy-0"].labels().clone();
                let own: BTreeMap<_, _> = ["a", "b"].map(|key| (key, found.get(key).cloned())).into();
                let wanted = |key: &str| labels[key].as_str().map(ToOwned::to_owned);
                expect(own["a"] == wanted("a") && own["b"] == wanted("b"), own)
            })
            .await;
        }
        is_ready(test, &web).await;
        let uids = |pods: &BTreeMap<String, k8s_openapi::api::core::v1::Pod>| -> Vec<_> {
            pods.values()
                .map(|pod| pod.uid().expect("it has a UID"))
                .collect()
        };
        assert_eq!(uids(&pods(test).await), uids(&before), "the Pod was replaced");

        edit(
            test,
            &web,
            overlay(json!({"spec": {"priorityClassName": "system-node-critical"}})),
        )
        .await;
        is_ready(test, &web).await;
        let after = pods(test).await;
        assert!(uids(&before).iter().all(|uid| !uids(&after).contains(uid)));
        let spec = after
            .values()
            .next()
            .and_then(|pod| pod.spec.clone())
            .expect("it has a spec");
        assert_eq!(spec.priority_class_name.as_deref(), Some("system-node-critical"));
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn labels_of_the_operator_cannot_be_overlaid() {
    harness::run(async |test| {
        let _operator = test.start_operator().await;
        let mut web = group("web", 1);
        for label in ["pingcap.com/group", "core.pingcap.com/serving"] {
            let mut refused = web.clone();
            refused["spec"]["template"]["spec"]["overlay"] =
                json!({"pod": {"metadata": {"labels": {label: "false"}}}});
            let status = test
                .create(&refused, crate::harness::objects::Keep::No)
                .await
                .expect_err("the rule refuses it");
            assert!(
                status.message.contains("cannot overlay pod labels"),
                "{}",
                status.message
            );
        }
        web["spec"]["template"]["spec"]["overlay"] =
            json!({"pod": {"metadata": {"labels": {"app.kubernetes.io/name": "mine", "team": "a"}}}});
        test.apply(&web).await;
        let message = is_true(test, &web, "UnsupportedFields", "NotYetSupported").await;
        let path = "spec.template.spec.overlay.pod.metadata.labels[app.kubernetes.io/name]";
        assert!(message.contains(path) && !message.contains("[team]"), "{message}");
        is_ready(test, &web).await;
        let labels = pods(test).await["web-tiproxy-0"].labels().clone();
        assert_eq!(
            (labels["app.kubernetes.io/name"].as_str(), labels["team"].as_str()),
            ("tiproxy", "a")
        );
    });
}
