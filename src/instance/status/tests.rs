//! What a TiProxy's status says of each state of its Pod, and when.

use serde_json::{Value, json};

use super::*;
use crate::api::name;
use crate::instance::testing::{Scene, ago, container, now, ready_status};
use crate::proxy_api::{Answer, Backend, Health, Observation, ProxyState};
use crate::runtime::write_error::{WriteError, WriteFailure};

fn report(scene: &Scene, error: Option<&ExecuteError>) -> Report {
    let found = status(
        &scene.observed(),
        scene.instance().as_ref(),
        &scene.plan(),
        error,
        scene.now,
    );
    // What was written is what is said the next time, however late.
    let mut later = scene.clone();
    later.object.status = Some(found.status.clone());
    later.now += k8s_openapi::jiff::SignedDuration::from_millis(2500);
    let again = status(
        &later.observed(),
        later.instance().as_ref(),
        &scene.plan(),
        error,
        later.now,
    );
    assert_eq!(again.status, found.status);
    found
}

/// Ready's and the other two conditions' status, the reason and the message.
fn brief(status: &TiProxyStatus) -> (String, String, String) {
    let find = |kind: &str| condition::find(&status.conditions, kind).unwrap();
    let kinds = ["Ready", "Reconciling", "Stalled"];
    for kind in kinds {
        assert_eq!(find(kind).observed_generation, Some(2));
        assert_eq!(find(kind).reason, find("Ready").reason);
    }
    let holding: Vec<&str> = kinds
        .into_iter()
        .filter(|kind| find(kind).status == "True")
        .collect();
    let ready = find("Ready");
    (holding.join(" "), ready.reason.clone(), ready.message.clone())
}

#[track_caller]
fn check(scene: &Scene, holding: &str, reason: Reason, message: &str) {
    let report = report(scene, None);
    let expected = (holding.to_owned(), reason.as_str().to_owned(), message.to_owned());
    assert_eq!(brief(&report.status), expected);
    assert_eq!(report.status.observed_generation, Some(2));
}

fn waiting(reason: &str) -> Value {
    let state = json!({"waiting": {"reason": reason, "message": "why"}});
    json!({"status": {"phase": "Pending", "conditions": null, "containerStatuses": [container(&state)]}})
}

fn outdated() -> Value {
    json!({"spec": {"version": "v1.3.1"}})
}

#[test]
fn each_state_of_the_pod_is_told() {
    let ready = Scene::ready;
    check(&ready(), "Ready", Reason::AllReady, "Pod web-tiproxy-0 is ready");
    check(
        &Scene::bare(),
        "Reconciling",
        Reason::Progressing,
        "its Pod is being created",
    );
    check(
        &ready().pod(&json!({"status": {"conditions": null}})),
        "Reconciling",
        Reason::NotReady,
        "Pod web-tiproxy-0 runs and is not ready; TiProxy answers its readiness probe when it has found PD and a \
         healthy TiDB",
    );
    check(
        &ready().pod(&waiting("ContainerCreating")),
        "Reconciling",
        Reason::Progressing,
        "Pod web-tiproxy-0 is starting",
    );
    check(
        &ready().pod(&waiting("ErrImagePull")),
        "Stalled",
        Reason::ImageUnavailable,
        "Pod web-tiproxy-0: image pingcap/tiproxy:v1.3.2 cannot be pulled: why; correct spec.template.spec.image or \
         version, or make the image available",
    );
    check(
        &ready().pod(&waiting("CreateContainerError")),
        "Reconciling",
        Reason::NotReady,
        "Pod web-tiproxy-0: why",
    );
    check(
        &ready().pod(&json!({"metadata": {"deletionTimestamp": ago(1)}})),
        "Reconciling",
        Reason::Progressing,
        "Pod web-tiproxy-0 is ending",
    );
    check(
        &ready()
            .failures(1)
            .pod(&json!({"status": {"phase": "Succeeded", "startTime": ago(1), "containerStatuses": null}})),
        "Reconciling",
        Reason::Progressing,
        "Pod web-tiproxy-0 ended and is replaced after a pause of 10 s",
    );
    check(
        &ready().failures(1).pod(
            &json!({"status": {"phase": "Failed", "reason": "Evicted", "startTime": ago(1), "containerStatuses": null}}),
        ),
        "Reconciling",
        Reason::NotReady,
        "Pod web-tiproxy-0: Evicted: its container ended",
    );
}

