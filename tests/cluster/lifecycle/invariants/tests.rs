//! Hand-made histories: a good one that passes, and for each invariant some that break it.

mod story;

use serde_json::{Value, json};
use tiproxy_operator::api::name::{ANNOTATION_DRAIN_BEGIN, LABEL_SERVING, MANAGER_GROUP};

use super::{Delete, delete_violations, unrest};
use story::{Story, owner, time};

/// A group of 3 with a new version that the operator has seen.
fn rolling(fields: Value) -> Story {
    let mut story = Story::of(3, 3, fields.clone());
    story.group(3, 3, "new", fields);
    story.observed(3);
    story
}

/// A group of 3 that run and give their clients this time.
fn draining(timeout: i64) -> Story {
    let mut story = Story::of(3, 3, json!({}));
    for ordinal in 0..3 {
        story.change("TiProxy", &format!("web-{ordinal}"), |instance| {
            instance["spec"]["drain"] = json!({"timeoutSeconds": timeout});
        });
        story.change("Pod", &format!("web-tiproxy-{ordinal}"), |pod| {
            pod["metadata"]["labels"] = json!({LABEL_SERVING: "true"});
            pod["status"]["containerStatuses"] = json!([{"name": "tiproxy", "state": {"running": {}}}]);
        });
    }
    story.pass(100);
    story
}

#[test]
fn a_roll_by_the_book_breaks_nothing() {
    let mut story = rolling(json!({}));
    for ordinal in 0..3 {
        story.replacement(3 + ordinal);
        story.pass(1);
        story.leave(ordinal);
        let (pod, instance) = (format!("web-tiproxy-{ordinal}"), format!("web-{ordinal}"));
        story.delete("Pod", &pod);
        story.gone("Pod", &pod);
        story.gone("TiProxy", &instance);
    }
    story.expect(&[]);
}

#[test]
fn a_creates_more_than_the_surge() {
    let mut story = rolling(json!({}));
    story.instance(3, "new");
    story.expect(&[]);
    story.instance(4, "new");
    story.expect(&["(a)"]);
    let mut two = rolling(json!({"maxSurge": "40%"}));
    two.instance(3, "new");
    two.instance(4, "new");
    two.expect(&[]);
    two.instance(5, "new");
    two.expect(&["(a)"]);
}

#[test]
fn a_leavers_of_a_roll_count_and_those_of_a_scale_in_do_not() {
    let mut story = rolling(json!({}));
    story.replacement(3);
    story.leave(0);
    story.instance(4, "new");
    story.expect(&["(a)"]);

    let mut story = Story::of(3, 3, json!({}));
    story.group(3, 1, "old", json!({}));
    story.leave(2);
    story.leave(1);
    story.group(4, 3, "old", json!({}));
    story.observed(4);
    story.instance(3, "old");
    story.instance(4, "old");
    story.expect(&[]);
    story.instance(5, "old");
    story.expect(&[]);
    story.instance(6, "old");
    story.expect(&["(a)"]);
}

#[test]
fn a_spec_that_may_not_be_known_yet_excuses_and_one_that_was_seen_does_not() {
    let mut story = Story::of(4, 3, json!({"maxSurge": 0}));
    story.group(3, 3, "old", json!({"maxSurge": 0}));
    story.instance(3, "old");
    story.expect(&[]);
    let mut story = Story::of(4, 3, json!({"maxSurge": 0}));
    story.group(3, 3, "old", json!({"maxSurge": 0}));
    story.observed(3);
    story.instance(3, "old");
    story.expect(&["(a)"]);
}

#[test]
fn b_leaves_before_the_replacement_is_available() {
    for (what, prepare) in [
        ("nobody came", (|_| {}) as fn(&mut Story)),
        ("no Pod", |story| story.instance(3, "new")),
        ("a Pod that is not ready, and a status that lies", |story| {
            story.instance(3, "new");
            story.pod(3, false);
            story.ready(3, 1);
        }),
        ("a status of an older generation", |story| {
            story.instance(3, "new");
            story.pod(3, true);
            story.ready(3, 0);
        }),
    ] {
        let mut story = rolling(json!({}));
        prepare(&mut story);
        story.leave(0);
        println!("{what}");
        story.expect(&["(b)"]);
    }
}

