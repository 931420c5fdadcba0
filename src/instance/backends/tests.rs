//! What is said of each answer of a TiProxy.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::*;
use crate::instance::testing::{Scene, ago, now, tiproxy};
use crate::proxy_api::{Observation, ProxyState};

const HEALTHY: Health = Health::Healthy;

fn unhealthy(reason: &str) -> Health {
    Health::Unhealthy {
        reason: (!reason.is_empty()).then(|| reason.to_owned()),
    }
}

/// A TiProxy that said this a second ago, of TiDBs that are healthy and whose label fits.
fn answered(health: Health, backends: &[(bool, Option<bool>)]) -> ProxyState {
    answered_at(now() - SignedDuration::from_secs(1), health, backends)
}

fn answered_at(at: Timestamp, health: Health, backends: &[(bool, Option<bool>)]) -> ProxyState {
    let answer = Answer {
        health,
        ..Answer::of_backends(backends)
    };
    ProxyState {
        observation: Some(Observation {
            at,
            answer: Some(answer),
        }),
        ..ProxyState::default()
    }
}

fn out_of_reach() -> ProxyState {
    ProxyState {
        observation: Some(Observation {
            at: now(),
            answer: None,
        }),
        ..ProxyState::default()
    }
}

/// A TiProxy whose spec has these changes, and its Pod.
fn scene(spec: &Value) -> Scene {
    let mut object = serde_json::to_value(tiproxy()).unwrap();
    crate::instance::testing::lay_over(&mut object["spec"], spec);
    Scene::of(serde_json::from_value(object).unwrap())
        .pod(&json!({"metadata": {"creationTimestamp": ago(500)}}))
}

fn associated() -> Scene {
    scene(&json!({"server": {"labels": {"group": "oltp"}}, "balance": {"labelName": "group"}}))
}

/// The Pod runs, and the kubelet does not call it ready.
fn unready(scene: Scene) -> Scene {
    scene.pod(&json!({"status": {"conditions": null}}))
}

fn judged(scene: &Scene) -> (&'static str, &'static str) {
    let found = backends(&scene.observed(), &scene.instance().unwrap());
    (found.status.as_str(), found.reason.as_str())
}

const AVAILABLE: (&str, &str) = ("True", "BackendsHealthy");
const UNKNOWN: (&str, &str) = ("Unknown", "BackendsUnknown");
const NONE_FOUND: (&str, &str) = ("False", "NoBackendFound");
const NONE_LEFT: (&str, &str) = ("False", "BackendsUnhealthy");
const NONE_FITS: (&str, &str) = ("False", "NoBackendWithLabel");

#[test]
fn each_answer_is_judged() {
    let not_ready = || unhealthy("server is not ready");
    for (name, health, backends, plain, with_label) in [
        ("one", HEALTHY, &[(true, None)][..], AVAILABLE, UNKNOWN),
        (
            "one that fits",
            HEALTHY,
            &[(true, Some(true))],
            AVAILABLE,
            AVAILABLE,
        ),
        (
            "one that differs",
            HEALTHY,
            &[(true, Some(false))],
            AVAILABLE,
            NONE_FITS,
        ),
        (
            "one that fits beside one that differs",
            HEALTHY,
            &[(true, Some(false)), (true, Some(true))],
            AVAILABLE,
            AVAILABLE,
        ),
        (
            "the one that fits is down",
            HEALTHY,
            &[(true, Some(false)), (false, Some(true))],
            AVAILABLE,
            NONE_FITS,
        ),
        (
            "one that was not compared yet",
            HEALTHY,
            &[(true, Some(false)), (true, None)],
            AVAILABLE,
            UNKNOWN,
        ),
        ("none yet", not_ready(), &[], NONE_FOUND, NONE_FOUND),
        (
            "none yet, of an older version",
            unhealthy(""),
            &[],
            NONE_FOUND,
            NONE_FOUND,
        ),
        (
            "all down",
            not_ready(),
            &[(false, Some(true))],
            NONE_LEFT,
            NONE_LEFT,
        ),
        // PD is gone, and the metrics still say what was true before.
        (
            "PD is gone",
            not_ready(),
            &[(true, Some(true))],
            NONE_LEFT,
            NONE_LEFT,
        ),
        (
            "it drains",
            unhealthy("draining"),
            &[(true, Some(true))],
            AVAILABLE,
            AVAILABLE,
        ),
        ("it starts", Health::Starting, &[], UNKNOWN, UNKNOWN),
    ] {
        let proxy = answered(health, backends);
        let of = |scene: Scene| judged(&unready(scene).proxy(proxy.clone()));
        assert_eq!(of(scene(&json!({}))), plain, "{name}");
        assert_eq!(of(associated()), with_label, "{name}, with a label");
    }
}