#[test]
fn trouble_with_what_was_asked_for_before_is_not_told() {
    for pod in [
        waiting("ErrImagePull"),
        waiting("CrashLoopBackOff"),
        json!({"status": {"phase": "Running"}}),
    ] {
        check(
            &Scene::ready().object(&outdated()).pod(&pod),
            "Reconciling",
            Reason::Progressing,
            "Pod web-tiproxy-0 is replaced",
        );
        check(
            &Scene::ready()
                .pod(&pod)
                .pod(&json!({"metadata": {"deletionTimestamp": ago(1)}})),
            "Reconciling",
            Reason::Progressing,
            "Pod web-tiproxy-0 is ending",
        );
    }
}

#[test]
fn what_is_asked_for_is_judged_before_the_pod() {
    let invalid = Scene::ready().object(&json!({"spec": {"discovery": null}}));
    check(
        &invalid,
        "Stalled",
        Reason::InvalidSpec,
        "TiProxy web-0: spec.discovery.pdAddrs is empty; the group controller sets it",
    );
    check(
        &Scene::ready().deleted(&[name::FINALIZER]),
        "Reconciling",
        Reason::Leaving,
        "Pod web-tiproxy-0 is ending",
    );
    check(
        &invalid.deleted(&[name::FINALIZER]),
        "Reconciling",
        Reason::Leaving,
        "Pod web-tiproxy-0 is ending",
    );
    let conflict = "exists and is not ours: it has neither an owner nor our labels; delete it, or create the \
                    TiProxyGroup under another name";
    let foreign = json!({"metadata": {"ownerReferences": null, "labels": null}});
    check(
        &Scene::ready().pod(&foreign),
        "Stalled",
        Reason::NameConflict,
        &format!("Pod web-tiproxy-0 {conflict}"),
    );
    check(
        &Scene::ready().config_map(&foreign),
        "Stalled",
        Reason::NameConflict,
        &format!("ConfigMap web-tiproxy-0 {conflict}"),
    );
}

#[test]
fn a_paused_cluster_is_told_when_it_holds_something_back() {
    let paused = || Scene::ready().paused();
    check(&paused(), "Ready", Reason::AllReady, "Pod web-tiproxy-0 is ready");
    let told = "the Cluster is paused; unset its spec.paused to go on";
    check(&paused().no_pod(), "Reconciling", Reason::Paused, told);
    check(&paused().object(&outdated()), "Reconciling", Reason::Paused, told);
}

#[test]
fn a_write_that_failed_is_told_unless_the_next_pass_settles_it() {
    let failed = |reason| {
        ExecuteError::Write(WriteError {
            reason,
            verb: "create",
            kind: "Pod".to_owned(),
            namespace: "ns".to_owned(),
            name: "web-tiproxy-0".to_owned(),
            message: "no".to_owned(),
        })
    };
    for (reason, holding, told) in [
        (WriteFailure::Conflict, "Ready", "AllReady"),
        (WriteFailure::QuotaExceeded, "Stalled", "QuotaExceeded"),
        (WriteFailure::Transient, "Reconciling", "WriteFailed"),
    ] {
        let error = failed(reason);
        // A Pod that serves is not called unready for it.
        let serving = report(&Scene::ready(), Some(&error)).status;
        assert!(condition::is_true(&serving.conditions, "Ready"), "{reason:?}");
        let found = condition::find(&serving.conditions, holding).unwrap();
        assert_eq!((found.status.as_str(), found.reason.as_str()), ("True", told));
        assert_eq!(serving.current_revision, serving.update_revision);
        if reason != WriteFailure::Conflict {
            let without = report(&Scene::ready().no_pod(), Some(&error));
            let (found, reason, _) = brief(&without.status);
            assert_eq!((found.as_str(), reason.as_str()), (holding, told));
        }
    }
}

#[test]
fn ready_begins_when_the_pod_became_ready() {
    for (stored, what) in [
        (json!([]), "never said before"),
        (
            json!([{"type": "Ready", "status": "False", "reason": "x", "message": "", "lastTransitionTime": ago(5)}]),
            "unready meanwhile, the Pod was not",
        ),
        (
            json!([{"type": "Ready", "status": "True", "reason": "x", "message": "", "lastTransitionTime": ago(500)}]),
            "of the Pod before",
        ),
    ] {
        let scene = Scene::ready()
            .object(&json!({"status": {"conditions": stored}}))
            .pod(&json!({"status": ready_status(100)}));
        let status = report(&scene, None).status;
        let ready = condition::find(&status.conditions, "Ready").unwrap();
        assert_eq!(ready.last_transition_time.0.to_string(), ago(100), "{what}");
    }
}

