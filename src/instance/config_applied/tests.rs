//! A life of a TiProxy under changes of its configuration: what is written, and what is said.

use k8s_openapi::jiff::SignedDuration;
use serde_json::json;

use super::*;
use crate::api::name;
use crate::instance::plan::Action;
use crate::instance::status::status;
use crate::instance::testing::{Scene, ago, container, now, ready_status};
use crate::proxy_api::{Answer, ConfigReading, Observation, ProxyState};

/// What the condition says: its status and its message.
fn said(scene: &Scene) -> (String, String) {
    let condition = condition(
        &scene.observed(),
        scene.instance().as_ref(),
        &scene.plan(),
        scene.now,
    );
    assert_eq!(condition.observed_generation, scene.object.metadata.generation);
    let reason = match condition.status {
        Status::True => "ConfigInEffect",
        Status::False => "ConfigNotInEffect",
        Status::Unknown => "ConfigUnknown",
    };
    assert_eq!(condition.reason, reason);
    (condition.status.as_str().to_owned(), condition.message)
}

#[track_caller]
fn check(what: &str, scene: &Scene, expected: &str, message: &str) {
    let said = said(scene);
    assert_eq!((said.0.as_str(), said.1.as_str()), (expected, message), "{what}");
}

/// One pass of the controller: the writes are there afterwards, and the status if it differs. How many writes.
fn pass(scene: &mut Scene) -> usize {
    let (observed, plan) = (scene.observed(), scene.plan());
    let report = status(&observed, scene.instance().as_ref(), &plan, None, scene.now);
    let mut writes = 0;
    for action in plan.actions {
        writes += 1;
        if let Action::CreateConfigMap(config_map) | Action::ReplaceConfigMap(config_map) = action {
            scene.config_map = Some(*config_map);
        } else if let Action::PatchPod { metadata, .. } = action {
            *scene = scene.clone().pod(&json!({ "metadata": metadata }));
        } else {
            panic!("{action:?}");
        }
    }
    if report.after.is_zero() && scene.object.status.as_ref() != Some(&report.status) {
        writes += 1;
        scene.object.status = Some(report.status);
    }
    writes
}

/// Passes until nothing is written any more. How many writes.
fn settle(scene: &mut Scene) -> usize {
    let mut writes = 0;
    for _ in 0..5 {
        match pass(scene) {
            0 => return writes,
            more => writes += more,
        }
    }
    panic!("it does not come to rest")
}

/// The spec asks for something else that a running TiProxy takes over.
fn edited(mut scene: Scene, config: &str) -> Scene {
    let generation = scene.object.metadata.generation.unwrap() + 1;
    scene = scene.object(&json!({"metadata": {"generation": generation}, "spec": {"config": config}}));
    scene
}

fn hash(scene: &Scene) -> String {
    config_hash(scene.config_map.as_ref().unwrap().data.as_ref())
}

/// It answers, and was compared with this configuration, if with one.
fn answers(of: Option<String>, differing: &[&str]) -> ProxyState {
    ProxyState {
        observation: Some(Observation {
            at: now(),
            answer: Some(Answer::default()),
        }),
        config: of.map(|of| ConfigReading {
            of,
            differing: differing.iter().map(|key| (*key).to_owned()).collect(),
        }),
        ..ProxyState::default()
    }
}

fn silent() -> ProxyState {
    ProxyState {
        observation: Some(Observation {
            at: now(),
            answer: None,
        }),
        ..ProxyState::default()
    }
}

fn later(mut scene: Scene, seconds: i64) -> Scene {
    scene.now += SignedDuration::from_secs(seconds);
    scene
}

fn annotation(scene: &Scene) -> Option<String> {
    let pod = scene.pod.as_ref().unwrap();
    pod.annotations().get(name::ANNOTATION_CONFIG_HASH).cloned()
}

const IN_EFFECT: &str = "TiProxy runs with what ConfigMap web-tiproxy-0 says";
const AWAITED: &str = "ConfigMap web-tiproxy-0 was changed, and TiProxy has not been seen to run with it yet";
const UNREADABLE: &str = "ConfigMap web-tiproxy-0 was changed, and what TiProxy runs with cannot be read from its HTTP \
                          API; a change reaches it within two minutes";
const NO_POD: &str = "no Pod runs that was made from this spec";

