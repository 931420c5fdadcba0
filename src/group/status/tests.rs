//! What a group's status says.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::api::TiProxyGroup;
use crate::group::deadline::{Deadline, deadline};
use crate::group::discovery::NotFound;
use crate::group::plan::{self, counts};
use crate::group::testing::{conditions, discovery, group, instance, object, observed};
use crate::group::validate::validate;
use crate::revision;

fn now() -> Timestamp {
    "2026-11-23T10:00:00Z".parse().unwrap()
}

fn told_at(observed: &Observed, now: Timestamp) -> TiProxyGroupStatus {
    let group = validate(&observed.object);
    let known = observed.known_discovery();
    let Ok(group) = &group else {
        return status(observed, Err(group.as_ref().unwrap_err()), &[], None, now);
    };
    let desired = known.as_ref().map(|known| group.instance_spec(known));
    let view = observed.for_plan(group, desired.as_ref());
    let plan = plan::plan(&view, now);
    let planned = Planned {
        group,
        revision: desired.map(|desired| revision::name(&group.name, &desired)),
        counts: counts(&view, now),
        plan: &plan,
        deadline: deadline(observed, group, &plan, now),
        refusal: None,
        warnings: Vec::new(),
    };
    status(observed, Ok(&planned), &[], None, now)
}

fn told(observed: &Observed) -> TiProxyGroupStatus {
    let found = told_at(observed, now());
    // What was written is not written again, a moment later or as late as progress is waited for.
    let mut after = observed.clone();
    let mut object = (*observed.object).clone();
    object.status = Some(found.clone());
    after.object = Arc::new(object);
    assert_eq!(told_at(&after, now()), found);
    let later = now() + k8s_openapi::jiff::SignedDuration::from_mins(9);
    assert_eq!(told_at(&after, later), found);
    found
}

/// Which of the conditions hold, Ready's reason, and its message.
#[track_caller]
fn check(observed: &Observed, holding: &str, reason: Reason, message: &str) {
    let status = told(observed);
    let holds = |kind: &&str| condition::is_true_for(&status.conditions, kind, Some(3));
    let found: Vec<&str> = ["Ready", "Reconciling", "Stalled", "Available"]
        .into_iter()
        .filter(holds)
        .collect();
    let ready = condition::find(&status.conditions, "Ready").unwrap();
    assert_eq!(
        (
            found.join(" ").as_str(),
            ready.reason.as_str(),
            ready.message.as_str()
        ),
        (holding, reason.as_str(), message)
    );
    assert_eq!(status.observed_generation, Some(3));
}

fn of(spec: &Value, changes: &[Value]) -> Observed {
    let group = group(&json!({}));
    let instances = (0..)
        .zip(changes)
        .map(|(ordinal, changes)| instance(&group, ordinal, changes));
    observed(object(spec), instances.collect())
}

fn three(third: Value) -> Observed {
    of(&json!({}), &[json!({}), json!({}), third])
}

fn unready(stalled: &str, reason: &str) -> Value {
    json!({"status": {"conditions": conditions("False", stalled, reason, 1)}})
}

#[test]
fn each_state_of_a_group_is_told() {
    check(
        &three(json!({})),
        "Ready Available",
        Reason::AllReady,
        "3 of 3 TiProxies are updated and available",
    );
    check(
        &of(&json!({"replicas": 0}), &[]),
        "Ready Available",
        Reason::ScaledToZero,
        "no TiProxy is asked for and none is there",
    );
    let figures = "of 3 TiProxies asked for 3 are updated and 2 available";
    check(
        &three(unready("False", "NotReady")),
        "Reconciling",
        Reason::Progressing,
        &format!("{figures}; waiting for web-2 to become Ready"),
    );
    check(
        &three(unready("False", "BackendsUnavailable")),
        "Reconciling",
        Reason::BackendsUnavailable,
        &format!("{figures}; waiting for web-2 to find a TiDB: why"),
    );
    check(
        &three(unready("True", "ImageUnavailable")),
        "Stalled",
        Reason::ImageUnavailable,
        "TiProxy web-2: why",
    );
    // An old status says nothing about what is asked for now.
    check(
        &three(json!({"metadata": {"generation": 2}})),
        "Reconciling",
        Reason::Progressing,
        &format!("{figures}; waiting for web-2 to become Ready"),
    );
}

#[test]
fn trouble_of_an_older_template_does_not_outlive_its_correction() {
    let mut broken = unready("True", "ImageUnavailable");
    broken["spec"] = json!({"version": "v9.9.9"});
    broken["status"]["updateRevision"] = json!("older");
    let observed = three(broken);
    let status = told(&observed);
    assert!(
        condition::is_true(&status.conditions, "Reconciling"),
        "{status:#?}"
    );
    assert!(!condition::is_true(&status.conditions, "Stalled"));
}