#[test]
fn revisions_and_replicas_follow_the_pod() {
    let old = json!({"status": {"currentRevision": "before", "updateRevision": "before", "conditions": [],
        "collisionCount": 7}});
    let of = |scene: Scene| {
        let status = report(&scene, None).status;
        assert_eq!(status.collision_count, Some(7), "what others write stays");
        let revision = scene.instance().unwrap().revision;
        let known = |name: Option<String>| name.map(|name| if name == revision { "asked" } else { "before" });
        (
            status.replicas,
            known(status.current_revision),
            known(status.update_revision),
        )
    };
    let scene = || Scene::ready().object(&old);
    assert_eq!(of(scene()), (Some(1), Some("asked"), Some("asked")));
    assert_eq!(of(scene().no_pod()), (Some(0), Some("before"), Some("asked")));
    assert_eq!(
        of(scene().pod(&json!({"status": {"conditions": null}}))),
        (Some(1), Some("before"), Some("asked"))
    );
    assert_eq!(
        of(scene().pod(&json!({"metadata": {"deletionTimestamp": ago(1)}}))),
        (Some(0), Some("before"), Some("asked"))
    );
    let ended = json!({"status": {"phase": "Failed", "startTime": ago(1)}});
    assert_eq!(of(scene().pod(&ended)).0, Some(0));
}

#[test]
fn the_first_seconds_and_the_last_are_not_told() {
    let born = |seconds| Scene::bare().object(&json!({"metadata": {"creationTimestamp": ago(seconds)}}));
    let after = |scene: &Scene| report(scene, None).after;
    assert_eq!(after(&born(0)), Duration::from_secs(3));
    assert_eq!(after(&born(1)), Duration::from_secs(2));
    assert_eq!(after(&born(3)), Duration::ZERO);
    let reported = json!({"status": {"conditions": [
        {"type": "Ready", "status": "True", "reason": "x", "message": "", "lastTransitionTime": ago(500)},
    ]}});
    assert_eq!(after(&born(0).object(&reported)), Duration::ZERO);
    // What is ready, or needs somebody, is told at once.
    let young = json!({"metadata": {"creationTimestamp": ago(0)}});
    assert_eq!(after(&Scene::ready().object(&young)), Duration::ZERO);
    let stalled = Scene::ready().object(&young).pod(&waiting("ErrImagePull"));
    assert_eq!(after(&stalled), Duration::ZERO);

    let deleted = Scene::ready().object(&reported).deleted(&[name::FINALIZER]);
    assert_eq!(after(&deleted), Duration::from_secs(3), "its Pod is deleted now");
    let ending = json!({"metadata": {"deletionTimestamp": ago(-54), "deletionGracePeriodSeconds": 55}});
    let mut going = deleted.pod(&ending);
    assert_eq!(after(&going), Duration::from_secs(2), "deleted a second ago");
    going.now = now() + k8s_openapi::jiff::SignedDuration::from_secs(5);
    assert_eq!(after(&going), Duration::ZERO);
}

#[test]
fn what_follows_the_news_that_it_is_not_ready_is_told_after_a_while() {
    let not_ready = |seconds, generation: i64| {
        json!({"metadata": {"creationTimestamp": ago(500)}, "status": {"conditions": [{
            "type": "Ready", "status": "False", "reason": "x", "message": "",
            "observedGeneration": generation, "lastTransitionTime": ago(seconds),
        }]}})
    };
    let generation = Scene::bare().object.metadata.generation.unwrap();
    let after = |scene: Scene, object: &serde_json::Value| report(&scene.object(object), None).after;
    assert_eq!(
        after(Scene::bare(), &not_ready(1, generation)),
        Duration::from_secs(2)
    );
    assert_eq!(after(Scene::bare(), &not_ready(3, generation)), Duration::ZERO);
    assert_eq!(
        after(Scene::bare(), &not_ready(1, generation - 1)),
        Duration::ZERO,
        "nobody knows yet that the new spec is worked on"
    );
    assert_eq!(after(Scene::ready(), &not_ready(1, generation)), Duration::ZERO);
}

