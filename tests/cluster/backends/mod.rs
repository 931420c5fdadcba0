//! What the operator makes of what running TiProxies say, over their HTTP API at the address of their Pods.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Event, Pod};
use kube::ResourceExt;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use tiproxy_operator::api::{TiProxy, TiProxyGroup};

use crate::harness;
use crate::harness::Test;
use crate::harness::audit::count;
use crate::harness::group::{NAME, PATIENCE, edit, manifest, settled};
use crate::harness::responder::{Responder, Says};
use crate::harness::wait::{eventually, expect};

const TIDB: &str = "tiproxy_server_connections 3\ntiproxy_backend_b_status{backend=\"10.0.0.1:4000\"} 1\n";
const QUICKLY: [&str; 2] = ["--proxy-poll-interval", "1"];

fn with_label(score: u8) -> String {
    format!("{TIDB}tiproxy_balance_b_score{{backend=\"10.0.0.1:4000\",factor=\"label\"}} {score}\n")
}

/// A group of one, in a version of TiProxy that refuses clients for whom no TiDB carries the label, and later ones.
fn of_version(version: &str) -> Value {
    let mut group = manifest(1);
    group["spec"]["template"]["spec"]["version"] = json!(version);
    group
}

async fn pod(test: &Test) -> Pod {
    pod_of(test, 0).await
}

/// The Pod of an ordinal, once it has an address.
async fn pod_of(test: &Test, ordinal: u32) -> Pod {
    let name = format!("proxy-tiproxy-{ordinal}");
    eventually(PATIENCE, "the Pod has an address", async || {
        let pod = test.api::<Pod>().get_opt(&name).await.expect("Pods can be read");
        let address = pod.as_ref().and_then(|pod| pod.status.as_ref()?.pod_ip.as_ref());
        if address.is_some() {
            pod.ok_or_else(String::new)
        } else {
            Err(format!("{address:?}"))
        }
    })
    .await
}

/// Answers for the Pod of the first TiProxy.
async fn respond(test: &Test, says: Says) -> Responder {
    respond_for(test, 0, says).await
}

async fn respond_for(test: &Test, ordinal: u32, says: Says) -> Responder {
    let address = pod_of(test, ordinal)
        .await
        .status
        .and_then(|status| status.pod_ip);
    let address = address.expect("a running Pod has an address");
    Responder::start(address.parse().expect("an address"), 3080, says).await
}

/// Waits for a condition of an object to be so, and returns its message.
async fn becomes(conditions: impl AsyncFn() -> Value, kind: &str, status: &str, reason: &str) -> String {
    let what = format!("{kind} is {status} because {reason}");
    eventually(PATIENCE, &what, async || {
        let conditions = conditions().await;
        let found = conditions.as_array().into_iter().flatten();
        let found = found.clone().find(|condition| condition["type"] == kind).cloned();
        let found = found.unwrap_or_default();
        if found["status"] == status && found["reason"] == reason {
            Ok(found["message"].as_str().unwrap_or_default().to_owned())
        } else {
            Err(conditions.to_string())
        }
    })
    .await
}

async fn of_instance(test: &Test) -> Value {
    let instance = test.api::<TiProxy>().get("proxy-0").await.expect("a TiProxy");
    json!(instance.status.unwrap_or_default().conditions)
}

async fn of_group(test: &Test) -> Value {
    let group = test.api::<TiProxyGroup>().get(NAME).await.expect("a group");
    json!(group.status.unwrap_or_default().conditions)
}

async fn instance_becomes(test: &Test, kind: &str, status: &str, reason: &str) -> String {
    becomes(async || of_instance(test).await, kind, status, reason).await
}