#[test]
fn b_waits_for_min_ready_seconds() {
    for (seconds, expected) in [(2, &["(b)"][..]), (3, &[])] {
        let mut story = rolling(json!({"minReadySeconds": 3}));
        story.replacement(3);
        story.pass(seconds);
        story.leave(0);
        story.expect(expected);
    }
}

#[test]
fn b_what_is_written_in_place_takes_nobody_away() {
    for (version, expected) in [("old", &[][..]), ("other", &["(b)"])] {
        let mut story = rolling(json!({"maxSurge": 0}));
        // All are told something new in the same pass in which one leaves, and have not answered yet.
        for ordinal in [1, 2] {
            story.change("TiProxy", &format!("web-{ordinal}"), |instance| {
                instance["spec"]["drain"] = json!({"timeoutSeconds": 7});
                instance["metadata"]["generation"] = 2.into();
            });
        }
        story.change("TiProxy", "web-1", |instance| {
            instance["spec"]["version"] = version.into();
        });
        story.leave(0);
        story.expect(expected);
    }
}

#[test]
fn b_who_was_available_through_a_silence_was_so_to_its_end() {
    let mut story = rolling(json!({"maxSurge": 0}));
    story.pass(10);
    for ordinal in [1, 2] {
        story.change("TiProxy", &format!("web-{ordinal}"), |instance| {
            instance["spec"]["drain"] = json!({"timeoutSeconds": 7});
            instance["metadata"]["generation"] = 2.into();
        });
    }
    story.leave(0);
    story.expect(&[]);
    // One that says nothing for long does not count any more.
    story.ready(1, 2);
    story.pass(10);
    story.leave(1);
    story.expect(&["(b)"]);
}

#[test]
fn b_two_leave_for_one_that_came() {
    let mut story = rolling(json!({}));
    story.replacement(3);
    story.leave(0);
    story.expect(&[]);
    story.leave(1);
    story.expect(&["(b)"]);
    let mut allowed = rolling(json!({"maxUnavailable": "50%"}));
    allowed.leave(0);
    allowed.expect(&[]);
    allowed.leave(1);
    allowed.expect(&["(b)"]);
}

#[test]
fn b_offline_and_recreation_are_departures_too() {
    let mut story = rolling(json!({}));
    story.change("TiProxy", "web-0", |instance| {
        instance["spec"]["offline"] = true.into();
    });
    story.expect(&["(b)"]);
    let mut story = rolling(json!({}));
    story.change("TiProxy", "web-0", |instance| {
        instance["spec"]["version"] = "new".into();
    });
    story.expect(&["(b)"]);
    let mut story = rolling(json!({}));
    story.change("TiProxy", "web-0", |instance| {
        instance["spec"]["drain"] = json!({"timeoutSeconds": 1});
    });
    story.expect(&[]);
    // Without a surge one may be away, and not two.
    let mut story = rolling(json!({"maxSurge": 0}));
    for (ordinal, expected) in [(0, &[][..]), (1, &["(b)"])] {
        story.change("TiProxy", &format!("web-{ordinal}"), |instance| {
            instance["spec"]["version"] = "new".into();
            instance["metadata"]["generation"] = 2.into();
        });
        story.expect(expected);
    }
}

#[test]
fn b_who_is_not_available_may_go_and_a_going_group_takes_all_along() {
    let mut story = rolling(json!({}));
    story.change("Pod", "web-tiproxy-0", |pod| {
        pod["status"]["conditions"][0]["status"] = "False".into();
    });
    story.pass(5);
    story.leave(0);
    story.expect(&[]);
    let mut story = rolling(json!({}));
    story.delete("TiProxyGroup", "web");
    for ordinal in 0..3 {
        story.leave(ordinal);
        story.delete("Pod", &format!("web-tiproxy-{ordinal}"));
    }
    story.expect(&[]);
}

