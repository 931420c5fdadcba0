//! What is said of volumes.

use std::time::Duration;

use serde_json::{Value, json};

use super::{brief, report};
use crate::api::TiProxyStatus;
use crate::api::condition::Reason;
use crate::api::name;
use crate::instance::status::status;
use crate::instance::testing::{Scene, ago, with_volumes};
use crate::problem::ExecuteError;
use crate::runtime::condition;
use crate::runtime::write_error::{WriteError, WriteFailure};

const DATA: &str = "data-web-tiproxy-0";
const BOUND: &str = "2 volumes are bound and as asked for";
const SERVES: &str = "Pod web-tiproxy-0 is ready";

fn ready() -> Scene {
    Scene::of(with_volumes())
}

fn starting(conditions: &Value) -> Scene {
    ready().pod(&json!({"status": {"phase": "Pending", "conditions": conditions, "containerStatuses": null}}))
}

fn unschedulable(message: &str) -> Scene {
    starting(
        &json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}]),
    )
}

fn pending(age: i64) -> Value {
    json!({"status": {"phase": "Pending", "capacity": null}, "metadata": {"creationTimestamp": ago(age)}})
}

/// `VolumesReady`: status, reason, message.
fn volumes(status: &TiProxyStatus) -> (String, String, String) {
    let found = condition::find(&status.conditions, "VolumesReady").unwrap();
    assert_eq!(found.observed_generation, Some(2));
    (found.status.clone(), found.reason.clone(), found.message.clone())
}

/// The first three conditions, and what `VolumesReady` says; each message begins so.
#[track_caller]
fn check(scene: &Scene, holding: &str, reason: Reason, message: &str, told: (&str, Reason, &str)) {
    let status = report(scene, None).status;
    let found = brief_beside(&status);
    assert_eq!(
        (found.0.as_str(), found.1.as_str()),
        (holding, reason.as_str()),
        "{status:?}"
    );
    assert!(found.2.starts_with(message), "{}", found.2);
    let found = volumes(&status);
    assert_eq!(
        (found.0.as_str(), found.1.as_str()),
        (told.0, told.1.as_str()),
        "{status:?}"
    );
    assert!(found.2.starts_with(told.2), "{}", found.2);
}

/// As `brief`, where Ready may say something else than the other two.
fn brief_beside(status: &TiProxyStatus) -> (String, String, String) {
    let find = |kind: &str| condition::find(&status.conditions, kind).unwrap();
    let holding: Vec<&str> = ["Ready", "Reconciling", "Stalled"]
        .into_iter()
        .filter(|kind| find(kind).status == "True")
        .collect();
    let last = find("Stalled");
    (holding.join(" "), last.reason.clone(), last.message.clone())
}

#[test]
fn a_tiproxy_without_volumes_says_nothing_of_them() {
    let plain = report(&Scene::ready(), None).status;
    assert!(condition::find(&plain.conditions, "VolumesReady").is_none());
    // They are gone from the spec.
    let mut scene = Scene::ready();
    scene.object.status = Some(report(&ready(), None).status);
    let status = status(
        &scene.observed(),
        scene.instance().as_ref(),
        &scene.plan(),
        None,
        scene.now,
    )
    .status;
    assert!(condition::find(&status.conditions, "VolumesReady").is_none());
}

#[test]
fn volumes_that_are_as_asked_for_are_ready() {
    check(
        &ready(),
        "Ready",
        Reason::AllReady,
        SERVES,
        ("True", Reason::VolumesBound, BOUND),
    );
    // The cache of claims is behind that of Pods: a Pod that is ready has mounted them.
    check(
        &ready().claim(DATA, &pending(5)),
        "Ready",
        Reason::AllReady,
        SERVES,
        ("True", Reason::VolumesBound, BOUND),
    );
}

