//! The planner's scenarios as tables.

use serde_json::{Value, json};

use super::configuration::told;
use super::*;
use crate::instance::testing::{Scene, ago, ready_status};

const OTHER_VERSION: &str = "v1.3.1";

/// The writes in words.
fn brief(plan: &Plan) -> Vec<String> {
    plan.actions.iter().map(in_words).collect()
}

fn in_words(action: &Action) -> String {
    match action {
        Action::AddFinalizer => "add finalizer".to_owned(),
        Action::RemoveFinalizer => "remove finalizer".to_owned(),
        Action::AdoptConfigMap(target) => format!("adopt config map {}", at(target)),
        Action::AdoptPod(target) => format!("adopt pod {}", at(target)),
        Action::CreateConfigMap(config_map) => format!("create config map {}", config_map.name_any()),
        Action::ReplaceConfigMap(config_map) => {
            let target = Target::of(&**config_map).unwrap();
            format!("replace config map {}", at(&target))
        }
        Action::DeleteConfigMap(target) => format!("delete config map {}", at(target)),
        Action::CreateClaim(claim) => format!("create claim {}", claim.name_any()),
        Action::PatchClaim { target, metadata } => {
            format!("patch claim {} {}", at(target), Value::Object(metadata.clone()))
        }
        Action::ChangeClaim { target, spec } => format!("change claim {} {spec}", at(target)),
        Action::DeleteClaim(target) => format!("delete claim {}", at(target)),
        Action::CreatePod(pod) => format!("create pod {}", pod.object.name_any()),
        Action::PatchPod { target, metadata } => {
            format!("patch pod {} {}", at(target), Value::Object(metadata.clone()))
        }
        Action::DeletePod {
            target,
            grace_period_seconds,
            why,
        } => {
            let why = match why {
                DeleteReason::Failed => "Failed".to_owned(),
                DeleteReason::Left { cause, end } => format!("{cause:?} {end:?}"),
            };
            format!("delete pod {} {why} in {grace_period_seconds:?}", at(target))
        }
    }
}

fn at(target: &Target) -> String {
    format!("{}@{}", target.uid, target.resource_version.as_deref().unwrap())
}

/// The write that tells a running Pod of the configuration that this scene's `ConfigMap` will have.
fn nudge(scene: &Scene) -> String {
    let config_map = scene.config_map.as_ref().unwrap();
    nudge_to(&configuration::config_hash(config_map.data.as_ref()))
}

fn nudge_to(hash: &str) -> String {
    let metadata = json!({"annotations": {name::ANNOTATION_CONFIG_HASH: hash}});
    format!("patch pod uid-pod@20 {metadata}")
}

/// What is there after the planned changes of `ConfigMap` and Pod.
fn carried_out(mut scene: Scene) -> Scene {
    for action in scene.plan().actions {
        if let Action::ReplaceConfigMap(config_map) = action {
            scene.config_map = Some(*config_map);
        } else if let Action::PatchPod { metadata, .. } = action {
            scene = scene.pod(&json!({ "metadata": metadata }));
        } else {
            panic!("{action:?}");
        }
    }
    scene
}

fn text(scene: &Scene) -> &str {
    &scene.config_map.as_ref().unwrap().data.as_ref().unwrap()["config.toml"]
}

fn starting() -> Value {
    json!({"status": {"conditions": null, "containerStatuses": null, "phase": "Pending"}})
}

#[test]
fn the_place_is_written_when_it_is_known_and_a_running_pod_is_told() {
    let found = json!({"zone": "zone-a", "host": "node-1"});
    // The kubelet looks at the configuration when the container starts.
    let before = Scene::ready().pod(&starting()).located(&found);
    check(
        "before the start",
        &before,
        &["replace config map uid-config@30"],
        None,
    );
    let settled = carried_out(before);
    assert!(text(&settled).contains("zone = \"zone-a\""), "{}", text(&settled));
    check("then it is done", &settled, &[], None);
    check(
        "also when it runs",
        &settled.clone().pod(&json!({"status": ready_status(1)})),
        &[],
        None,
    );
    let running = Scene::ready().located(&found);
    let expected = carried_out(running.clone());
    check(
        "while it runs",
        &running,
        &["replace config map uid-config@30", &nudge(&expected)],
        None,
    );
    check("then it is done, too", &expected, &[], None);
    // After a crash between the two writes.
    let mut half = expected.clone();
    half.pod = Scene::ready().pod;
    check("it was not told", &half, &[&nudge(&expected)], None);
}

