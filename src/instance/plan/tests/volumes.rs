//! Volumes: what happens to their claims, and what a Pod waits for.

use serde_json::{Value, json};

use super::check;
use crate::api::name;
use crate::instance::testing::{Scene, ago, with_volumes};

const DATA: &str = "data-web-tiproxy-0";
const LOG: &str = "log-web-tiproxy-0";
const CREATE_CLAIMS: [&str; 2] = [
    "create claim data-web-tiproxy-0",
    "create claim log-web-tiproxy-0",
];
const CREATING: Option<&str> = Some("its Pod is being created");
const OURS: &str = r#"[{"apiVersion":"core.pingcap.com/v1alpha1","blockOwnerDeletion":true,"controller":true,"kind":"TiProxy","name":"web-0","uid":"uid-0"}]"#;

fn ready() -> Scene {
    Scene::of(with_volumes())
}

/// The same, with volumes that are to stay.
fn kept() -> Scene {
    let mut object = with_volumes();
    object.spec.volume_retention = Some(crate::api::group::VolumeRetention::Retain);
    Scene::of(object)
}

fn retention(value: &str) -> Value {
    json!({"spec": {"volumeRetention": value}})
}

/// The template without the second volume.
fn without_log(scene: &Scene) -> Scene {
    let mut scene = scene.clone();
    scene.object.spec.template.volumes.as_mut().unwrap().truncate(1);
    scene
}

/// The Pod, as it is made from what the scene's TiProxy asks for.
fn current(scene: Scene) -> Scene {
    let revision = scene.instance().unwrap().revision;
    scene
        .pod(&json!({"metadata": {"labels": {name::LABEL_REVISION: revision}}}))
        .config_map(&json!({"metadata": {"labels": {name::LABEL_REVISION: revision}}}))
}