#[test]
fn a_claim_that_is_not_bound_is_named_with_what_to_do() {
    let message = "PersistentVolumeClaim data-web-tiproxy-0 of 10Gi is not bound to a volume yet; see whether \
                   StorageClass fast exists, its provisioner runs, and what kubectl describe pvc data-web-tiproxy-0 \
                   --namespace ns says";
    let told = ("False", Reason::VolumeNotBound, message);
    let unbound = "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims.";
    for scene in [starting(&Value::Null), unschedulable(unbound)] {
        let young = scene.clone().claim(DATA, &pending(20));
        check(&young, "Reconciling", Reason::VolumeNotBound, message, told);
        let old = scene.claim(DATA, &pending(60));
        check(&old, "Stalled", Reason::VolumeNotBound, message, told);
    }
    // They were bound meanwhile, and the scheduler has yet to look again.
    let told_bound = ("True", Reason::VolumesBound, BOUND);
    let words = "Pod web-tiproxy-0 fits no node: 0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims";
    let aged = |age: i64| unschedulable(unbound).pod(&json!({"metadata": {"creationTimestamp": ago(age)}}));
    check(
        &aged(50),
        "Reconciling",
        Reason::VolumeNotBound,
        words,
        told_bound,
    );
    check(&aged(60), "Stalled", Reason::Unschedulable, words, told_bound);
    assert_eq!(aged(59).plan().recheck, Some(Duration::from_secs(1)));
    assert_eq!(aged(60).plan().recheck, None);
    // It waits for a node, and it is not the volumes that keep it from one.
    check(
        &unschedulable("0/3 nodes are available: 3 Insufficient cpu.").claim(DATA, &pending(60)),
        "Stalled",
        Reason::Unschedulable,
        "Pod web-tiproxy-0 fits no node: 0/3 nodes are available: 3 Insufficient cpu; add nodes",
        told,
    );
    let classless = json!({"spec": {"storageClassName": null}});
    let mut scene = starting(&Value::Null)
        .claim(DATA, &pending(20))
        .claim(DATA, &classless);
    scene.object.spec.template.volumes.as_mut().unwrap()[0].storage_class_name = None;
    let message = "PersistentVolumeClaim data-web-tiproxy-0 of 10Gi is not bound to a volume yet; it names no StorageClass";
    check(
        &scene,
        "Reconciling",
        Reason::VolumeNotBound,
        message,
        ("False", Reason::VolumeNotBound, message),
    );
    let lost = "PersistentVolumeClaim data-web-tiproxy-0 has lost its PersistentVolume";
    check(
        &starting(&Value::Null).claim(DATA, &json!({"status": {"phase": "Lost"}})),
        "Stalled",
        Reason::VolumeNotBound,
        lost,
        ("False", Reason::VolumeNotBound, lost),
    );
}

#[test]
fn a_node_that_a_volume_is_not_on_is_told() {
    let scene = unschedulable("0/3 nodes are available: 3 node(s) had volume node affinity conflict");
    let status = report(&scene, None).status;
    let (_, reason, message) = brief(&status);
    assert_eq!(reason, "Unschedulable");
    assert!(
        message.contains("delete the Pod's PersistentVolumeClaims"),
        "{message}"
    );
}