#[test]
fn a_node_that_is_not_known_any_more_changes_nothing() {
    let settled = carried_out(Scene::ready().located(&json!({"zone": "zone-a"})));
    check(
        "the node is gone",
        &settled.clone().located(&Value::Null),
        &[],
        None,
    );
    check(
        "a new Pod may well run in the same zone",
        &settled.clone().located(&Value::Null).no_pod(),
        &["create pod web-tiproxy-0"],
        Some("its Pod is being created"),
    );
    let Some(Action::CreatePod(pod)) = settled.clone().no_pod().plan().actions.pop() else {
        panic!("no Pod");
    };
    let hash = told(settled.config_map.as_ref().unwrap()).map(|note| (note.hash, true));
    assert!(
        hash.is_some() && told(&pod.object).map(|told| (told.hash, told.is_from_birth())) == hash,
        "it need not be told what it reads at its start"
    );
}

#[test]
fn a_label_that_is_gone_is_written_as_nothing_until_the_pod_is_new() {
    let labels = |labels: Value| json!({"spec": {"server": {"labels": labels}}});
    let with = carried_out(Scene::ready().object(&labels(json!({"group": "oltp"}))));
    assert!(text(&with).contains("group = \"oltp\""), "{}", text(&with));
    let without = carried_out(with.object(&labels(Value::Null)));
    assert!(text(&without).contains("group = \"\""), "{}", text(&without));
    check("it stays", &without, &[], None);
    let new = without.no_pod();
    assert!(matches!(
        new.plan().actions.as_slice(),
        [Action::ReplaceConfigMap(_), Action::CreatePod(_)]
    ));
    let Some(Action::ReplaceConfigMap(config_map)) = new.plan().actions.into_iter().next() else {
        panic!("no ConfigMap");
    };
    assert!(!config_map.data.unwrap()["config.toml"].contains("group"));
}

fn ended(phase: &str, seconds_ago: i64) -> Value {
    json!({"status": {"phase": phase, "startTime": ago(seconds_ago), "conditions": null, "containerStatuses": null}})
}

fn template_annotations(keys: &[&str]) -> Value {
    json!({"metadata": {"annotations": {
        name::ANNOTATION_TEMPLATE_KEYS: json!({"annotations": keys}).to_string(),
        "note": "x", "prometheus.io/scrape": "false",
    }}})
}

/// A scene, and what is written and waited for.
#[track_caller]
fn check(name: &str, scene: &Scene, actions: &[&str], waiting: Option<&str>) {
    let plan = scene.plan();
    assert_eq!(brief(&plan), actions, "{name}");
    assert_eq!(plan.waiting.as_deref(), waiting, "{name}");
    assert_eq!(scene.plan(), plan, "{name}: the same input");
}