#[test]
fn what_is_missing_is_told_before_what_it_leads_to() {
    let mut without = of(&json!({}), &[]);
    without.discovery = Err(NotFound::Cluster("basic".to_owned()));
    let message = without.discovery.clone().unwrap_err().to_string();
    check(&without, "Reconciling", Reason::ClusterNotFound, &message);
    without.discovery = Err(NotFound::Pd("basic".to_owned()));
    let message = without.discovery.clone().unwrap_err().to_string();
    check(&without, "Reconciling", Reason::PDNotFound, &message);
    // Those that run know where PD was.
    let mut lost = three(json!({}));
    lost.discovery = Err(NotFound::Pd("basic".to_owned()));
    check(
        &lost,
        "Ready Available",
        Reason::AllReady,
        &format!(
            "3 of 3 TiProxies are updated and available; they keep the last known address of PD: {message}"
        ),
    );
}

#[test]
fn owners_conflicts_and_deletion_are_told() {
    let changed = |changes: &Value| {
        let mut observed = three(json!({}));
        let mut value = serde_json::to_value(&*observed.object).unwrap();
        crate::instance::testing::lay_over(&mut value, changes);
        observed.object = Arc::new(serde_json::from_value::<TiProxyGroup>(value).unwrap());
        observed
    };
    let reason = |observed: &Observed| {
        let status = told(observed);
        let stalled = condition::is_true(&status.conditions, "Stalled");
        (
            stalled,
            condition::find(&status.conditions, "Ready")
                .unwrap()
                .reason
                .clone(),
        )
    };
    let managed = changed(&json!({"metadata": {"finalizers": [name::TIDB_OPERATOR_FINALIZER]}}));
    assert_eq!(reason(&managed), (true, "ManagedByTiDBOperator".to_owned()));
    let child =
        three(json!({"metadata": {"labels": {name::LABEL_MANAGED_BY: name::MANAGED_BY_TIDB_OPERATOR}}}));
    assert_eq!(reason(&child), (true, "ManagedByTiDBOperator".to_owned()));
    let invalid =
        changed(&json!({"spec": {"template": {"spec": {"config": "labels={\"group\":\"oltp\"}"}}}}));
    assert_eq!(reason(&invalid), (true, "InvalidSpec".to_owned()));
    let going = changed(&json!({"metadata": {"deletionTimestamp": "2026-11-23T09:00:00Z"}}));
    assert_eq!(reason(&going), (false, "Leaving".to_owned()));
    let mut conflict = three(json!({}));
    conflict.peer_service = Slot::Foreign(Arc::default());
    assert_eq!(reason(&conflict), (true, "NameConflict".to_owned()));
}

#[test]
fn counters_and_revisions() {
    let offline = json!({"spec": {"offline": true}});
    let mut old = json!({"spec": {"version": "v1.3.1"}});
    old["status"] = json!({"updateRevision": "older"});
    let status = told(&of(
        &json!({}),
        &[json!({}), unready("False", "NotReady"), old, offline],
    ));
    let numbers = [
        status.replicas,
        status.ready_replicas,
        status.updated_replicas,
        status.available_replicas,
        status.draining_replicas,
        status.current_replicas,
    ];
    assert_eq!(numbers, [3, 2, 2, 2, 1, 2].map(Some));
    assert_eq!(status.version, None, "not every TiProxy runs it");
    assert!(status.selector.unwrap().contains("core.pingcap.com/serving=true"));

    let mut done = three(json!({}));
    let mut object = (*done.object).clone();
    object.status = Some(TiProxyGroupStatus {
        current_revision: Some("older".to_owned()),
        ..TiProxyGroupStatus::default()
    });
    done.object = Arc::new(object);
    let status = told(&done);
    assert_eq!(status.version.as_deref(), Some("v1.3.2"));
    let spec = group(&json!({})).instance_spec(&discovery());
    assert_eq!(status.current_revision, Some(revision::name("web", &spec)));
    assert_eq!(status.current_revision, status.update_revision);
}

#[test]
fn a_template_that_is_refused_is_told_while_what_runs_is_counted() {
    let group = group(&json!({}));
    let instances = (0..3)
        .map(|ordinal| instance(&group, ordinal, &json!({})))
        .collect();
    let observed = observed(
        object(&json!({"template": {"spec": {"version": "v1.3.1"}}})),
        instances,
    );
    let group = validate(&observed.object).unwrap();
    let desired = group.instance_spec(&discovery());
    let mut view = observed.for_plan(&group, Some(&desired));
    let free = plan::plan(&view, now());
    view.may_create = false;
    view.may_roll = false;
    let plan = plan::plan(&view, now());
    assert!(!free.actions.is_empty() && plan.actions.is_empty());
    let refusal = Refusal {
        reason: Reason::InvalidSpec,
        message: "spec.template.spec.overlay.pod: no".to_owned(),
    };
    let planned = Planned {
        group: &group,
        revision: Some(revision::name(&group.name, &desired)),
        counts: counts(&view, now()),
        plan: &plan,
        deadline: Deadline::Stopped,
        refusal: Some(&refusal),
        warnings: Vec::new(),
    };
    let status = status(&observed, Ok(&planned), &[], None, now());
    let stalled = condition::find(&status.conditions, "Stalled").unwrap();
    assert_eq!(
        (
            stalled.status.as_str(),
            stalled.reason.as_str(),
            stalled.message.as_str()
        ),
        ("True", "InvalidSpec", refusal.message.as_str())
    );
    assert_eq!(
        (status.ready_replicas, status.updated_replicas),
        (Some(3), Some(0))
    );
}
