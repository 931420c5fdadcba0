//! What is told of a TiProxy whose Pod leaves, or that has none on purpose.

use k8s_openapi::jiff::SignedDuration;

use super::*;
use crate::instance::plan::leave::Leaving;

const DEADLINE: &str = "2026-11-23T10:01:00Z";

/// Clients are connected, or have all left for as long as it takes.
fn proxy(connections: u64) -> ProxyState {
    let mut proxy = asked(Health::Healthy, &[("a", true)], connections);
    if let Some(answer) = proxy.observation.as_mut().unwrap().answer.as_mut() {
        answer.connections = Some(connections);
    }
    proxy.quiet_since = (connections == 0).then(|| now() - SignedDuration::from_secs(60));
    proxy
}

/// It was Ready, and is told so.
fn settled() -> Scene {
    let mut scene = Scene::ready().drain().proxy(proxy(3));
    scene.object.status = Some(report(&scene, None).status);
    scene
}

fn reasons() -> Vec<(&'static str, &'static str, Scene)> {
    vec![
        ("deleted", "Leaving", settled().deleted(&[name::FINALIZER])),
        ("offline", "Leaving", settled().offline()),
        ("suspended", "Suspended", settled().suspended()),
        ("outdated", "Progressing", settled().object(&outdated())),
    ]
}

fn message(report: &Report, kind: &str) -> String {
    let found = condition::find(&report.status.conditions, kind);
    found.map(|found| found.message.clone()).unwrap_or_default()
}

fn drained(report: &Report) -> Option<(&str, &str)> {
    condition::find(&report.status.conditions, "Drained").map(|found| (&*found.status, &*found.reason))
}

#[test]
fn a_drain_is_told_once_from_its_beginning_on() {
    for (what, reason, scene) in reasons() {
        // Together with the write that begins it.
        let first = report(&scene, None);
        assert_eq!(told(&first, "Ready"), ("False", reason), "{what}");
        assert_eq!(told(&first, "Reconciling"), ("True", reason), "{what}");
        assert_eq!(drained(&first), Some(("False", "Draining")), "{what}");
        assert_eq!(told(&first, "BackendsAvailable").0, "Unknown", "{what}");
        let drain = first.status.drain.clone().unwrap();
        let time = |time: Option<Time>| time.unwrap().0.to_string();
        assert_eq!(time(drain.begin_time), ago(0), "{what}");
        assert_eq!(time(drain.deadline), DEADLINE, "{what}");
        assert_eq!(drain.remaining_connections, Some(3), "{what}");
        let words = drain.message.unwrap();
        assert!(
            words.contains("3 clients are connected;") && words.contains(DEADLINE),
            "{words}"
        );
        assert_eq!(
            (message(&first, "Ready"), message(&first, "Drained")),
            (words.clone(), words),
            "{what}"
        );
        assert_eq!(
            (first.status.replicas, first.status.connections),
            (Some(0), Some(3)),
            "{what}"
        );
        if what != "deleted" {
            assert_eq!(first.after, Duration::ZERO, "{what}");
        }
        // The Pod says it meanwhile, and its TiProxy calls itself unhealthy: nothing more is to be said.
        let mut next = scene.leaves(0);
        let version = next.object.metadata.generation;
        next.object.status = Some(first.status.clone());
        next.object.metadata.generation = version;
        next.now += SignedDuration::from_secs(9);
        let answer = next.proxy.observation.as_mut().unwrap().answer.as_mut().unwrap();
        answer.health = Health::Unhealthy { reason: None };
        answer.connections = Some(1);
        assert_eq!(report(&next, None).status, first.status, "{what}");
    }
}

#[test]
fn a_begin_that_was_not_written_is_not_told() {
    let error = ExecuteError::Write(WriteError {
        reason: WriteFailure::Forbidden,
        verb: "patch",
        kind: "Pod".to_owned(),
        namespace: "ns".to_owned(),
        name: "web-tiproxy-0".to_owned(),
        message: "no".to_owned(),
    });
    for (what, _, scene) in reasons() {
        let found = report(&scene, Some(&error));
        assert_eq!(
            (found.status.drain.clone(), drained(&found)),
            (None, None),
            "{what}"
        );
        assert_eq!(told(&found, "Ready").0, "False", "{what}");
        assert_eq!(told(&found, "Stalled"), ("True", "Forbidden"), "{what}");
        // One that was is, whatever failed since.
        let found = report(&scene.leaves(5), Some(&error));
        assert!(found.status.drain.is_some(), "{what}");
    }
}