#[test]
fn what_is_not_as_asked_for_takes_no_ready_tiproxy_away() {
    let grown = |field: &str, value: Value| {
        let mut scene = ready();
        let mut volumes = serde_json::to_value(&scene.object.spec.template.volumes).unwrap();
        volumes[0][field] = value;
        scene.object.spec.template.volumes = serde_json::from_value(volumes).unwrap();
        scene
    };
    let requested = json!({"spec": {"resources": {"requests": {"storage": "20Gi"}}}});
    let growing = "PersistentVolumeClaim data-web-tiproxy-0 is growing to 20Gi; it has 10Gi now";
    let class = "volumes[data].storageClassName is \"other\", and PersistentVolumeClaim data-web-tiproxy-0 has \"fast\"";
    let gold = "PersistentVolumeClaim data-web-tiproxy-0 is being changed to VolumeAttributesClass gold";
    let failed = "PersistentVolumeClaim data-web-tiproxy-0 cannot be changed as asked for: no space";
    let error = json!({"status": {"conditions": [{"type": "ControllerResizeError", "status": "True", "message": "no space"}]}});
    let has_gold = json!({"spec": {"volumeAttributesClassName": "gold"}});
    let is_gold = json!({"status": {"currentVolumeAttributesClassName": "gold"}});
    let asked = grown("storage", json!("20Gi"));
    let changing = grown("volumeAttributesClassName", json!("gold"));
    for (scene, holding, reason, message) in vec![
        (
            asked.clone(),
            "Ready Reconciling",
            Reason::VolumeChanging,
            growing,
        ),
        (
            asked.clone().claim(DATA, &requested),
            "Ready Reconciling",
            Reason::VolumeChanging,
            growing,
        ),
        (
            asked.claim(DATA, &requested).claim(DATA, &error),
            "Ready Stalled",
            Reason::VolumeChanging,
            failed,
        ),
        (
            grown("storageClassName", json!("other")),
            "Ready Stalled",
            Reason::InvalidSpec,
            class,
        ),
        (
            changing.clone(),
            "Ready Reconciling",
            Reason::VolumeChanging,
            gold,
        ),
        (
            changing.clone().claim(DATA, &has_gold),
            "Ready Reconciling",
            Reason::VolumeChanging,
            gold,
        ),
    ]
    .into_boxed_slice()
    {
        check(&scene, holding, reason, message, ("False", reason, message));
    }
    check(
        &changing.claim(DATA, &has_gold).claim(DATA, &is_gold),
        "Ready",
        Reason::AllReady,
        SERVES,
        ("True", Reason::VolumesBound, BOUND),
    );
}

#[test]
fn a_claim_of_somebody_else_is_a_conflict() {
    let scene = ready().no_pod().claim(
        DATA,
        &json!({"metadata": {"ownerReferences": null, "labels": null}}),
    );
    let message = "PersistentVolumeClaim data-web-tiproxy-0 exists and is not ours";
    check(
        &scene,
        "Stalled",
        Reason::NameConflict,
        message,
        ("False", Reason::NameConflict, message),
    );
}

#[test]
fn what_the_api_server_refused_is_told() {
    let error = |kind: &str, message: &str| {
        ExecuteError::Write(WriteError {
            reason: WriteFailure::AdmissionDenied,
            verb: "patch",
            kind: kind.to_owned(),
            namespace: "ns".to_owned(),
            name: DATA.to_owned(),
            message: message.to_owned(),
        })
    };
    let refused = error(
        "PersistentVolumeClaim",
        "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize",
    );
    let status = report(&ready(), Some(&refused)).status;
    let (holds, reason, message) = volumes(&status);
    assert_eq!((holds.as_str(), reason.as_str()), ("False", "AdmissionDenied"));
    assert!(
        message.contains("set allowVolumeExpansion: true on its StorageClass"),
        "{message}"
    );
    assert_eq!(brief_beside(&status).0, "Ready Stalled");
    // What went wrong elsewhere says nothing of the volumes.
    let status = report(&ready(), Some(&error("ConfigMap", "no"))).status;
    assert_eq!(volumes(&status).0, "True");
    let dropped = ExecuteError::FieldDropped {
        kind: "PersistentVolumeClaim".to_owned(),
        name: DATA.to_owned(),
        field: "spec.volumeAttributesClassName".to_owned(),
        value: "gold".to_owned(),
        needs: "more",
    };
    let status = report(&ready(), Some(&dropped)).status;
    assert_eq!(volumes(&status).1, "InvalidSpec");
}

#[test]
fn a_storage_driver_has_its_time_before_it_is_told_that_something_is_waited_for() {
    let after = |age: i64| {
        let young = json!({"metadata": {"creationTimestamp": ago(age)}});
        let scene = starting(&Value::Null).claim(DATA, &pending(age)).object(&young);
        report(&scene, None).after.as_secs()
    };
    assert_eq!([after(1), after(7), after(8)], [7, 1, 0]);
}

#[test]
fn nothing_is_said_of_the_volumes_of_one_that_goes() {
    let scene = ready().no_claims().deleted(&[name::FINALIZER]);
    let status = report(&scene, None).status;
    assert!(condition::find(&status.conditions, "VolumesReady").is_none());
}