#[test]
fn claims_are_made_before_the_pod() {
    let bare = ready().no_pod().no_config_map().no_claims();
    let [data, log] = CREATE_CLAIMS;
    let rest = ["create config map web-tiproxy-0", "create pod web-tiproxy-0"];
    check("all is well", &ready(), &[], None);
    check(
        "nothing is there",
        &bare,
        &[data, log, rest[0], rest[1]],
        CREATING,
    );
    check(
        "one is gone while the Pod runs",
        &ready().no_claims(),
        &[data, log],
        None,
    );
    let adopt = |claim: &str| format!(r#"patch claim uid-{claim}@40 {{"ownerReferences":{OURS}}}"#);
    check("all is well, and they are to stay", &kept(), &[], None);
    check(
        "they were kept, and are to stay",
        &kept().no_pod(),
        &["create pod web-tiproxy-0"],
        CREATING,
    );
    check(
        "they were kept, and are to go with the TiProxy",
        &kept().no_pod().object(&retention("Delete")),
        &[&adopt(DATA), &adopt(LOG), "create pod web-tiproxy-0"],
        CREATING,
    );
    check(
        "they are to stay from now on",
        &ready().object(&retention("Retain")),
        &[
            r#"patch claim uid-data-web-tiproxy-0@40 {"ownerReferences":[]}"#,
            r#"patch claim uid-log-web-tiproxy-0@40 {"ownerReferences":[]}"#,
        ],
        None,
    );
}

#[test]
fn a_pod_waits_for_a_name_that_is_not_free_and_one_that_runs_is_not_given_up_for_it() {
    let older = json!({"metadata": {"ownerReferences": [
        {"apiVersion": "core.pingcap.com/v1alpha1", "kind": "TiProxy", "name": "web-0", "uid": "older", "controller": true}]}});
    let gone = json!({"metadata": {"deletionTimestamp": ago(1)}});
    let foreign = json!({"metadata": {"ownerReferences": null, "labels": null}});
    let other_group = json!({"metadata": {"ownerReferences": null, "labels": {name::LABEL_GROUP: "other"}}});
    let other_volume =
        json!({"metadata": {"ownerReferences": null, "labels": {name::LABEL_VOLUME: "other"}}});
    let removed =
        "PersistentVolumeClaim data-web-tiproxy-0 of an earlier TiProxy of this name is being removed";
    let theirs = "PersistentVolumeClaim data-web-tiproxy-0 is somebody else's";
    let deleted =
        "PersistentVolumeClaim data-web-tiproxy-0 is being deleted; a new one is made when it is gone";
    let replace = "delete pod uid-pod@20 Outdated Undrained in Some(55)";
    let replaced = Some("Pod web-tiproxy-0 is replaced");
    for (name, scene, waiting) in vec![
        ("an earlier TiProxy's", ready().claim(DATA, &older), removed),
        ("deleted by somebody", ready().claim(DATA, &gone), deleted),
        (
            "kept, and deleted by somebody",
            kept().claim(DATA, &gone),
            removed,
        ),
        ("foreign", ready().claim(DATA, &foreign), theirs),
        ("another group's", kept().claim(DATA, &other_group), theirs),
        ("another volume's", kept().claim(DATA, &other_volume), theirs),
    ]
    .into_boxed_slice()
    {
        check(name, &scene.clone().no_pod(), &[], Some(waiting));
        check(name, &scene, &[], None);
        let outdated = scene.object(&json!({"spec": {"version": "v1.3.1"}}));
        if waiting == theirs {
            check(name, &outdated, &[], Some(waiting));
        } else {
            // The Pod may be what the claim waits for.
            check(name, &outdated, &[replace], replaced);
        }
    }
    let outdated = ready().object(&json!({"spec": {"version": "v1.3.1"}}));
    check(
        "the claims of the next Pod come first",
        &outdated.clone().no_claims(),
        &[CREATE_CLAIMS[0], CREATE_CLAIMS[1], replace],
        replaced,
    );
}

#[test]
fn claims_change_in_place_as_far_as_kubernetes_changes_them() {
    let volumes = |field: &str, value: Value| {
        let mut scene = ready();
        let mut volumes = serde_json::to_value(&scene.object.spec.template.volumes).unwrap();
        volumes[0][field] = value;
        scene.object.spec.template.volumes = serde_json::from_value(volumes).unwrap();
        scene
    };
    let grow = r#"change claim uid-data-web-tiproxy-0@40 {"resources":{"requests":{"storage":"20Gi"}}}"#;
    let gold = r#"change claim uid-data-web-tiproxy-0@40 {"volumeAttributesClassName":"gold"}"#;
    let pending = json!({"status": {"phase": "Pending"}});
    check("larger", &volumes("storage", json!("20Gi")), &[grow], None);
    check(
        "the same in other words",
        &volumes("storage", json!("10240Mi")),
        &[],
        None,
    );
    check("smaller", &volumes("storage", json!("5Gi")), &[], None);
    check(
        "another class",
        &volumes("storageClassName", json!("other")),
        &[],
        None,
    );
    check("no class", &volumes("storageClassName", Value::Null), &[], None);
    check(
        "other attributes",
        &volumes("volumeAttributesClassName", json!("gold")),
        &[gold],
        None,
    );
    check(
        "attributes that it has",
        &volumes("volumeAttributesClassName", json!("gold"))
            .claim(DATA, &json!({"spec": {"volumeAttributesClassName": "gold"}})),
        &[],
        None,
    );
    check(
        "not bound, so that nothing can be changed",
        &volumes("storage", json!("20Gi")).claim(DATA, &pending),
        &[],
        None,
    );
    let mut both = volumes("storage", json!("20Gi"));
    both.object.spec.template.volumes.as_mut().unwrap()[0].volume_attributes_class_name =
        Some("gold".to_owned());
    check("both", &both, &[gold, grow], None);
    let told = super::nudge(&both);
    check(
        "what can be refused comes last",
        &both.clone().no_config_map(),
        &["create config map web-tiproxy-0", &told, gold, grow],
        None,
    );
    check(
        "metadata first: the rest holds for the version that comes of it",
        &both.claim(
            DATA,
            &json!({"metadata": {"labels": {name::LABEL_CLUSTER: null}}}),
        ),
        &[r#"patch claim uid-data-web-tiproxy-0@40 {"labels":{"pingcap.com/cluster":"basic"}}"#],
        None,
    );
}

#[test]
fn labels_and_annotations_of_the_overlay_come_and_go() {
    let overlay = |metadata: Value| json!({"spec": {"overlay": {"volumeClaims": [{"name": "data", "volumeClaim": {"metadata": metadata}}]}}});
    let metadata = json!({"labels": {"team": "a", "pingcap.com/group": "x"}, "annotations": {"core.pingcap.com/topology": "{}"}});
    let set = ready().object(&overlay(metadata));
    let keys = json!({"labels": ["team"]}).to_string();
    let patch = json!({"annotations": {name::ANNOTATION_TEMPLATE_KEYS: keys}, "labels": {"team": "a"}});
    check(
        "set",
        &set,
        &[&format!("patch claim uid-data-web-tiproxy-0@40 {patch}")],
        None,
    );
    let carried =
        json!({"metadata": {"labels": {"team": "a"}, "annotations": {name::ANNOTATION_TEMPLATE_KEYS: keys}}});
    check("carried", &set.claim(DATA, &carried), &[], None);
    let patch = json!({"annotations": {name::ANNOTATION_TEMPLATE_KEYS: null}, "labels": {"team": null}});
    check(
        "taken back",
        &ready().claim(DATA, &carried),
        &[&format!("patch claim uid-data-web-tiproxy-0@40 {patch}")],
        None,
    );
    check(
        "of somebody else",
        &ready().claim(DATA, &json!({"metadata": {"labels": {"mine": "x"}}})),
        &[],
        None,
    );
}

#[test]
fn the_claim_of_a_volume_that_is_gone_goes_when_no_pod_uses_it_or_stays() {
    let delete = "delete claim uid-log-web-tiproxy-0@40";
    let let_go = r#"patch claim uid-log-web-tiproxy-0@40 {"ownerReferences":[]}"#;
    let outdated = "delete pod uid-pod@20 Outdated Undrained in Some(55)";
    let replaced = Some("Pod web-tiproxy-0 is replaced");
    check(
        "the Pod still uses it",
        &without_log(&ready()),
        &[outdated],
        replaced,
    );
    check(
        "the new Pod does not",
        &current(without_log(&ready())),
        &[delete],
        None,
    );
    check(
        "there is no Pod",
        &current(without_log(&ready())).no_pod(),
        &["create pod web-tiproxy-0", delete],
        CREATING,
    );
    let going = json!({"metadata": {"deletionTimestamp": ago(1)}});
    check(
        "it is going",
        &current(without_log(&ready())).claim(LOG, &going),
        &[],
        None,
    );
    check("it was kept", &current(without_log(&kept())), &[], None);
    check(
        "it was kept, and the next ones are not",
        &current(without_log(&kept())).object(&retention("Delete")).claim(
            DATA,
            &json!({"metadata": {"ownerReferences": serde_json::from_str::<Value>(OURS).unwrap()}}),
        ),
        &[],
        None,
    );
    check(
        "it is to be kept",
        &without_log(&ready()).object(&retention("Retain")),
        &[
            r#"patch claim uid-data-web-tiproxy-0@40 {"ownerReferences":[]}"#,
            let_go,
            outdated,
        ],
        replaced,
    );
}

#[test]
fn before_a_tiproxy_goes_its_claims_are_let_go_or_left_to_the_garbage_collector() {
    let ours = [name::FINALIZER];
    let delete_pod = "delete pod uid-pod@20 Deleted Undrained in Some(55)";
    let ending = Some("Pod web-tiproxy-0 is ending");
    let last = ["delete config map uid-config@30", "remove finalizer"];
    let let_go = |claim: &str| format!(r#"patch claim uid-{claim}@40 {{"ownerReferences":[]}}"#);
    check("they go", &ready().deleted(&ours), &[delete_pod], ending);
    check(
        "they go, at the end",
        &ready().no_pod().deleted(&ours),
        &last,
        None,
    );
    check("they stay", &kept().no_pod().deleted(&ours), &last, None);
    let late = ready().object(&retention("Retain")).deleted(&ours);
    check(
        "they are to stay since a moment ago",
        &late,
        &[delete_pod, &let_go(DATA), &let_go(LOG)],
        ending,
    );
    check(
        "they are to stay since a moment ago, at the end",
        &late.no_pod(),
        &[&let_go(DATA), &let_go(LOG), last[0], last[1]],
        None,
    );
    check(
        "they were kept, or have just been orphaned, which nobody can tell",
        &kept().object(&retention("Delete")).deleted(&ours).no_pod(),
        &last,
        None,
    );
    check(
        "also those of volumes that it had",
        &without_log(&ready())
            .object(&retention("Retain"))
            .deleted(&ours)
            .no_pod(),
        &[&let_go(DATA), &let_go(LOG), last[0], last[1]],
        None,
    );
    check(
        "with orphan deletion nothing is touched",
        &ready().deleted(&[name::FINALIZER, "orphan"]),
        &["remove finalizer"],
        None,
    );
}

#[test]
fn a_claim_that_waits_for_its_volume_is_looked_at_again_when_it_has_waited_too_long() {
    let pending =
        |age: i64| json!({"status": {"phase": "Pending"}, "metadata": {"creationTimestamp": ago(age)}});
    let starting = || {
        ready().pod(&json!({"status": {"phase": "Pending", "conditions": null, "containerStatuses": null}}))
    };
    let recheck = |scene: Scene| scene.plan().recheck.map(|recheck| recheck.as_secs());
    assert_eq!(recheck(starting()), None);
    assert_eq!(recheck(starting().claim(DATA, &pending(10))), Some(50));
    assert_eq!(
        recheck(starting().claim(DATA, &pending(10)).claim(LOG, &pending(20))),
        Some(40)
    );
    assert_eq!(recheck(starting().claim(DATA, &pending(60))), None);
    assert_eq!(recheck(ready().claim(DATA, &pending(10))), None);
    // Nothing is to be done, so that a pause of the Cluster says nothing either.
    let paused = starting().claim(DATA, &pending(10)).paused();
    assert_eq!((paused.plan().actions, paused.plan().waiting), (Vec::new(), None));
}
