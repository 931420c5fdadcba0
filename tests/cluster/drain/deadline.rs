//! How long clients are given is for the group to say, also while they leave.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams, PropagationPolicy};
use serde_json::json;
use tiproxy_operator::api::name::ANNOTATION_DRAIN_SECONDS;
use tiproxy_operator::api::{TiProxy, TiProxyGroup};

use super::{LATE, first_pod, group, leave_of, leaves, pod_gone, pod_gone_within, respond, set_timeout};
use crate::harness;
use crate::harness::responder::Says;
use crate::harness::wait::{eventually, expect};
use crate::lifecycle::scenario::{GROUP, PATIENCE, Scenario};

/// Much sooner than the deadline that a Pod had at first.
const SOON: Duration = Duration::from_secs(20);

/// Waits until a TiProxy says that so much time lies between the begin and the deadline.
async fn is_given(scenario: &Scenario<'_>, name: &str, seconds: i64) {
    let what = format!("{name} has {seconds} s");
    eventually(PATIENCE, &what, async || {
        let instance: TiProxy = scenario.get(name).await;
        let drain = instance
            .status
            .and_then(|status| status.drain)
            .unwrap_or_default();
        let given = drain.deadline.as_ref().zip(drain.begin_time.as_ref());
        let given = given.map(|(deadline, begin)| deadline.0.duration_since(begin.0).as_secs());
        expect(given == Some(seconds), drain)
    })
    .await;
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_shorter_time_ends_the_drains_that_go_on() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        let groups = ["scaled-in", "one-deleted", "deleted", "rolled"];
        for name in groups {
            test.apply(&group(name, 1, 600, json!({}))).await;
        }
        let (mut uids, mut responders) = (Vec::new(), Vec::new());
        for name in groups {
            scenario.ready(name).await;
            uids.push(scenario.pod_uids(name).await[&first_pod(name)].clone());
            responders.push(respond(&scenario, name, &Says::connected(5, 5)).await);
        }
        let background = PropagationPolicy::Background;
        scenario.change("scaled-in", json!({"replicas": 0})).await;
        scenario
            .delete::<TiProxy>("one-deleted-0", background.clone())
            .await;
        scenario.delete::<TiProxyGroup>("deleted", background).await;
        scenario
            .change_template("rolled", json!({"version": "v1.3.2"}))
            .await;
        for name in groups {
            leaves(&scenario, &first_pod(name)).await;
            is_given(&scenario, &format!("{name}-0"), 600).await;
        }
        for (name, uid) in groups.iter().zip(&uids) {
            set_timeout(&scenario, name, 1).await;
            pod_gone_within(&scenario, &first_pod(name), uid, SOON).await;
        }
        for name in ["scaled-in", "one-deleted", "rolled"] {
            scenario.ready(name).await;
        }
        scenario.all_gone("deleted").await;
        scenario.finish().await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_drain_that_is_switched_off_ends_at_once() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        test.apply(&group(GROUP, 1, 600, json!({}))).await;
        scenario.ready(GROUP).await;
        let uid = scenario.pod_uids(GROUP).await[&first_pod(GROUP)].clone();
        let _responders = respond(&scenario, GROUP, &Says::connected(5, 5)).await;
        scenario.change(GROUP, json!({"replicas": 0})).await;
        leaves(&scenario, &first_pod(GROUP)).await;
        set_timeout(&scenario, GROUP, 0).await;
        pod_gone_within(&scenario, &first_pod(GROUP), &uid, SOON).await;
        scenario.ready(GROUP).await;
        scenario.finish().await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_longer_time_is_given_to_those_who_are_leaving() {
    const LONGER: i64 = 14;
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        test.apply(&group(GROUP, 1, 7, json!({}))).await;
        scenario.ready(GROUP).await;
        let uid = scenario.pod_uids(GROUP).await[&first_pod(GROUP)].clone();
        let _responders = respond(&scenario, GROUP, &Says::connected(5, 5)).await;
        scenario.change(GROUP, json!({"replicas": 0})).await;
        leaves(&scenario, &first_pod(GROUP)).await;
        set_timeout(&scenario, GROUP, u32::try_from(LONGER).unwrap()).await;
        is_given(&scenario, "web-0", LONGER).await;
        pod_gone(&scenario, &first_pod(GROUP), &uid).await;
        let leave = leave_of(&scenario.entries().await, &uid);
        let took = leave.deleted.unwrap() - leave.began.unwrap();
        assert!((LONGER..=LONGER + LATE).contains(&took), "{leave:?}");
        scenario.ready(GROUP).await;
        scenario.finish().await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn the_annotation_of_tidb_operator_stands_for_the_time_when_it_is_a_number() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        // What it says, and how long clients are given then.
        let cases = [("number", "77", 77), ("text", "a while", 60)];
        for (name, annotation, _) in cases {
            let mut group = group(name, 1, 0, json!({}));
            group["spec"]["template"]["spec"]["drain"] = json!({"quietSeconds": 1});
            let annotations = json!({ANNOTATION_DRAIN_SECONDS: annotation});
            group["spec"]["template"]["metadata"] = json!({"annotations": annotations});
            test.apply(&group).await;
        }
        for (name, _, seconds) in cases {
            scenario.ready(name).await;
            let _responders = respond(&scenario, name, &Says::connected(5, 5)).await;
            let uid = scenario.pod_uids(name).await[&first_pod(name)].clone();
            scenario.change(name, json!({"replicas": 0})).await;
            leaves(&scenario, &first_pod(name)).await;
            is_given(&scenario, &format!("{name}-0"), seconds).await;
            set_timeout(&scenario, name, 1).await;
            pod_gone_within(&scenario, &first_pod(name), &uid, SOON).await;
            scenario.ready(name).await;
        }
        scenario.finish().await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_begin_that_cannot_be_read_gives_the_whole_time_again() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        test.apply(&group(GROUP, 1, 5, json!({}))).await;
        scenario.ready(GROUP).await;
        let pod: Pod = scenario.get(&first_pod(GROUP)).await;
        let _responders = respond(&scenario, GROUP, &Says::connected(5, 5)).await;
        scenario.change(GROUP, json!({"replicas": 0})).await;
        leaves(&scenario, &first_pod(GROUP)).await;
        // Somebody spoils it; without a time there would be no deadline.
        let key = tiproxy_operator::api::name::ANNOTATION_DRAIN_BEGIN;
        let patch = Patch::Merge(json!({"metadata": {"annotations": {key: "some time ago"}}}));
        test.api::<Pod>()
            .patch(&first_pod(GROUP), &PatchParams::default(), &patch)
            .await
            .unwrap();
        pod_gone_within(&scenario, &first_pod(GROUP), &pod.uid().unwrap(), SOON).await;
        scenario.ready(GROUP).await;
        scenario.finish().await;
    });
}
