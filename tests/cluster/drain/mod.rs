//! How Pods leave, whatever their TiProxy answers: the clients' time ends at the latest at the deadline, at once where
//! nothing runs, and who is wanted again comes back.

mod deadline;
mod fault;
mod mark;
mod nothing_runs;
mod quiet;
mod revive;
mod way;

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tiproxy_operator::api::name::{ANNOTATION_DRAIN_BEGIN, LABEL_SERVING};
use tiproxy_operator::api::{TiProxy, name};

use crate::harness::history::Entry;
use crate::harness::responder::{Responder, Says};
use crate::harness::wait::eventually;
use crate::lifecycle::scenario::{GROUP, PATIENCE, Scenario, group_with};

/// An annotation by which the simulated node does not end a Pod.
pub(crate) const NEVER_ENDS: &str = "test.example.com/never-ends";
/// An annotation by which the simulated node does not start a Pod.
pub(crate) const NEVER_STARTS: &str = "test.example.com/never-starts";
/// How much later than planned something may happen on a busy machine.
const LATE: i64 = 6;
/// A metric of how many clients were cut.
const CUT: &str = "tiproxy_operator_drain_cut_connections_total";

/// A group whose clients are given this much time, and that counts as quiet after a second.
fn group(name: &str, replicas: i32, timeout: u32, fields: Value) -> Value {
    let mut group = group_with(name, replicas, fields);
    let template = &mut group["spec"]["template"]["spec"];
    template["preStop"] = json!({"sleepSeconds": 0});
    template["drain"] = json!({"timeoutSeconds": timeout, "quietSeconds": 1});
    group
}

/// A change of the time that clients are given.
async fn set_timeout(scenario: &Scenario<'_>, group: &str, seconds: u32) {
    let drain = json!({"drain": {"timeoutSeconds": seconds}});
    scenario.change_template(group, drain).await;
}

/// Answers for each Pod of a group, by the Pod's name.
async fn respond(scenario: &Scenario<'_>, group: &str, says: &Says) -> BTreeMap<String, Responder> {
    let mut responders = BTreeMap::new();
    for (name, pod) in scenario.of_group::<Pod>(group).await {
        let responder = Responder::of_pod(scenario.test, &pod, says.clone(), None).await;
        responders.insert(name, responder);
    }
    responders
}

/// A group that is ready, the UIDs of its Pods by name, and what answers for them.
async fn begin(
    scenario: &Scenario<'_>,
    manifest: &Value,
    says: &Says,
) -> (BTreeMap<String, String>, BTreeMap<String, Responder>) {
    scenario.test.apply(manifest).await;
    scenario.ready(GROUP).await;
    let pods = scenario.pod_uids(GROUP).await;
    (pods, respond(scenario, GROUP, says).await)
}

/// How a Pod left, in seconds.
#[derive(Clone, Copy, Debug, Default)]
struct Leave {
    /// When its leave began, by its own word.
    began: Option<i64>,
    /// When its deletion was asked for.
    deleted: Option<i64>,
}

/// How the Pod of a UID left. It is out of the Services exactly since its leave began.
fn leave_of(entries: &[Entry], uid: &str) -> Leave {
    let mut leave = Leave::default();
    for entry in entries {
        let pod = &entry.object;
        if entry.kind != "Pod" || pod.uid().as_deref() != Some(uid) {
            continue;
        }
        let begin = pod.annotations().get(ANNOTATION_DRAIN_BEGIN);
        let serves = pod.labels().contains_key(LABEL_SERVING);
        assert_eq!(
            begin.is_none(),
            serves,
            "begin and label change together: {entry}"
        );
        let begin = begin.map(|begin| begin.parse().expect("a time"));
        leave.began = begin.map(|begin: k8s_openapi::jiff::Timestamp| begin.as_second());
        if let Some(deleted) = &pod.metadata.deletion_timestamp {
            let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or_default();
            // The second event of a Pod that ends has another period.
            leave.deleted.get_or_insert(deleted.0.as_second() - grace);
        }
    }
    leave
}

/// Waits until the Pod of a UID is gone.
async fn pod_gone(scenario: &Scenario<'_>, name: &str, uid: &str) {
    pod_gone_within(scenario, name, uid, PATIENCE).await;
}

async fn pod_gone_within(scenario: &Scenario<'_>, name: &str, uid: &str, limit: Duration) {
    eventually(limit, &format!("Pod {name} is gone"), async || {
        let found = scenario.test.api::<Pod>().get_opt(name).await;
        match found.expect("the API answers") {
            Some(pod) if pod.uid().as_deref() == Some(uid) => Err(format!("{:?}", pod.metadata)),
            _ => Ok(()),
        }
    })
    .await;
}

/// Waits until a Pod is on its way out.
async fn leaves(scenario: &Scenario<'_>, pod: &str) {
    eventually(PATIENCE, &format!("Pod {pod} leaves"), async || {
        let pod: Pod = scenario.get(pod).await;
        let begin = pod.annotations().get(ANNOTATION_DRAIN_BEGIN).cloned();
        begin.ok_or_else(|| format!("{:?}", pod.metadata))
    })
    .await;
}

/// Waits until these Pods, by their names and UIDs, serve as if nothing had been.
async fn serve_again(scenario: &Scenario<'_>, pods: &BTreeMap<String, String>) {
    for (name, uid) in pods {
        eventually(PATIENCE, &format!("Pod {name} serves again"), async || {
            let pod: Pod = scenario.get(name).await;
            let is_same = pod.uid().as_ref() == Some(uid) && pod.metadata.deletion_timestamp.is_none();
            let serves = pod
                .labels()
                .get(LABEL_SERVING)
                .is_some_and(|value| value == "true");
            let is_marked = pod.annotations().contains_key(ANNOTATION_DRAIN_BEGIN);
            if is_same && serves && !is_marked {
                Ok(())
            } else {
                Err(format!("{:?}", pod.metadata))
            }
        })
        .await;
    }
}

/// Sets or removes an annotation of a Pod, as a test tells the simulated node what to do.
pub(crate) async fn annotate(scenario: &Scenario<'_>, pod: &str, key: &str, value: Value) {
    let patch = Patch::Merge(json!({"metadata": {"annotations": {key: value}}}));
    scenario
        .test
        .api::<Pod>()
        .patch(pod, &PatchParams::default(), &patch)
        .await
        .unwrap_or_else(|error| panic!("{pod}: {error}"));
}

/// Waits for a condition of a TiProxy; its message.
async fn condition(
    scenario: &Scenario<'_>,
    name: &str,
    condition: &str,
    status: &str,
    reason: &str,
) -> String {
    let what = format!("{condition} of {name} is {status}: {reason}");
    eventually(PATIENCE, &what, async || {
        let found = scenario.test.api::<TiProxy>().get_opt(name).await;
        let conditions = found
            .expect("the API answers")
            .and_then(|object| object.status)
            .unwrap_or_default()
            .conditions;
        let found = conditions
            .iter()
            .find(|found| found.type_ == condition && found.status == status && found.reason == reason);
        found
            .map(|found| found.message.clone())
            .ok_or_else(|| format!("{conditions:?}"))
    })
    .await
}

/// The name of the Pod with the first ordinal of a group.
fn first_pod(group: &str) -> String {
    format!("{}-0", name::client_service(group))
}