async fn group_becomes(test: &Test, kind: &str, status: &str, reason: &str) -> String {
    becomes(async || of_group(test).await, kind, status, reason).await
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_label_that_no_tidb_carries_is_told_and_corrected_without_a_restart() {
    harness::run(async |test| {
        let _operator = test.start_operator_with(&QUICKLY).await;
        test.apply(&of_version("v1.3.2")).await;
        settled(test, 1).await;
        let before = pod(test).await;
        let responder = respond(test, Says::healthy(TIDB)).await;
        instance_becomes(test, "BackendsAvailable", "True", "BackendsHealthy").await;

        let labels = json!({"template": {"spec": {"server": {"labels": {"group": "oltp"}}, "balance": {"labelName": "group"}}}});
        edit(test, labels).await;
        instance_becomes(test, "BackendsAvailable", "Unknown", "BackendsUnknown").await;
        group_becomes(test, "Ready", "True", "AllReady").await;
        responder.say(Says::healthy(&with_label(1)));
        let message = instance_becomes(test, "BackendsAvailable", "False", "NoBackendWithLabel").await;
        assert!(
            message.contains("group=oltp") && message.contains("balance.labelName"),
            "{message}"
        );
        let message = group_becomes(test, "Ready", "False", "BackendsUnavailable").await;
        assert!(message.contains("group=oltp"), "{message}");

        responder.say(Says::healthy(&with_label(0)));
        instance_becomes(test, "BackendsAvailable", "True", "BackendsHealthy").await;
        group_becomes(test, "Ready", "True", "AllReady").await;

        // The label is taken away again: it is written as nothing, since TiProxy forgets no key.
        edit(
            test,
            json!({"template": {"spec": {"server": null, "balance": null}}}),
        )
        .await;
        let text = eventually(PATIENCE, "the label is gone", async || {
            let config_map = test
                .api::<ConfigMap>()
                .get("proxy-tiproxy-0")
                .await
                .expect("a ConfigMap");
            let text = config_map.data.unwrap_or_default()["config.toml"].clone();
            expect(text.contains("group = \"\""), text)
        })
        .await;
        assert!(text.contains("label-name = \"\""), "{text}");
        group_becomes(test, "Ready", "True", "AllReady").await;
        let told = "core.pingcap.com/config-hash";
        let after = eventually(PATIENCE, "the Pod was told", async || {
            let config_map = test.api::<ConfigMap>().get("proxy-tiproxy-0").await.unwrap();
            let pod = pod(test).await;
            let (wanted, found) = (config_map.annotations().get(told), pod.annotations().get(told));
            if wanted == found {
                Ok(pod)
            } else {
                Err(format!("{found:?} instead of {wanted:?}"))
            }
        })
        .await;
        assert_eq!(after.uid(), before.uid(), "nothing was restarted");
        assert!(after.annotations().contains_key(told));
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_pod_that_is_unready_for_lack_of_tidb_says_so() {
    harness::run(async |test| {
        let _operator = test.start_operator_with(&QUICKLY).await;
        test.apply(&manifest(1)).await;
        settled(test, 1).await;
        let responder = respond(test, Says::without_tidb("")).await;
        instance_becomes(test, "BackendsAvailable", "False", "NoBackendFound").await;
        // The kubelet notices, too.
        let unready = json!({"status": {"conditions": [{"type": "Ready", "status": "False",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
        test.api::<Pod>()
            .patch_status(
                "proxy-tiproxy-0",
                &PatchParams::default(),
                &Patch::Strategic(unready),
            )
            .await
            .expect("the Pod's status can be written");
        instance_becomes(test, "Ready", "False", "BackendsUnavailable").await;
        let message = group_becomes(test, "Ready", "False", "BackendsUnavailable").await;
        assert!(message.contains("pd.example:2379"), "{message}");
        responder.say(Says {
            status: 502,
            ..Says::without_tidb("tiproxy_backend_b_status{backend=\"10.0.0.1:4000\"} 0\n")
        });
        instance_becomes(test, "BackendsAvailable", "False", "BackendsUnhealthy").await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn failed_migrations_are_warned_of_and_connections_told() {
    harness::run(async |test| {
        let _operator = test.start_operator_with(&QUICKLY).await;
        test.apply(&manifest(1)).await;
        settled(test, 1).await;
        let failed = |number: u8| {
            Says::healthy(&format!(
                "{TIDB}tiproxy_balance_migrate_total{{from=\"a\",migrate_res=\"fail\",reason=\"conn\",to=\"b\"}} {number}\n"
            ))
        };
        let responder = respond(test, failed(4)).await;
        eventually(PATIENCE, "the connections are told", async || {
            let instance = test.api::<TiProxy>().get("proxy-0").await.expect("a TiProxy");
            let connections = instance.status.and_then(|status| status.connections);
            expect(connections == Some(3), connections)
        })
        .await;
        instance_becomes(test, "ConfigWarnings", "False", "NoWarnings").await;
        responder.say(failed(5));
        let message = instance_becomes(test, "ConfigWarnings", "True", "SessionMigrationFailing").await;
        assert!(message.contains("session-token-signing-cert"), "{message}");
        let message = group_becomes(test, "ConfigWarnings", "True", "Warnings").await;
        assert!(message.contains("TiProxy proxy-0: sessions"), "{message}");
        eventually(PATIENCE, "an Event tells of it", async || {
            let events = test
                .api::<Event>()
                .list(&ListParams::default())
                .await
                .expect("Events");
            let mut reasons = events
                .iter()
                .map(|event| event.reason.clone().unwrap_or_default());
            expect(
                reasons.any(|reason| reason == "SessionMigrationFailing"),
                events.items.len(),
            )
        })
        .await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn asking_costs_no_request_to_the_api_server() {
    harness::run(async |test| {
        let _operator = test.start_operator_with(&QUICKLY).await;
        test.apply(&manifest(1)).await;
        settled(test, 1).await;
        let responder = respond(test, Says::healthy(&with_label(0))).await;
        eventually(PATIENCE, "the connections are told", async || {
            let instance = test.api::<TiProxy>().get("proxy-0").await.expect("a TiProxy");
            let connections = instance.status.and_then(|status| status.connections);
            expect(connections == Some(3), connections)
        })
        .await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let (mut audit, asked) = (test.audit(), responder.asked());
        audit.restart();
        tokio::time::sleep(Duration::from_secs(10)).await;
        let asked = responder.asked() - asked;
        let requests = count(&audit.writes());
        println!("asked {asked} times in 10 s; writes {requests:?}");
        assert!(asked >= 5, "{asked}");
        let others: Vec<_> = audit
            .requests()
            .into_iter()
            .filter(|request| request.verb != "watch")
            .collect();
        assert!(others.is_empty(), "{others:#?}");
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_rollout_of_a_wrong_label_stops_before_it_takes_a_working_tiproxy_away() {
    harness::run(async |test| {
        let _operator = test.start_operator_with(&QUICKLY).await;
        let mut group = of_version("v1.3.2");
        group["spec"]["minReadySeconds"] = json!(10);
        group["spec"]["template"]["spec"]["updateStrategy"] = json!({"config": "Restart"});
        test.apply(&group).await;
        settled(test, 1).await;
        let before = pod(test).await;
        let labelled = |value: &str| json!({"template": {"spec": {"server": {"labels": {"group": value}}, "balance": {"labelName": "group"}}}});
        edit(test, labelled("olpt")).await;
        let responder = respond_for(test, 1, Says::healthy(&with_label(1))).await;
        let message = group_becomes(test, "Ready", "False", "BackendsUnavailable").await;
        assert!(
            message.contains("proxy-1") && message.contains("group=olpt"),
            "{message}"
        );
        tokio::time::sleep(Duration::from_secs(12)).await;
        assert_eq!(pod(test).await.uid(), before.uid());
        assert!(pod(test).await.metadata.deletion_timestamp.is_none());
        drop(responder);
        // The correction goes on by itself.
        edit(test, labelled("oltp")).await;
        group_becomes(test, "Ready", "True", "AllReady").await;
        let pods = test
            .api::<Pod>()
            .list(&ListParams::default())
            .await
            .expect("Pods");
        assert_eq!(pods.items.len(), 1);
        assert_ne!(pods.items[0].uid(), before.uid());
    });
}