#[test]
fn b_a_loss_excuses_only_while_it_may_be_unknown() {
    for (seconds, expected) in [(1, &[][..]), (5, &["(b)"])] {
        let mut story = rolling(json!({}));
        story.replacement(3);
        story.change("Pod", "web-tiproxy-1", |pod| {
            pod["status"]["conditions"][0]["status"] = "False".into();
        });
        story.pass(seconds);
        story.leave(0);
        story.expect(expected);
    }
}

#[test]
fn b_what_somebody_else_deletes_is_not_held_against_the_operator() {
    let mut story = Story::of(3, 3, json!({}));
    story.outside("TiProxy", "web-0");
    story.leave(0);
    story.outside("Pod", "web-tiproxy-1");
    story.delete("Pod", "web-tiproxy-1");
    story.expect(&[]);
    story.pass(5);
    story.leave(2);
    story.expect(&["(b)"]);
}

#[test]
fn b_a_pod_is_taken_from_an_instance_that_stays() {
    let mut story = Story::of(3, 3, json!({}));
    story.delete("Pod", "web-tiproxy-0");
    story.expect(&["(b)"]);
    let mut story = Story::of(3, 3, json!({}));
    story.gone("Pod", "web-tiproxy-0");
    story.expect(&["(b)"]);
    let mut failed = Story::of(3, 3, json!({}));
    failed.change("Pod", "web-tiproxy-0", |pod| {
        pod["status"]["phase"] = "Failed".into();
    });
    failed.delete("Pod", "web-tiproxy-0");
    failed.expect(&[]);
    let mut outdated = Story::of(3, 3, json!({"maxSurge": 0}));
    outdated.change("TiProxy", "web-0", |instance| {
        instance["spec"]["version"] = "new".into();
    });
    outdated.delete("Pod", "web-tiproxy-0");
    outdated.expect(&[]);
}

#[test]
fn b_a_pod_begins_to_leave_although_it_is_wanted() {
    let mut story = draining(60);
    story.begin_leave(0);
    story.expect(&["(b)"]);
    // Its instance leaves, or did so a moment ago.
    for (seconds, expected) in [(1, &[][..]), (5, &["(b)"])] {
        let mut story = draining(60);
        story.group(3, 2, "old", json!({}));
        story.set_offline(0, true);
        story.group(4, 3, "old", json!({}));
        story.set_offline(0, false);
        story.pass(seconds);
        story.begin_leave(0);
        story.expect(expected);
    }
    let mut suspended = draining(60);
    suspended.put(
        "Cluster",
        json!({"metadata": {"name": "basic", "uid": "basic"}, "spec": {"suspendAction": {"suspendCompute": true}}}),
    );
    suspended.pass(100);
    suspended.begin_leave(0);
    suspended.expect(&[]);
}

#[test]
fn b_a_pod_may_be_of_what_was_asked_for_a_moment_before() {
    for (seconds, expected) in [(1, &[][..]), (5, &["(b)"])] {
        let mut story = Story::of(3, 3, json!({"maxSurge": 0}));
        story.change("TiProxy", "web-0", |instance| {
            instance["spec"]["version"] = "new".into();
        });
        story.delete("Pod", "web-tiproxy-0");
        story.gone("Pod", "web-tiproxy-0");
        story.change("TiProxy", "web-0", |instance| {
            instance["spec"]["version"] = "newer".into();
        });
        story.pass(seconds);
        story.pod(0, true);
        story.pass(100);
        story.begin_leave(0);
        story.expect(expected);
    }
}

#[test]
fn b_who_begins_to_leave_is_not_available() {
    let mut story = rolling(json!({}));
    story.replacement(3);
    story.set_offline(0, true);
    story.begin_leave(0);
    story.expect(&[]);
    story.replacement(4);
    story.leave(1);
    story.expect(&["(a)"]);
    // The only one that could stay for another is on its way out.
    let mut story = rolling(json!({"maxSurge": 0}));
    story.change("TiProxy", "web-0", |instance| {
        instance["spec"]["version"] = "new".into();
        instance["metadata"]["generation"] = 2.into();
    });
    story.begin_leave(0);
    story.ready(0, 2);
    story.pass(5);
    story.set_offline(1, true);
    story.expect(&["(b)"]);
}