#[test]
fn the_end_of_a_drain_is_told_only_where_somebody_was_cut_or_the_pod_stays_long() {
    for (what, reason, scene) in reasons() {
        let mut scene = scene.leaves(70);
        let mut began = scene.clone();
        began.now -= SignedDuration::from_secs(65);
        scene.object.status = Some(report(&began, None).status);
        let cut = report(&scene, None);
        assert_eq!(drained(&cut), Some(("True", "DrainComplete")), "{what}");
        assert_eq!(
            message(&cut, "Drained"),
            "the time was over, and 3 clients were still connected"
        );
        assert_eq!(
            (cut.after, cut.status.drain.clone()),
            (Duration::ZERO, None),
            "{what}"
        );
        let empty = report(&scene.clone().proxy(proxy(0)).leaves(30), None);
        assert_eq!(drained(&empty), Some(("True", "DrainComplete")), "{what}");
        assert_eq!(told(&empty, "Ready"), ("False", reason), "{what}");
        assert_eq!(empty.after, Duration::from_secs(3), "{what}");
        let mut silent = scene.clone();
        silent.proxy.observation = None;
        let silent = report(&silent, None);
        assert!(
            message(&silent, "Drained").contains("could not be read"),
            "{what}"
        );
        assert_eq!(silent.after, Duration::from_secs(3), "{what}");

        // It ends: what was told of it stays.
        let ending = json!({"metadata": {"deletionTimestamp": ago(-3), "deletionGracePeriodSeconds": 5}});
        let mut ending = scene.clone().pod(&ending);
        let found = report(&ending, None);
        assert_eq!(drained(&found), Some(("True", "DrainComplete")), "{what}");
        assert_eq!(
            message(&found, "Drained"),
            "all clients have left, or were given all the time there is"
        );
        // The delete was 2 s ago, and that of a TiProxy 1 s.
        let left = if what == "deleted" { 2 } else { 1 };
        assert_eq!(found.after, Duration::from_secs(left), "{what}");
        ending.object.status = Some(cut.status.clone());
        assert_eq!(
            message(&report(&ending, None), "Drained"),
            message(&cut, "Drained"),
            "{what}"
        );
        let gone = report(&scene.no_pod(), None);
        assert_eq!(drained(&gone), None, "{what}");
    }
    let undrained = Scene::ready().offline();
    assert_eq!(
        drained(&report(&undrained, None)),
        None,
        "where there is no drain there is none to tell of"
    );
}

#[test]
fn a_pod_that_comes_back_is_as_before() {
    let before = settled();
    let mut leaving = before.clone().leaves(5);
    leaving.object.status = Some(report(&before.clone().offline(), None).status);
    let after = report(&leaving, None);
    assert_eq!((after.status.drain.clone(), drained(&after)), (None, None));
    assert_eq!(told(&after, "Ready"), ("True", "AllReady"));
    assert_eq!(after.status.replicas, Some(1));
    // A Pod that is out of service is not Ready for what else failed.
    let error = ExecuteError::Write(WriteError {
        reason: WriteFailure::Transient,
        verb: "patch",
        kind: "Pod".to_owned(),
        namespace: "ns".to_owned(),
        name: "web-tiproxy-0".to_owned(),
        message: "no".to_owned(),
    });
    assert_eq!(told(&report(&leaving, Some(&error)), "Ready").0, "False");
}

#[test]
fn a_suspended_tiproxy_is_neither_ready_nor_working_nor_stalled() {
    let is = |scene: &Scene| {
        let report = report(scene, None);
        let (status, reason) = told(&report, "Suspended");
        (status.to_owned(), reason.to_owned())
    };
    let of = |status: &str, reason: &str| (status.to_owned(), reason.to_owned());
    assert_eq!(is(&settled()), of("False", "NotSuspended"));
    assert_eq!(is(&settled().suspended()), of("False", "Draining"));
    assert_eq!(is(&settled().suspended().paused()), of("False", "Paused"));
    let invalid = json!({"spec": {"config": "labels={\""}});
    for scene in vec![
        settled().suspended().no_pod(),
        settled().suspended().no_pod().paused(),
        settled().suspended().no_pod().object(&invalid),
        Scene::bare().suspended(),
    ]
    .into_boxed_slice()
    {
        assert_eq!(is(&scene), of("True", "Suspended"));
        let found = report(&scene, None);
        for kind in ["Ready", "Reconciling", "Stalled"] {
            assert_eq!(told(&found, kind), ("False", "Suspended"), "{kind}");
        }
        assert_eq!(found.after, Duration::ZERO);
        assert!(message(&found, "Ready").contains("suspendCompute"));
    }
    let resumed = report(&settled().no_pod(), None);
    assert_eq!(told(&resumed, "Ready"), ("False", "Progressing"));
    let deleted = settled()
        .suspended()
        .no_pod()
        .deleted(&[name::FINALIZER, "somebody.example/else"]);
    assert_eq!(told(&report(&deleted, None), "Ready"), ("False", "Leaving"));
}

#[test]
fn offline_without_a_pod_waits_for_its_group() {
    let invalid = json!({"spec": {"config": "labels={\""}});
    for scene in [settled(), settled().paused(), settled().object(&invalid)] {
        let found = report(&scene.offline().no_pod(), None);
        assert_eq!(told(&found, "Ready"), ("False", "Leaving"));
        assert_eq!(
            message(&found, "Ready"),
            "its Pod is gone, and its group deletes the TiProxy"
        );
    }
    let paused = report(&settled().offline().paused(), None);
    assert_eq!(told(&paused, "Ready"), ("False", "Paused"));
}