#[test]
fn a_label_counts_where_tiproxy_asks_for_it() {
    let differs = || answered(HEALTHY, &[(true, Some(false))]);
    for (spec, expected) in [
        (
            json!({"config": "labels.a = \"b\"\nbalance.label-name = \"a\""}),
            NONE_FITS,
        ),
        (json!({"balance": {"labelName": "group"}}), AVAILABLE),
        (json!({"server": {"labels": {"group": "oltp"}}}), AVAILABLE),
        (
            json!({"balance": {"labelName": "zone"}, "topology": {"zone": "a"}}),
            NONE_FITS,
        ),
        // It only prefers TiDBs that carry the label.
        (
            json!({"version": "v1.3.0", "balance": {"labelName": "a"}, "server": {"labels": {"a": "b"}}}),
            AVAILABLE,
        ),
    ] {
        assert_eq!(judged(&scene(&spec).proxy(differs())), expected, "{spec}");
    }
    let by_node = scene(&json!({"balance": {"labelName": "zone"}})).located(&json!({"zone": "a"}));
    assert_eq!(judged(&by_node.proxy(differs())), NONE_FITS);
}

#[test]
fn what_the_kubelet_found_counts_as_long_as_labels_do_not_matter() {
    let plain = || scene(&json!({}));
    let by_tcp = || scene(&json!({"probes": {"readiness": {"type": "tcp"}}}));
    let old = || answered_at(now() - SignedDuration::from_secs(400), unhealthy(""), &[]);
    for (name, scene, expected) in vec![
        ("not asked yet", plain(), AVAILABLE),
        ("not asked yet, not ready", unready(plain()), UNKNOWN),
        ("not asked yet, with a label", associated(), UNKNOWN),
        (
            "not asked yet, and the probe looks at the port only",
            by_tcp(),
            UNKNOWN,
        ),
        ("out of reach", plain().proxy(out_of_reach()), AVAILABLE),
        (
            "out of reach, not ready",
            unready(plain()).proxy(out_of_reach()),
            UNKNOWN,
        ),
        (
            "out of reach, with a label",
            associated().proxy(out_of_reach()),
            UNKNOWN,
        ),
        ("asked before it became ready", plain().proxy(old()), AVAILABLE),
        (
            "asked before, with a label",
            associated().proxy(old()),
            NONE_FOUND,
        ),
        (
            "asked, not ready since",
            unready(plain()).proxy(old()),
            NONE_FOUND,
        ),
        ("no Pod", plain().no_pod(), UNKNOWN),
        (
            "its Pod ends",
            plain().pod(&json!({"metadata": {"deletionTimestamp": ago(1)}})),
            UNKNOWN,
        ),
    ] {
        assert_eq!(judged(&scene), expected, "{name}");
    }
}

#[test]
fn after_a_restart_of_the_operator_the_status_counts_until_the_first_answer() {
    let with = |seconds_ago, generation| {
        associated().object(&json!({"status": {"conditions": [{
            "type": "BackendsAvailable", "status": "False", "reason": "NoBackendWithLabel", "message": "why",
            "observedGeneration": generation, "lastTransitionTime": ago(seconds_ago),
        }]}}))
    };
    assert_eq!(judged(&with(100, 2)), NONE_FITS);
    assert_eq!(judged(&with(100, 1)), UNKNOWN, "of an older spec");
    assert_eq!(judged(&with(501, 2)), UNKNOWN, "of an older Pod");
    assert_eq!(
        judged(&with(100, 2).proxy(answered(HEALTHY, &[(true, Some(true))]))),
        AVAILABLE
    );
}

#[test]
fn messages_name_the_label_or_where_pd_is() {
    let message = |scene: &Scene| backends(&scene.observed(), &scene.instance().unwrap()).message;
    let differs = associated().proxy(answered(HEALTHY, &[(true, Some(false))]));
    assert!(message(&differs).starts_with("no healthy TiDB carries the label group=oltp, "));
    let none = scene(&json!({})).proxy(answered(unhealthy(""), &[]));
    assert!(message(&none).contains("PD at basic-pd.ns.svc:2379: "));
}