#[test]
fn leave_clients_are_given_their_time() {
    for (timeout, quiet, waits, expected) in [
        (60, 15, 15, &[][..]),
        (60, 15, 14, &["(leave)"]),
        (3, 15, 3, &[]),
        (3, 15, 2, &["(leave)"]),
    ] {
        let mut story = draining(timeout);
        story.change("TiProxy", "web-0", |instance| {
            instance["spec"]["drain"]["quietSeconds"] = quiet.into();
        });
        story.group(3, 2, "old", json!({}));
        story.set_offline(0, true);
        story.begin_leave(0);
        story.pass(waits);
        story.delete("Pod", "web-tiproxy-0");
        println!("{timeout} {quiet} {waits}");
        story.expect(expected);
    }
}

#[test]
fn leave_a_running_pod_is_not_deleted_as_it_serves() {
    let leave = |story: &mut Story| {
        story.group(3, 2, "old", json!({}));
        story.set_offline(0, true);
        story.pass(100);
        story.delete("Pod", "web-tiproxy-0");
    };
    let mut story = draining(60);
    leave(&mut story);
    story.expect(&["(leave)"]);
    let mut off = draining(0);
    leave(&mut off);
    off.expect(&[]);
    let mut by_user = draining(60);
    by_user.outside("Pod", "web-tiproxy-0");
    leave(&mut by_user);
    by_user.expect(&[]);
    let mut failed = draining(60);
    failed.change("Pod", "web-tiproxy-0", |pod| {
        pod["status"]["phase"] = "Failed".into();
    });
    leave(&mut failed);
    failed.expect(&[]);
    let mut waiting = draining(60);
    waiting.change("Pod", "web-tiproxy-0", |pod| {
        pod["status"]["containerStatuses"][0]["state"] = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    });
    leave(&mut waiting);
    waiting.expect(&[]);
}

#[test]
fn leave_the_label_and_the_begin_change_together() {
    let mut story = draining(60);
    story.group(3, 2, "old", json!({}));
    story.set_offline(0, true);
    story.change("Pod", "web-tiproxy-0", |pod| {
        pod["metadata"]["annotations"] = json!({ANNOTATION_DRAIN_BEGIN: time(0)});
    });
    story.expect(&["(leave)"]);
    let mut revived = draining(60);
    revived.group(3, 2, "old", json!({}));
    revived.set_offline(0, true);
    revived.begin_leave(0);
    revived.set_offline(0, false);
    revived.change("Pod", "web-tiproxy-0", |pod| {
        pod["metadata"]["annotations"] = json!({});
    });
    revived.expect(&["(leave)"]);
}

#[test]
fn a_lost_instances_do_not_hold_back_their_replacements() {
    let mut story = Story::of(3, 3, json!({"maxSurge": 0}));
    story.instance(3, "old");
    story.expect(&["(a)"]);
    let mut story = Story::of(3, 3, json!({"maxSurge": 0}));
    story.change("TiProxy", "web-0", |instance| {
        instance["status"]["conditions"][0] =
            json!({"type": "Ready", "status": "False", "reason": "PodLost"});
    });
    story.instance(3, "old");
    story.expect(&[]);
}

#[test]
fn c_two_pods_for_one_instance() {
    let mut story = Story::of(1, 1, json!({}));
    story.pod_named(0, "web-tiproxy-other", false);
    story.expect(&["(c)"]);
}

#[test]
fn ready_is_said_too_early() {
    let say = |story: &mut Story| {
        let since = time(story.second);
        story.change("TiProxyGroup", "web", |group| {
            let generation = group["metadata"]["generation"].clone();
            group["status"] = json!({"observedGeneration": generation, "conditions": [{
                "type": "Ready", "status": "True", "observedGeneration": generation, "lastTransitionTime": since,
            }]});
        });
    };
    let mut story = Story::of(3, 3, json!({}));
    say(&mut story);
    story.expect(&[]);
    let mut story = Story::of(4, 3, json!({}));
    say(&mut story);
    story.expect(&["(ready)"]);
    let mut story = rolling(json!({}));
    say(&mut story);
    story.expect(&["(ready)"]);
}

