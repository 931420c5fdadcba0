//! How a Pod leaves, step by step.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::SignedDuration;

use super::*;
use crate::instance::testing::{container, now};
use crate::proxy_api::{Answer, Observation, ProxyState};

/// Clients have a minute; the Pod is needed until it is made to leave by one of these.
fn reasons() -> Vec<(&'static str, Scene)> {
    let ready = || Scene::ready().drain();
    vec![
        ("Deleted", ready().deleted(&[name::FINALIZER])),
        ("Offline", ready().offline()),
        ("Suspended", ready().suspended()),
        (
            "Outdated",
            ready().object(&json!({"spec": {"version": OTHER_VERSION}})),
        ),
    ]
}

/// What TiProxy said last, and since when it has had no client.
fn asked(connections: Option<u64>, quiet_for: Option<i64>) -> ProxyState {
    ProxyState {
        observation: Some(Observation {
            at: now(),
            answer: connections.map(|connections| Answer {
                connections: Some(connections),
                ..Answer::default()
            }),
        }),
        connections,
        quiet_since: quiet_for.map(|seconds| now() - SignedDuration::from_secs(seconds)),
        ..ProxyState::default()
    }
}

fn begin() -> String {
    let begin = format!(r#"{{"{}":"{}"}}"#, name::ANNOTATION_DRAIN_BEGIN, ago(0));
    format!(r#"patch pod uid-pod@20 {{"annotations":{begin},"labels":{{"core.pingcap.com/serving":null}}}}"#)
}

const HIDE: &str = r#"patch pod uid-pod@20 {"labels":{"core.pingcap.com/serving":null}}"#;
const REVIVE: &str = r#"patch pod uid-pod@20 {"annotations":{"core.pingcap.com/tiproxy-graceful-shutdown-begin-time":null},"labels":{"core.pingcap.com/serving":"true"}}"#;

/// The steps of a Pod, whatever makes it leave; `{}` stands for the reason.
#[track_caller]
fn check_all(what: &str, change: impl Fn(Scene) -> Scene, expected: &[&str], recheck: Option<u64>) {
    for (reason, scene) in reasons() {
        let scene = change(scene);
        let expected: Vec<String> = expected.iter().map(|step| step.replace("{}", reason)).collect();
        let plan = scene.plan();
        assert_eq!(brief(&plan), expected, "{what}: {reason}");
        assert_eq!(plan.recheck, recheck.map(Duration::from_secs), "{what}: {reason}");
        assert!(plan.waiting.is_some(), "{what}: {reason}");
        assert_eq!(scene.plan(), plan, "{what}: {reason}: the same input");
    }
}

#[test]
fn a_pod_leaves_by_one_path_whatever_the_reason() {
    let marked = |text: &str| json!({"metadata": {"annotations": {name::ANNOTATION_DRAIN_BEGIN: text}}});
    check_all("it begins", |scene| scene, &[&begin()], Some(60));
    for text in ["", "yesterday", &ago(-61)] {
        let change = |scene: Scene| scene.pod(&marked(text));
        check_all("its begin cannot be believed", change, &[&begin()], Some(60));
    }
    check_all("it waits", |scene| scene.leaves(20), &[], Some(40));
    check_all("a clock is ahead", |scene| scene.leaves(-60), &[], Some(120));
    check_all(
        "somebody puts the label back",
        |scene| {
            scene
                .leaves(20)
                .pod(&json!({"metadata": {"labels": {name::LABEL_SERVING: "true"}}}))
        },
        &[HIDE],
        Some(40),
    );
    check_all(
        "it has clients",
        |scene| scene.leaves(20).proxy(asked(Some(3), None)),
        &[],
        Some(40),
    );
    check_all(
        "it does not answer",
        |scene| scene.leaves(20).proxy(asked(None, None)),
        &[],
        Some(40),
    );
    check_all(
        "it has had no client for a while",
        |scene| scene.leaves(20).proxy(asked(Some(0), Some(5))),
        &[],
        Some(10),
    );
    check_all(
        "it had none before either, but new ones may be on their way",
        |scene| scene.leaves(5).proxy(asked(Some(0), Some(500))),
        &[],
        Some(10),
    );
    check_all(
        "the deadline comes first",
        |scene| scene.leaves(55).proxy(asked(Some(0), Some(2))),
        &[],
        Some(5),
    );
    check_all(
        "it ends",
        |scene| {
            scene
                .leaves(20)
                .pod(&json!({"metadata": {"deletionTimestamp": ago(-5)}}))
        },
        &[],
        Some(35),
    );
}

#[test]
fn a_pod_whose_clients_have_left_ends_within_seconds() {
    let drained = "delete pod uid-pod@20 {} Drained in Some(5)";
    check_all(
        "quiet for long enough",
        |scene| scene.leaves(20).proxy(asked(Some(0), Some(15))),
        &[drained],
        None,
    );
    check_all(
        "and never a client since it leaves",
        |scene| scene.leaves(15).proxy(asked(Some(0), Some(500))),
        &[drained],
        None,
    );
    for (reason, scene) in reasons() {
        let serving = json!({"metadata": {"labels": {name::LABEL_SERVING: "true"}}});
        let scene = scene.leaves(20).proxy(asked(Some(0), Some(15))).pod(&serving);
        let steps = brief(&scene.plan());
        assert_eq!(steps, [HIDE], "not before it is out of the Services: {reason}");
    }
    let short = json!({"spec": {"overlay": {"pod": {"spec": {"terminationGracePeriodSeconds": 2}}}}});
    let scene = Scene::ready().drain().offline().object(&short);
    check(
        "a Pod that has less time anyway",
        &scene.leaves(20).proxy(asked(Some(0), Some(15))),
        &["delete pod uid-pod@20 Offline Drained in Some(2)"],
        Some("Pod web-tiproxy-0 is ending"),
    );
}

#[test]
fn what_tiproxy_said_before_it_was_quiet_for_long_enough_does_not_count() {
    let heard = |seconds: i64, answers: bool| {
        let mut proxy = asked(answers.then_some(0), Some(20));
        if let Some(observation) = &mut proxy.observation {
            observation.at = now() - SignedDuration::from_secs(seconds);
        }
        proxy
    };
    let next_answer = Some(Duration::from_millis(500));
    for (seconds, answers, gone) in [
        (0, true, true),
        (5, true, true),
        (6, true, false),
        (0, false, false),
    ] {
        for (reason, scene) in reasons() {
            let plan = scene.leaves(20).proxy(heard(seconds, answers)).plan();
            let what = format!("{seconds} {answers} {reason}");
            assert_eq!(!plan.actions.is_empty(), gone, "{what}");
            assert_eq!(plan.recheck, next_answer.filter(|_| !gone), "{what}");
        }
    }
}

#[test]
fn at_the_deadline_it_goes_in_every_state() {
    for (what, proxy, connected) in [
        ("nobody was asked", ProxyState::default(), "None"),
        ("out of reach", asked(None, None), "None"),
        ("with clients", asked(Some(3), None), "Some(3)"),
        ("just empty", asked(Some(0), Some(1)), "Some(0)"),
    ] {
        let gone = format!("delete pod uid-pod@20 {{}} Deadline {{ connected: {connected} }} in Some(55)");
        for age in [60, 61, 100_000] {
            check_all(
                what,
                |scene| scene.leaves(age).proxy(proxy.clone()),
                &[&gone],
                None,
            );
        }
        let serving = json!({"metadata": {"labels": {name::LABEL_SERVING: "true"}}});
        let vandalised = |scene: Scene| scene.leaves(60).proxy(proxy.clone()).pod(&serving);
        check_all(what, vandalised, &[&gone], None);
    }
}

#[test]
fn the_timeout_is_the_current_one() {
    let with = |seconds: i64| {
        Scene::ready()
            .offline()
            .object(&json!({"spec": {"drain": {"timeoutSeconds": seconds}}}))
    };
    let gone = "delete pod uid-pod@20 Offline Deadline { connected: Some(3) } in Some(55)";
    for (seconds, expected, recheck) in [
        (600, None, Some(570)),
        (31, None, Some(1)),
        (30, Some(gone), None),
        (5, Some(gone), None),
        (0, Some(gone), None),
    ] {
        let scene = with(seconds).leaves(30).proxy(asked(Some(3), None));
        let plan = scene.plan();
        assert_eq!(
            brief(&plan),
            Vec::from_iter(expected.map(ToOwned::to_owned)),
            "{seconds}"
        );
        assert_eq!(plan.recheck, recheck.map(Duration::from_secs), "{seconds}");
    }
    check(
        "switched off",
        &with(0),
        &["delete pod uid-pod@20 Offline Undrained in Some(55)"],
        Some("Pod web-tiproxy-0 is ending"),
    );
    // Neither too long for a time nor for a clock.
    let far = with(604_800).pod(&json!({"metadata": {"labels": {name::LABEL_SERVING: null},
        "annotations": {name::ANNOTATION_DRAIN_BEGIN: "-009999-01-02T01:59:59Z"}}}));
    assert_eq!(
        brief(&far.plan()),
        ["delete pod uid-pod@20 Offline Deadline { connected: None } in Some(55)"]
    );
}

#[test]
fn a_pod_in_which_nothing_runs_is_deleted_at_once() {
    let waiting = |reason: &str| {
        let state = json!({"waiting": {"reason": reason, "message": "why"}});
        json!({"status": {"phase": "Pending", "conditions": null, "containerStatuses": [container(&state)]}})
    };
    let terminated = json!({"terminated": {"exitCode": 1, "finishedAt": ago(1)}});
    for (what, pod) in [
        (
            "unscheduled",
            json!({"status": {"phase": "Pending", "conditions": null, "containerStatuses": null}}),
        ),
        ("nobody has looked at it", json!({"status": null})),
        ("its image is missing", waiting("ImagePullBackOff")),
        ("it crashes", waiting("CrashLoopBackOff")),
        (
            "its container has ended and is about to start again",
            json!({"status": {"phase": "Running", "conditions": null, "containerStatuses": [container(&terminated)]}}),
        ),
        ("evicted", ended("Failed", 1)),
        ("ended", ended("Succeeded", 1)),
    ] {
        let gone = "delete pod uid-pod@20 {} NothingRan in Some(55)";
        check_all(what, |scene| scene.failures(5).pod(&pod), &[gone], None);
        // Whoever was connected was cut by that.
        let gone = "delete pod uid-pod@20 {} Stopped in Some(55)";
        check_all(what, |scene| scene.failures(5).leaves(3).pod(&pod), &[gone], None);
    }
}

#[test]
fn what_is_asked_for_need_not_be_valid_to_leave() {
    let invalid = json!({"spec": {"config": "labels={\"", "discovery": null}});
    for (reason, scene) in reasons().into_iter().filter(|(reason, _)| *reason != "Outdated") {
        let scene = scene.object(&invalid);
        assert_eq!(brief(&scene.plan()), [begin()], "{reason}");
        let gone = scene.clone().leaves(60).plan();
        let expected = format!("delete pod uid-pod@20 {reason} Deadline {{ connected: None }} in None");
        assert_eq!(brief(&gone), [expected], "{reason}");
        let drained = scene.leaves(20).proxy(asked(Some(0), Some(15))).plan();
        let expected = format!("delete pod uid-pod@20 {reason} Drained in Some(5)");
        assert_eq!(brief(&drained), [expected], "{reason}");
    }
}

#[test]
fn a_tiproxy_that_is_to_have_no_pod_gets_none() {
    let old = json!({"data": {"config.toml": "old"}, "metadata": {"labels": {name::LABEL_REVISION: "old"}}});
    for (what, scene) in [
        ("offline", Scene::ready().drain().offline()),
        ("suspended", Scene::ready().drain().suspended()),
    ] {
        check(what, &scene.clone().no_pod(), &[], None);
        check(
            what,
            &scene.clone().no_pod().no_config_map().no_claims(),
            &[],
            None,
        );
        check(what, &scene.clone().no_pod().config_map(&old), &[], None);
        let ending = json!({"metadata": {"deletionTimestamp": ago(1)}});
        check(
            what,
            &scene.clone().pod(&ending),
            &[],
            Some("Pod web-tiproxy-0 is ending"),
        );
        // While it leaves, nothing else changes.
        let busy = scene
            .clone()
            .leaves(1)
            .config_map(&old)
            .object(&template_annotations(&["note"]));
        assert_eq!(brief(&busy.plan()), Vec::<String>::new(), "{what}");
        let orphan = json!({"metadata": {"ownerReferences": null}});
        check(
            "one that lost its owner is taken back before it leaves",
            &scene.clone().pod(&orphan),
            &["adopt pod uid-pod@20"],
            Some("Pod web-tiproxy-0 is taken back"),
        );
        let foreign = json!({"metadata": {"ownerReferences": null, "labels": null}});
        check("somebody's Pod is not touched", &scene.pod(&foreign), &[], None);
    }
}

#[test]
fn a_paused_cluster_lets_only_go_what_is_deleted() {
    let told = Some("the Cluster is paused; unset its spec.paused to go on");
    for (reason, scene) in reasons() {
        let scene = scene.paused();
        if reason == "Deleted" {
            assert_eq!(brief(&scene.plan()), [begin()]);
            let over = scene.leaves(60).plan();
            assert_eq!(
                brief(&over),
                ["delete pod uid-pod@20 Deleted Deadline { connected: None } in Some(55)"]
            );
            continue;
        }
        check(reason, &scene, &[], told);
        check(reason, &scene.clone().leaves(100), &[], told);
        if reason != "Outdated" {
            check(reason, &scene.no_pod(), &[], None);
        }
    }
    check(
        "one that is to stay",
        &Scene::ready().drain().leaves(5).paused(),
        &[],
        told,
    );
}

#[test]
fn a_pod_that_need_not_leave_any_more_comes_back() {
    let ready = || Scene::ready().drain();
    check("in the midst", &ready().leaves(30), &[REVIVE], None);
    check(
        "after the deadline, before its delete",
        &ready().leaves(100),
        &[REVIVE],
        None,
    );
    check("once it is back", &ready(), &[], None);
    let unreadable = json!({"metadata": {"annotations": {name::ANNOTATION_DRAIN_BEGIN: "soon"}}});
    check(
        "with a begin that nobody can read",
        &ready().pod(&unreadable),
        &[REVIVE],
        None,
    );
    check(
        "together with what else is missing",
        &ready()
            .leaves(30)
            .pod(&json!({"metadata": {"labels": {name::LABEL_CLUSTER: null}}})),
        &[&REVIVE.replace(
            r#"{"core.pingcap.com/serving":"true"}"#,
            r#"{"core.pingcap.com/serving":"true","pingcap.com/cluster":"basic"}"#,
        )],
        None,
    );
    check(
        "it is too late",
        &ready()
            .leaves(30)
            .pod(&json!({"metadata": {"deletionTimestamp": ago(1)}})),
        &[],
        Some("Pod web-tiproxy-0 is ending"),
    );
    check(
        "a label that was taken away by hand stays away",
        &ready().pod(&json!({"metadata": {"labels": {name::LABEL_SERVING: null}}})),
        &[],
        None,
    );
    let invalid = json!({"spec": {"config": "labels={\""}});
    check(
        "the spec cannot be carried out",
        &ready().object(&invalid).leaves(30),
        &[REVIVE],
        None,
    );
    check("and it was not leaving", &ready().object(&invalid), &[], None);
}

#[test]
fn what_refuses_claims_takes_no_pod_away_and_calls_a_leave_off() {
    let scene = || {
        Scene::of(crate::instance::testing::with_volumes())
            .drain()
            .object(&json!({"spec": {"version": OTHER_VERSION}}))
    };
    let foreign = json!({"metadata": {"labels": {name::LABEL_MANAGED_BY: "x"}, "ownerReferences": null}});
    let claim = "data-web-tiproxy-0";
    let taken = Some("PersistentVolumeClaim data-web-tiproxy-0 is somebody else's");
    check("it does not begin", &scene().claim(claim, &foreign), &[], taken);
    check(
        "it is called off",
        &scene().claim(claim, &foreign).leaves(30),
        &[REVIVE],
        taken,
    );
    let mut without = scene();
    without.claims.retain(|found| found.name_any() != claim);
    let made = format!("create claim {claim}");
    assert_eq!(brief(&without.plan()), [made, begin()], "claims come first");
    // What has begun ends in time, whatever is refused.
    let gone = "delete pod uid-pod@20 Outdated Deadline { connected: None } in Some(55)";
    assert_eq!(brief(&without.clone().leaves(60).plan()), [gone]);
    assert!(brief(&without.leaves(30).plan()).is_empty());
}

#[test]
fn every_pod_of_a_tiproxy_leaves() {
    for (reason, scene) in reasons().into_iter().filter(|(reason, _)| *reason != "Outdated") {
        let other: Pod = {
            let mut pod = scene.pod.clone().unwrap();
            pod.metadata.name = Some("another".to_owned());
            pod.metadata.uid = Some("uid-other".to_owned());
            pod
        };
        let mut observed = scene.clone().leaves(60).proxy(asked(Some(3), None)).observed();
        observed.pods.push(Arc::new(other));
        let of = |observed: &Observed| plan(observed, scene.instance().as_ref(), scene.now);
        let steps = brief(&of(&observed));
        let expected = [
            begin().replace("uid-pod", "uid-other"),
            format!("delete pod uid-pod@20 {reason} Deadline {{ connected: Some(3) }} in Some(55)"),
        ];
        assert_eq!(steps, expected, "{reason}");
        observed.pods.reverse();
        assert_eq!(brief(&of(&observed)), expected, "{reason}: in any order");
    }
}

#[test]
fn what_is_waited_for_is_told_without_a_countdown() {
    let leaving = |proxy: ProxyState| Scene::ready().drain().offline().leaves(20).proxy(proxy);
    let words = |scene: &Scene| scene.plan().waiting.unwrap();
    let until = "none has connected for 15 s, at the latest at 2026-11-23T10:00:40Z";
    for (proxy, expected) in [
        (
            ProxyState::default(),
            format!("how many clients are connected is not known yet; it goes when none is and {until}"),
        ),
        (
            asked(Some(0), Some(1)),
            format!("no client is connected; it goes when it stays so and {until}"),
        ),
        (
            asked(Some(1), None),
            format!("1 client is connected; it goes when it has left and {until}"),
        ),
        (
            asked(Some(20), None),
            format!("20 clients are connected; it goes when they have left and {until}"),
        ),
        (
            asked(None, None),
            "how many clients are connected cannot be read from TiProxy's API on port 3080, so it goes at \
             2026-11-23T10:00:40Z; look at the NetworkPolicies"
                .to_owned(),
        ),
    ] {
        let scene = leaving(proxy);
        assert_eq!(words(&scene), format!("Pod web-tiproxy-0 leaves: {expected}"));
        let mut later = scene.clone();
        later.now += SignedDuration::from_secs(3);
        assert_eq!(words(&later), words(&scene));
    }
    // After a restart of the operator, as many as there were.
    let known = leaving(ProxyState::default()).object(&json!({"status": {"connections": 7}}));
    assert!(
        words(&known).contains(": 7 clients are connected;"),
        "{}",
        words(&known)
    );
}
