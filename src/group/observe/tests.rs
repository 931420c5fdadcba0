//! How TiProxies look to the planner.

use serde_json::{Value, json};

use super::*;
use crate::group::testing::{conditions, discovery, group, instance, object, observed};

fn seen(changes: &Value) -> plan::Instance {
    let group = group(&json!({}));
    let desired = group.instance_spec(&discovery());
    of_instance(&instance(&group, 0, changes), true, &group, Some(&desired))
}

fn status(conditions: &Value) -> Value {
    json!({"status": {"conditions": conditions}})
}

#[test]
fn health_is_believed_for_the_present_generation_only() {
    let since = "2026-11-23T09:00:00Z".parse().unwrap();
    for (changes, expected) in [
        (json!({}), Health::Ready { since }),
        (json!({"status": null}), Health::Unobserved),
        (json!({"status": {"conditions": []}}), Health::Unobserved),
        (json!({"metadata": {"generation": 2}}), Health::Unobserved),
        (
            status(&conditions("False", "True", "CrashLooping", 0)),
            Health::Unobserved,
        ),
        (
            status(&conditions("False", "False", "NotReady", 1)),
            Health::NotReady,
        ),
        (
            status(&conditions("Unknown", "False", "NotReady", 1)),
            Health::NotReady,
        ),
        (
            status(&conditions("False", "True", "CrashLooping", 1)),
            Health::NotRunning,
        ),
        (
            status(&conditions("False", "False", "BackendsUnavailable", 1)),
            Health::Starved,
        ),
        (
            json!({"status": {"replicas": 0, "conditions": conditions("False", "False", "BackendsUnavailable", 1)}}),
            Health::NotRunning,
        ),
    ] {
        assert_eq!(seen(&changes).health, expected, "{changes}");
    }
}

#[test]
fn a_change_is_classified_by_what_it_takes() {
    for (changes, expected) in [
        (json!({}), Change::None),
        (json!({"spec": {"version": "v1.3.1"}}), Change::Roll),
        (
            json!({"spec": {"discovery": {"pdAddrs": ["other:2379"]}}}),
            Change::Roll,
        ),
        (json!({"spec": {"features": ["x"]}}), Change::InPlace),
        // What was decided once for a TiProxy is no change.
        (
            json!({"spec": {"offline": true, "topology": {"zone": "a"}}}),
            Change::None,
        ),
        (json!({"metadata": {"annotations": {"mine": "1"}}}), Change::None),
        (
            json!({"metadata": {"annotations": {
                "core.pingcap.com/template-keys": "{\"annotations\":[\"gone\"]}", "gone": "x",
            }}}),
            Change::InPlace,
        ),
    ] {
        assert_eq!(seen(&changes).change, expected, "{changes}");
    }
    let unknown = of_instance(
        &instance(&group(&json!({})), 0, &json!({"spec": {"version": "v1.3.1"}})),
        true,
        &group(&json!({})),
        None,
    );
    assert_eq!(unknown.change, Change::None, "nothing is known of what is wanted");
}

#[test]
fn phase_and_the_rest_are_read_off_the_object() {
    let deleted = json!({"deletionTimestamp": "2026-11-23T09:00:00Z"});
    for (changes, expected) in [
        (json!({}), Phase::Active),
        (json!({"spec": {"offline": false}}), Phase::Active),
        (json!({"spec": {"offline": true}}), Phase::Offline),
        (json!({"metadata": deleted}), Phase::Deleting),
        (
            json!({"metadata": deleted, "spec": {"offline": true}}),
            Phase::Deleting,
        ),
    ] {
        assert_eq!(seen(&changes).phase, expected, "{changes}");
    }
    let full = seen(&json!({
        "metadata": {"name": "stray", "annotations": {name::ANNOTATION_PRIORITY: "-5"}},
        "spec": {"topology": {"zone": "a"}}, "status": {"connections": 9},
    }));
    assert_eq!(
        (
            full.ordinal,
            full.priority,
            full.topology.as_ref().map(name::selector_text).as_deref(),
            full.connections
        ),
        (None, Some(-5), Some("zone=a"), Some(9))
    );
    let bad = seen(&json!({
        "metadata": {"annotations": {name::ANNOTATION_PRIORITY: "high"}}, "status": {"connections": -1},
    }));
    assert_eq!(
        (bad.ordinal, bad.priority, bad.connections),
        (Some(0), None, None)
    );
}

#[test]
fn losing_pd_changes_nothing_that_runs() {
    let group = group(&json!({}));
    let mut lost = observed(object(&json!({})), vec![instance(&group, 0, &json!({}))]);
    lost.discovery = Err(NotFound::Pd("basic".to_owned()));
    assert_eq!(lost.known_discovery(), Some(discovery()));
    lost.instances.clear();
    assert_eq!(lost.known_discovery(), None);
    let view = lost.for_plan(&group, None);
    assert!(!view.may_create && !view.may_roll);
}

#[test]
fn the_youngest_tiproxy_knows_best_where_pd_was() {
    let group = group(&json!({}));
    let born = |ordinal, time: &str, pd: &str| {
        let changes =
            json!({"metadata": {"creationTimestamp": time}, "spec": {"discovery": {"pdAddrs": [pd]}}});
        instance(&group, ordinal, &changes)
    };
    let mut lost = observed(
        object(&json!({})),
        vec![
            born(0, "2026-11-23T09:00:02Z", "new:2379"),
            born(1, "2026-11-23T09:00:01Z", "old:2379"),
        ],
    );
    lost.discovery = Err(NotFound::Pd("basic".to_owned()));
    assert_eq!(lost.known_discovery().unwrap().pd_addrs, ["new:2379"]);
}