#[test]
fn d_a_delete_is_bound_to_what_was_there() {
    let story = Story::of(1, 1, json!({}));
    let good = Delete {
        resource: "tiproxies".to_owned(),
        name: "web-0".to_owned(),
        uid: Some("instance-0".to_owned()),
        resource_version: Some("2".to_owned()),
    };
    let judge = |delete: &Delete| delete_violations(&story.entries, std::slice::from_ref(delete)).len();
    assert_eq!(judge(&good), 0);
    for bad in [
        Delete {
            uid: None,
            ..good.clone()
        },
        Delete {
            uid: Some("another".to_owned()),
            ..good.clone()
        },
        Delete {
            name: "web-1".to_owned(),
            ..good.clone()
        },
        Delete {
            resource_version: None,
            ..good.clone()
        },
        Delete {
            resource_version: Some("999".to_owned()),
            ..good.clone()
        },
    ] {
        assert_eq!(judge(&bad), 1, "{bad:?}");
    }
    let mut story = Story::of(1, 1, json!({}));
    story.put("Pod", json!({"metadata": {"name": "foreign", "uid": "foreign"}}));
    let foreign = Delete {
        resource: "pods".to_owned(),
        name: "foreign".to_owned(),
        uid: Some("foreign".to_owned()),
        resource_version: None,
    };
    assert_eq!(delete_violations(&story.entries, &[foreign]).len(), 1);
}

#[test]
fn e_somebody_elses_objects_are_not_written_to() {
    for metadata in [
        json!({"name": "x", "uid": "x"}),
        json!({"name": "x", "uid": "x", "ownerReferences": [owner("TiProxy", "web-9", "unknown")]}),
        json!({"name": "x", "uid": "x", "labels": {"pingcap.com/managed-by": "tiproxy-operator", "pingcap.com/group": "a"}}),
    ] {
        for kind in ["ConfigMap", "Pod", "Service"] {
            let mut story = Story::of(1, 1, json!({}));
            story.put(kind, json!({"metadata": metadata}));
            story.expect(&[]);
            story.written_by_operator(kind, "x", "", json!({"f:metadata": {"f:labels": {}}}));
            story.expect(&["(e)"]);
        }
    }
}

#[test]
fn e_a_group_gets_a_finalizer_and_a_status_and_nothing_else() {
    let mut story = Story::of(1, 1, json!({}));
    let finalizers = json!({"f:metadata": {"f:finalizers": {".": {}}}});
    story.written_by_operator("TiProxyGroup", "web", "", finalizers);
    story.written_by_operator("TiProxyGroup", "web", "status", json!({"f:status": {}}));
    story.expect(&[]);
    for fields in [json!({"f:spec": {}}), json!({"f:metadata": {"f:labels": {}}})] {
        let mut story = Story::of(1, 1, json!({}));
        story.written_by_operator("TiProxyGroup", "web", "", fields);
        story.expect(&["(e)", "(writer)"]);
    }
}

#[test]
fn e_orphans_may_be_adopted_and_own_objects_written() {
    let mut story = Story::of(1, 1, json!({}));
    story.written_by_operator("Pod", "web-tiproxy-0", "", json!({"f:metadata": {}}));
    let labels = json!({"pingcap.com/managed-by": "tiproxy-operator", "pingcap.com/group": "web"});
    story.put(
        "Service",
        json!({"metadata": {"name": "s", "uid": "s", "labels": labels}}),
    );
    story.change("Service", "s", |service| {
        service["metadata"]["ownerReferences"] = json!([owner("TiProxyGroup", "web", "group")]);
        let mark = json!({"manager": MANAGER_GROUP, "fieldsV1": {}});
        service["metadata"]["managedFields"]
            .as_array_mut()
            .unwrap()
            .push(mark);
    });
    story.expect(&[]);
}

#[test]
fn f_a_write_at_rest() {
    let mut story = Story::of(1, 1, json!({}));
    let before = story.entries.clone();
    assert_eq!(unrest(&before, &story.entries), [""; 0]);
    story.observed(2);
    assert_eq!(unrest(&before, &story.entries).len(), 1);
}