#[test]
fn a_pod_and_its_config_map_are_made_and_kept() {
    let ready = Scene::ready;
    let create_pod = "create pod web-tiproxy-0";
    let create_config_map = "create config map web-tiproxy-0";
    let creating = Some("its Pod is being created");
    check("all is well", &ready(), &[], None);
    check(
        "nothing is there",
        &Scene::bare(),
        &[create_config_map, create_pod],
        creating,
    );
    check(
        "not even the finalizer",
        &Scene::bare().object(&json!({"metadata": {"finalizers": null}})),
        &["add finalizer", create_config_map, create_pod],
        creating,
    );
    check("the Pod is gone", &ready().no_pod(), &[create_pod], creating);
    check(
        "the Pod is gone and the ConfigMap is old",
        &ready()
            .no_pod()
            .config_map(&json!({"data": {"config.toml": "old"}})),
        &["replace config map uid-config@30", create_pod],
        creating,
    );
    check(
        "the ConfigMap is gone while the Pod runs",
        &ready().no_config_map(),
        &[create_config_map, &nudge(&ready())],
        None,
    );
    check(
        "somebody edited the ConfigMap",
        &ready().config_map(&json!({"data": {"config.toml": "mine"}})),
        &["replace config map uid-config@30", &nudge(&ready())],
        None,
    );
    check(
        "somebody added to the ConfigMap",
        &ready().config_map(&json!({"binaryData": {"x": "eA=="}})),
        &["replace config map uid-config@30"],
        None,
    );
    check(
        "somebody labelled and annotated the ConfigMap, which is theirs to do",
        &ready().config_map(&json!({"metadata": {"labels": {"mine": "1"}, "annotations": {"mine": "1"}}})),
        &[],
        None,
    );
}

#[test]
fn ownerless_objects_of_ours_are_adopted_and_others_left_alone() {
    let orphan = json!({"metadata": {"ownerReferences": null}});
    let foreign =
        json!({"metadata": {"ownerReferences": null, "labels": {name::LABEL_MANAGED_BY: "somebody"}}});
    let of_another = json!({"metadata": {"ownerReferences": [
        {"apiVersion": "core.pingcap.com/v1alpha1", "kind": "TiProxy", "name": "web-0", "uid": "older", "controller": true},
    ]}});
    let ready = Scene::ready;
    check(
        "an orphaned Pod",
        &ready().pod(&orphan),
        &["adopt pod uid-pod@20"],
        None,
    );
    check(
        "an orphaned ConfigMap under a Pod",
        &ready().config_map(&orphan),
        &["adopt config map uid-config@30"],
        None,
    );
    // It may say something else, and the Pod must not read that.
    check(
        "an orphaned ConfigMap alone",
        &ready().no_pod().config_map(&orphan),
        &["adopt config map uid-config@30"],
        Some("its Pod is being created"),
    );
    for (whose, changes) in [("somebody's", &foreign), ("an older TiProxy's", &of_another)] {
        let told = (whose != "somebody's")
            .then_some("Pod web-tiproxy-0 of an earlier TiProxy of this name is being removed");
        check(&format!("{whose} Pod"), &ready().pod(changes), &[], told);
        check(
            &format!("{whose} ConfigMap under a Pod"),
            &ready().config_map(changes),
            &[],
            None,
        );
        check(
            &format!("{whose} ConfigMap and no Pod"),
            &ready().no_pod().config_map(changes),
            &[],
            Some("its Pod is being created"),
        );
    }
}

#[test]
fn an_outdated_pod_goes_before_its_config_map_changes() {
    let outdated = || Scene::ready().object(&json!({"spec": {"version": OTHER_VERSION}}));
    let replaced = Some("Pod web-tiproxy-0 is replaced");
    let delete = "delete pod uid-pod@20 Outdated Undrained in Some(55)";
    check("outdated", &outdated(), &[delete], replaced);
    check(
        "outdated, and the ConfigMap is gone",
        &outdated().no_config_map(),
        &[delete],
        replaced,
    );
    check(
        "outdated, and its label was taken away",
        &outdated().pod(&json!({"metadata": {"labels": {name::LABEL_REVISION: null}}})),
        &[delete],
        replaced,
    );
    check(
        "it ends",
        &outdated().pod(&json!({"metadata": {"deletionTimestamp": ago(1)}})),
        &[],
        Some("Pod web-tiproxy-0 is ending"),
    );
    check(
        "it is gone",
        &outdated().no_pod(),
        &["replace config map uid-config@30", "create pod web-tiproxy-0"],
        Some("its Pod is being created"),
    );
    // The period is that of the new configuration.
    check(
        "with less time to end",
        &Scene::ready().object(&json!({"spec": {
            "preStop": {"sleepSeconds": 1}, "config": "[proxy]\ngraceful-wait-before-shutdown = 2\n\
             graceful-close-conn-timeout = 3\n",
        }})),
        &["delete pod uid-pod@20 Outdated Undrained in Some(36)"],
        replaced,
    );
}