#[test]
fn a_process_that_started_with_it_need_not_be_asked() {
    check("nobody was asked", &Scene::ready(), "True", IN_EFFECT);
    check(
        "nobody answers",
        &Scene::ready().proxy(silent()),
        "True",
        IN_EFFECT,
    );
    check(
        "not ready yet",
        &Scene::ready().pod(&json!({"status": {"conditions": null}})),
        "True",
        IN_EFFECT,
    );
    let waiting = json!({"waiting": {"reason": "ContainerCreating"}});
    for (what, pod) in [
        (
            "starting",
            json!({"status": {"containerStatuses": [container(&waiting)]}}),
        ),
        ("ended", json!({"status": {"phase": "Failed"}})),
        ("terminating", json!({"metadata": {"deletionTimestamp": ago(1)}})),
    ] {
        check(what, &Scene::ready().pod(&pod), "Unknown", NO_POD);
    }
    check("no Pod", &Scene::ready().no_pod(), "Unknown", NO_POD);
    let other = json!({"spec": {"version": "v1.3.1"}});
    check(
        "an outdated Pod",
        &Scene::ready().object(&other),
        "Unknown",
        NO_POD,
    );
    let invalid = json!({"spec": {"discovery": null}});
    check(
        "an invalid spec",
        &Scene::ready().object(&invalid),
        "Unknown",
        NO_POD,
    );
}

#[test]
fn what_it_says_itself_counts_more() {
    let scene = Scene::ready();
    let differs = scene.clone().proxy(answers(
        Some(hash(&scene)),
        &["log.level", "proxy.max-connections"],
    ));
    check(
        "it says otherwise",
        &differs,
        "False",
        "TiProxy does not run with what ConfigMap web-tiproxy-0 says of log.level, proxy.max-connections; its log tells \
         what it makes of the file",
    );
    let keys = ["a", "b", "c", "d", "e", "f", "g"];
    let many = said(&scene.clone().proxy(answers(Some(hash(&scene)), &keys))).1;
    assert!(many.contains("of a, b, c, d, e and 2 more;"), "{many}");
    check(
        "it was asked about another one",
        &scene.proxy(answers(Some("other".to_owned()), &["a"])),
        "True",
        IN_EFFECT,
    );
}

#[test]
fn a_change_is_in_effect_when_it_says_so_and_costs_four_writes() {
    let mut scene = Scene::ready();
    let first = hash(&scene);
    scene = scene.proxy(answers(Some(first.clone()), &[]));
    assert_eq!(settle(&mut scene), 1, "the first status");
    scene = edited(scene, "log.level = \"warn\"");
    check("before it is written", &scene, "False", AWAITED);
    assert_eq!(settle(&mut scene), 3, "ConfigMap, Pod, status");
    check("it was asked about the one before", &scene, "False", AWAITED);
    let second = hash(&scene);
    assert_eq!(annotation(&scene), Some(second.clone()));
    scene = later(scene, 3).proxy(answers(Some(second.clone()), &["log.level"]));
    assert_eq!(settle(&mut scene), 0, "the kubelet has yet to bring the file");
    scene = later(scene, 1).proxy(answers(Some(second), &[]));
    check("it says so", &scene, "True", IN_EFFECT);
    assert_eq!(settle(&mut scene), 1);
    assert_eq!(scene.plan().recheck, None);
}

#[test]
fn where_nobody_answers_a_change_holds_nothing_up() {
    let mut scene = Scene::ready();
    settle(&mut scene);
    for proxy in [ProxyState::default(), silent()] {
        let mut scene = edited(scene.clone().proxy(proxy), "log.level = \"warn\"");
        assert_eq!(settle(&mut scene), 3, "ConfigMap, Pod, status");
        check("nobody answers", &scene, "Unknown", UNREADABLE);
        assert_eq!(scene.plan().recheck, None);
        let mut scene = later(scene, 60).proxy(silent());
        assert_eq!(settle(&mut scene), 0, "and nothing more is written");
        // Also when another one is written for what concerns no configuration.
        scene = scene.object(&json!({"metadata": {"generation": 9}}));
        assert_eq!(settle(&mut scene), 1);
        check("of the new generation", &scene, "Unknown", UNREADABLE);
    }
}

#[test]
fn a_pod_is_told_once_more_after_ten_seconds_and_then_never() {
    let mut scene = Scene::ready().proxy(answers(None, &[]));
    settle(&mut scene);
    scene = edited(scene, "log.level = \"warn\"");
    assert_eq!(scene.plan().recheck, Some(PATIENCE));
    settle(&mut scene);
    let told = hash(&scene);
    scene = later(scene, 9).proxy(answers(Some(told.clone()), &["log.level"]));
    assert_eq!(scene.plan().recheck, Some(Duration::from_secs(1)));
    check("not yet", &scene, "False", AWAITED);
    assert_eq!(settle(&mut scene), 0);
    let mut scene = later(scene, 1);
    assert_eq!(settle(&mut scene), 2, "Pod and status");
    assert_eq!(annotation(&scene), Some(format!("{told}.2")));
    assert!(
        said(&scene).1.contains("says of log.level;"),
        "{}",
        said(&scene).1
    );
    assert_eq!(scene.plan().recheck, None);
    let mut scene = later(scene, 3600);
    assert_eq!(settle(&mut scene), 0);
    // Another change is another matter.
    let mut scene = edited(scene, "log.level = \"error\"");
    settle(&mut scene);
    assert_ne!(hash(&scene), told);
    assert_eq!(annotation(&scene), Some(hash(&scene)));
    let of = hash(&scene);
    let mut scene = later(scene, 2).proxy(answers(Some(of), &[]));
    settle(&mut scene);
    check("in the end", &scene, "True", IN_EFFECT);
}