fn asked(health: Health, backends: &[(&str, bool)], connections: u64) -> ProxyState {
    let backends = backends.iter().map(|(address, fits)| {
        let backend = Backend {
            is_healthy: true,
            label_fits: Some(*fits),
            connections: 0,
        };
        ((*address).to_owned(), backend)
    });
    ProxyState {
        observation: Some(Observation {
            at: now(),
            answer: Some(Answer {
                health,
                backends: backends.collect(),
                ..Answer::default()
            }),
        }),
        connections: Some(connections),
        migrations: Migrations::Unknown,
        ..ProxyState::default()
    }
}

fn told<'a>(report: &'a Report, kind: &str) -> (&'a str, &'a str) {
    let found = condition::find(&report.status.conditions, kind).unwrap();
    (&found.status, &found.reason)
}

#[test]
fn a_pod_that_is_unready_for_lack_of_tidb_says_so() {
    let unready = Scene::ready().pod(&json!({"status": {"conditions": null}}));
    let starved = unready
        .clone()
        .proxy(asked(Health::Unhealthy { reason: None }, &[], 0));
    let found = report(&starved, None);
    assert_eq!(told(&found, "Ready"), ("False", "BackendsUnavailable"));
    assert_eq!(told(&found, "BackendsAvailable"), ("False", "NoBackendFound"));
    let other = unready.proxy(asked(Health::Healthy, &[("a", true)], 0));
    assert_eq!(told(&report(&other, None), "Ready"), ("False", "NotReady"));
}

#[test]
fn a_ready_pod_whose_clients_are_refused_is_not_ready_and_any_other_is() {
    let association =
        json!({"spec": {"server": {"labels": {"group": "oltp"}}, "balance": {"labelName": "group"}}});
    let scene = || Scene::ready().object(&association);
    let differs = report(&scene().proxy(asked(Health::Healthy, &[("a", false)], 0)), None);
    assert_eq!(told(&differs, "Ready"), ("False", "BackendsUnavailable"));
    assert_eq!(
        told(&differs, "BackendsAvailable"),
        ("False", "NoBackendWithLabel")
    );
    let fits = report(&scene().proxy(asked(Health::Healthy, &[("a", true)], 0)), None);
    assert_eq!(told(&fits, "Ready"), ("True", "AllReady"));
    // The kubelet judges this, in its own time.
    let outage = Scene::ready().proxy(asked(Health::Unhealthy { reason: None }, &[], 0));
    let outage = report(&outage, None);
    assert_eq!(told(&outage, "Ready"), ("True", "AllReady"));
    assert_eq!(told(&outage, "BackendsAvailable"), ("False", "NoBackendFound"));
}

#[test]
fn connections_are_those_that_were_told_last() {
    let scene = || Scene::ready().object(&json!({"status": {"connections": 7}}));
    let connections = |scene: &Scene| report(scene, None).status.connections;
    assert_eq!(connections(&scene()), Some(7), "nobody was asked yet");
    assert_eq!(
        connections(&scene().proxy(asked(Health::Healthy, &[], 9))),
        Some(9)
    );
    let mut lost = asked(Health::Healthy, &[], 9);
    lost.connections = None;
    assert_eq!(connections(&scene().proxy(lost)), None);
    assert_eq!(connections(&scene().no_pod()), None);
}

#[test]
fn failed_migrations_are_a_warning_until_it_is_known_that_they_ended() {
    let with = |migrations| {
        let proxy = ProxyState {
            migrations,
            ..asked(Health::Healthy, &[], 0)
        };
        Scene::ready().proxy(proxy)
    };
    let warning = |scene: &Scene| {
        let report = report(scene, None);
        let told = told(&report, "ConfigWarnings");
        (told.0.to_owned(), told.1.to_owned())
    };
    let failing = ("True".to_owned(), "SessionMigrationFailing".to_owned());
    let fine = ("False".to_owned(), "NoWarnings".to_owned());
    assert_eq!(warning(&with(Migrations::Unknown)), fine);
    assert_eq!(warning(&with(Migrations::Working)), fine);
    assert_eq!(warning(&with(Migrations::Failing)), failing);
    let mut again = with(Migrations::Unknown);
    again.object.status = Some(report(&with(Migrations::Failing), None).status);
    assert_eq!(warning(&again), failing);
    again.proxy.migrations = Migrations::Working;
    assert_eq!(warning(&again), fine);
}

mod leave;
mod volumes;