#[test]
fn a_pod_that_its_node_does_not_end_is_lost() {
    let ending = |ago_seconds: i64| {
        json!({"metadata": {"deletionTimestamp": ago(ago_seconds), "deletionGracePeriodSeconds": 55},
            "spec": {"nodeName": "node-1", "containers": []}})
    };
    for (what, reason, scene) in reasons()
        .into_iter()
        .chain([("evicted", "Progressing", settled())])
    {
        let soon = scene.clone().pod(&ending(25));
        assert_eq!(told(&report(&soon, None), "Ready"), ("False", reason), "{what}");
        assert_eq!(soon.plan().recheck, Some(Duration::from_secs(5)), "{what}");
        let lost = scene.pod(&ending(30));
        let found = report(&lost, None);
        assert_eq!(told(&found, "Ready"), ("False", "PodLost"), "{what}");
        assert!(
            message(&found, "Ready").contains("node node-1 has not ended it"),
            "{what}"
        );
        // Of one that is being deleted nothing is told in the first seconds.
        assert!(found.after.is_zero() || what == "deleted", "{what}");
        assert_eq!(lost.plan().recheck, None, "{what}");
        assert_eq!(lost.plan().actions, [], "{what}: never two Pods for one TiProxy");
    }
}

#[test]
fn a_probe_that_fails_beside_a_healthy_tiproxy_is_named() {
    let unready = |running: i64, told: i64, health: Health| {
        let condition = |kind: &str, status: &str| {
            json!({"type": kind, "status": status, "reason": "x", "message": "", "observedGeneration": 2,
                "lastTransitionTime": ago(told)})
        };
        let status = json!({"status": {"conditions": [condition("Ready", "False"), condition("BackendsAvailable", "True")]}});
        let state = container(&json!({"running": {"startedAt": ago(running)}}));
        Scene::ready()
            .object(&status)
            .pod(&json!({"status": {"conditions": null, "containerStatuses": [state]}}))
            .proxy(asked(health, &[("a", true)], 0))
    };
    let words = |scene: &Scene| {
        let found = report(scene, None);
        assert_eq!(told(&found, "Ready"), ("False", "NotReady"));
        message(&found, "Ready")
    };
    let is_probe = |scene: &Scene| words(scene).contains("readiness probe fails");
    let healthy = || unready(15, 15, Health::Healthy);
    assert!(
        words(&healthy()).contains("(HTTP on port 3080)"),
        "{}",
        words(&healthy())
    );
    for (what, scene, wait) in [
        ("it has just started", unready(5, 20, Health::Healthy), 10),
        (
            "its TiDB has just come back",
            unready(500, 12, Health::Healthy),
            3,
        ),
    ] {
        assert!(!is_probe(&scene), "{what}");
        assert_eq!(scene.plan().recheck, Some(Duration::from_secs(wait)), "{what}");
    }
    assert_eq!(healthy().plan().recheck, None);
    let mut silent = healthy();
    silent.proxy.observation = None;
    assert!(!is_probe(&silent), "it was not asked");
    for (probe, expected) in [
        (json!({"type": "tcp"}), "(TCP on port 3080)"),
        (json!({"type": "command"}), "(curl in the container"),
    ] {
        let scene = healthy().object(&json!({"spec": {"probes": {"readiness": probe}}}));
        let mut current = Scene::of(scene.object.clone()).proxy(scene.proxy.clone());
        current.pod.as_mut().unwrap().status = scene.pod.as_ref().unwrap().status.clone();
        assert!(words(&current).contains(expected), "{}", words(&current));
    }
}

#[test]
fn what_leaves_says_the_same_in_plan_and_status() {
    let scene = settled().offline().leaves(10);
    let Leaving {
        message: words,
        connections,
        ..
    } = scene.plan().leaving.unwrap();
    let drain = report(&scene, None).status.drain.unwrap();
    assert_eq!(
        (drain.message, drain.remaining_connections),
        (Some(words), connections)
    );
}

#[test]
fn what_follows_when_its_pod_is_gone_is_told_after_a_while_if_nothing_else_comes() {
    for (deleted, after) in [
        (None, 0),
        (Some(0), 3),
        (Some(1), 2),
        (Some(3), 0),
        (Some(100), 0),
    ] {
        let mut scene = settled().offline();
        // It has left for long, as its status says.
        let leaving = report(&scene.clone().leaves(50), None).status;
        scene.object.status = Some(leaving);
        scene.now += SignedDuration::from_secs(50);
        scene.pod = None;
        scene.pod_deleted = deleted.map(|seconds| scene.now - SignedDuration::from_secs(seconds));
        let found = report(&scene, None);
        assert_eq!(found.after, Duration::from_secs(after), "{deleted:?}");
        assert_eq!(told(&found, "Ready"), ("False", "Leaving"));
    }
}