#[test]
fn a_pod_that_was_made_afterwards_has_read_it() {
    let mut scene = Scene::ready();
    settle(&mut scene);
    scene = edited(scene, "log.level = \"warn\"");
    settle(&mut scene);
    check("under a running one", &scene, "Unknown", UNREADABLE);
    let Some(Action::CreatePod(pod)) = scene.clone().no_pod().plan().actions.pop() else {
        panic!("no Pod");
    };
    let mut made = pod.object;
    made.metadata.uid = Some("uid-other".to_owned());
    made.metadata.resource_version = Some("21".to_owned());
    made.status = serde_json::from_value(ready_status(1)).unwrap();
    let mut next = scene.clone();
    next.pod = Some(made);
    check("by its successor", &next, "True", IN_EFFECT);
    assert_eq!(annotation(&next), Some(format!("{}.0", hash(&scene))));
    assert_eq!(settle(&mut next), 1);
    let mut next = edited(next, "log.level = \"error\"");
    settle(&mut next);
    assert_eq!(annotation(&next), Some(hash(&next)), "it is told as any other");
    check("under this one", &next, "Unknown", UNREADABLE);
    // What is written while nothing runs is read at the next start.
    let idle = json!({"status": {"containerStatuses": [container(&json!({"waiting": {"reason": "CrashLoopBackOff"}}))]}});
    let mut idle = edited(next.pod(&idle), "log.level = \"debug\"");
    settle(&mut idle);
    check(
        "after a crash",
        &idle.pod(&json!({"status": ready_status(1)})),
        "True",
        IN_EFFECT,
    );
}

#[test]
fn a_restart_of_the_operator_writes_nothing() {
    let mut scene = Scene::ready().proxy(answers(None, &[]));
    settle(&mut scene);
    scene = edited(scene, "log.level = \"warn\"");
    settle(&mut scene);
    let of = hash(&scene);
    for (known, differing) in [("True", &[][..]), ("False", &["log.level"])] {
        let mut before = later(scene.clone(), 20).proxy(answers(Some(of.clone()), differing));
        settle(&mut before);
        for proxy in [ProxyState::default(), answers(None, &[])] {
            let after = before.clone().proxy(proxy);
            let stored = before.object.status.as_ref().unwrap();
            let stored = condition::find(&stored.conditions, "ConfigApplied").unwrap();
            assert_eq!(stored.status, known);
            assert_eq!(said(&after), (stored.status.clone(), stored.message.clone()));
        }
        // What was known of an earlier generation is not known of this one.
        let next = before.object(&json!({"metadata": {"generation": 9}}));
        check(
            "nobody was asked",
            &next.proxy(ProxyState::default()),
            "Unknown",
            UNREADABLE,
        );
    }
}

#[test]
fn a_config_map_that_was_deleted_is_news_to_a_running_process() {
    let mut scene = Scene::ready().no_config_map().proxy(answers(None, &[]));
    check("it is written anew", &scene, "False", AWAITED);
    assert_eq!(settle(&mut scene), 3, "ConfigMap, Pod, status");
    check("then, too", &scene, "False", AWAITED);
}

#[test]
fn what_a_pause_holds_back_is_not_called_in_effect() {
    let held = edited(Scene::ready(), "log.level = \"warn\"").paused();
    assert_eq!(said(&held).0, "Unknown");
    assert_eq!(said(&Scene::ready().paused()).0, "True");
}

#[test]
fn it_does_not_touch_ready() {
    let mut scene = Scene::ready();
    let of = hash(&scene);
    scene = scene.proxy(answers(Some(of), &["log.level"]));
    settle(&mut scene);
    let conditions = scene.object.status.unwrap().conditions;
    assert!(condition::is_true(&conditions, "Ready"));
    let applied = condition::find(&conditions, "ConfigApplied").unwrap();
    assert_eq!(
        (applied.status.as_str(), applied.observed_generation),
        ("False", Some(2))
    );
}

#[test]
fn values_stand_in_no_message() {
    let mut told = Scene::ready().object(&json!({"spec": {"config": "labels = { team = \"hidden\" }"}}));
    settle(&mut told);
    let of = hash(&told);
    for proxy in [
        silent(),
        answers(None, &[]),
        answers(Some(of.clone()), &["labels.team"]),
    ] {
        let message = said(&told.clone().proxy(proxy)).1;
        assert!(!message.contains("hidden"), "{message}");
    }
}