#[test]
fn what_needs_no_new_pod_restarts_nothing() {
    let ready = Scene::ready;
    for (what, changes) in [
        (
            "time for clients to leave",
            json!({"spec": {"drain": {"timeoutSeconds": 600}}}),
        ),
        ("a label", json!({"metadata": {"labels": {"mine": "1"}}})),
        (
            "an annotation",
            json!({"metadata": {"annotations": {"mine": "1"}}}),
        ),
        ("a feature", json!({"spec": {"features": ["x"]}})),
        (
            "the default written out",
            json!({"spec": {"preStop": {"sleepSeconds": 10}}}),
        ),
        ("a comment", json!({"spec": {"config": "# hello"}})),
    ] {
        check(what, &ready().object(&changes), &[], None);
    }
    check(
        "a revision label that was taken away comes back",
        &ready().pod(&json!({"metadata": {"labels": {name::LABEL_REVISION: null}}})),
        &[
            r#"patch pod uid-pod@20 {"labels":{"pingcap.com/instance-revision-hash":"web-tiproxy-fldwhzkzpz"}}"#,
        ],
        None,
    );
    check(
        "so does another of ours",
        &ready().pod(&json!({"metadata": {"labels": {name::LABEL_CLUSTER: null}}})),
        &[r#"patch pod uid-pod@20 {"labels":{"pingcap.com/cluster":"basic"}}"#],
        None,
    );
    check(
        "the serving label does not: taking it away is how a Pod leaves",
        &ready().pod(&json!({"metadata": {"labels": {name::LABEL_SERVING: null}}})),
        &[],
        None,
    );
}

#[test]
fn metadata_of_the_template_comes_and_goes_in_place() {
    let keys = r#""core.pingcap.com/template-keys":"{\"annotations\":[\"note\",\"prometheus.io/scrape\"]}""#;
    let with = |object: &Value| Scene::ready().object(object);
    let asked = template_annotations(&["note", "prometheus.io/scrape"]);
    check(
        "it comes",
        &with(&asked),
        &[&format!(
            r#"patch pod uid-pod@20 {{"annotations":{{{keys},"note":"x","prometheus.io/scrape":"false"}}}}"#
        )],
        None,
    );
    let carried = Scene::of(with(&asked).object);
    check("a Pod is born with it", &carried, &[], None);
    check(
        "it goes, and the Pod's own comes back",
        &carried.object(&json!({"metadata": {"annotations": null}})),
        &[
            r#"patch pod uid-pod@20 {"annotations":{"core.pingcap.com/template-keys":null,"note":null,"prometheus.io/scrape":"true"}}"#,
        ],
        None,
    );
}

#[test]
fn an_ended_pod_is_replaced_after_a_pause_that_doubles() {
    for (failures, pause) in [
        (0, 0),
        (1, 10),
        (2, 20),
        (3, 40),
        (4, 80),
        (5, 160),
        (6, 300),
        (7, 300),
        (u32::MAX, 300),
    ] {
        for phase in ["Failed", "Succeeded"] {
            let scene = |seconds_ago| Scene::ready().failures(failures).pod(&ended(phase, seconds_ago));
            check(
                "the pause is over",
                &scene(pause),
                &["delete pod uid-pod@20 Failed in Some(55)"],
                Some("Pod web-tiproxy-0 ended and is replaced"),
            );
            if pause == 0 {
                continue;
            }
            let early = scene(pause - 1);
            let words = format!("Pod web-tiproxy-0 ended and is replaced after a pause of {pause} s");
            check("a second is left", &early, &[], Some(&words));
            assert_eq!(early.plan().recheck, Some(Duration::from_secs(1)));
            let earlier = scene(1).plan();
            assert_eq!(
                earlier.waiting,
                early.plan().waiting,
                "no seconds are counted down"
            );
            assert_eq!(
                earlier.recheck,
                Some(Duration::from_secs(u64::try_from(pause).unwrap() - 1))
            );
        }
    }
    check(
        "a clock that is ahead of ours",
        &Scene::ready().failures(1).pod(&ended("Failed", -60)),
        &[],
        Some("Pod web-tiproxy-0 ended and is replaced after a pause of 10 s"),
    );
    check(
        "the ConfigMap waits too",
        &Scene::ready()
            .failures(1)
            .pod(&ended("Failed", 1))
            .config_map(&json!({"data": null})),
        &[],
        Some("Pod web-tiproxy-0 ended and is replaced after a pause of 10 s"),
    );
}

#[test]
fn deletion_waits_for_the_pod_only() {
    let ready = Scene::ready;
    let remove = "remove finalizer";
    let delete = "delete pod uid-pod@20 Deleted Undrained in Some(55)";
    let delete_config = "delete config map uid-config@30";
    let ending = Some("Pod web-tiproxy-0 is ending");
    for finalizers in [
        &[name::FINALIZER][..],
        &[name::FINALIZER, "foregroundDeletion"],
        &["somebody.example/else", name::FINALIZER],
    ] {
        check("with a Pod", &ready().deleted(finalizers), &[delete], ending);
        check(
            "with a Pod that ends",
            &ready()
                .deleted(finalizers)
                .pod(&json!({"metadata": {"deletionTimestamp": ago(1)}})),
            &[],
            ending,
        );
        check(
            "without a Pod",
            &ready().no_pod().deleted(finalizers),
            &[delete_config, remove],
            None,
        );
    }
    let deleted = || ready().deleted(&[name::FINALIZER]);
    check("paused all the same", &deleted().paused(), &[delete], ending);
    check(
        "with a spec that cannot be carried out",
        &deleted().object(&json!({"spec": {"config": "labels={\"", "discovery": null}})),
        &["delete pod uid-pod@20 Deleted Undrained in None"],
        ending,
    );
    check(
        "after an outdated Pod",
        &deleted().object(&json!({"spec": {"version": OTHER_VERSION}})),
        &[delete],
        ending,
    );
    check(
        "orphaning deletes nothing",
        &ready().deleted(&[name::FINALIZER, "orphan"]),
        &[remove],
        None,
    );
    check("without our finalizer", &ready().deleted(&["orphan"]), &[], None);
    check(
        "somebody's Pod is not waited for",
        &deleted().pod(&json!({"metadata": {"ownerReferences": null}})),
        &[delete_config, remove],
        None,
    );
    assert!(ready().no_pod().deleted(&[name::FINALIZER]).plan().releases());
    assert!(!deleted().plan().releases());
}

#[test]
fn a_paused_cluster_stops_what_is_to_be_done_and_nothing_else() {
    let paused = || Scene::ready().paused();
    let told = Some("the Cluster is paused; unset its spec.paused to go on");
    check("nothing is to be done", &paused(), &[], None);
    check("no Pod", &paused().no_pod(), &[], told);
    check("no ConfigMap", &paused().no_config_map(), &[], told);
    check("a failed Pod", &paused().pod(&ended("Failed", 60)), &[], told);
    check(
        "an outdated Pod",
        &paused().object(&json!({"spec": {"version": OTHER_VERSION}})),
        &[],
        told,
    );
    check(
        "no finalizer, which is nothing that anybody waits for",
        &paused().object(&json!({"metadata": {"finalizers": null}})),
        &[],
        None,
    );
}

#[test]
fn a_spec_that_cannot_be_carried_out_leaves_alone_what_runs() {
    for changes in [
        json!({"spec": {"config": "labels={\"group\":\"oltp\"}"}}),
        json!({"spec": {"discovery": null}}),
        json!({"spec": {"discovery": {"pdAddrs": []}}}),
    ] {
        let scene = Scene::ready().object(&changes);
        check("with a Pod", &scene, &[], None);
        check("without", &scene.no_pod().no_config_map(), &[], None);
    }
}

mod leave;
mod volumes;
