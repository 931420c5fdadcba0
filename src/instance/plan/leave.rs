//! How a Pod leaves: one path for every reason. Each step is decided anew from what is there; what has to happen in
//! time depends on nothing that may not answer.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};
use serde_json::{Map, Value};

use super::super::drain;
use super::super::lost;
use super::super::observe::Observed;
use super::super::pod_state::is_running;
use super::{Action, DeleteReason, Plan, delete};
use crate::runtime::time;
use crate::runtime::write::Target;

/// Seconds that a Pod without clients has to end. Its preStop sleep and TiProxy's graceful timers are for clients; without
/// them TiProxy ends within a second or two, and the kubelet allows at least two more.
pub const DRAINED_GRACE_SECONDS: u32 = 5;

/// One that leaves is asked every second or so, and that it is as quiet as before calls nobody.
const NEXT_ANSWER: Duration = Duration::from_millis(500);

/// Why a Pod has to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its TiProxy is being deleted.
    Deleted,
    /// Its group takes the TiProxy away.
    Offline,
    /// The Cluster suspends its compute.
    Suspended,
    /// Its TiProxy asks for another Pod, under the same name.
    Outdated,
}

/// How a leave ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The spec gives clients no time.
    Undrained,
    /// Nothing ran in the Pod.
    NothingRan,
    /// All clients had left.
    Drained,
    /// What ran in the Pod ended before its clients had left.
    Stopped,
    /// The time was over.
    Deadline {
        /// How many clients were connected when TiProxy was asked last; `None` when it did not answer.
        connected: Option<u64>,
    },
}

/// A Pod whose clients are given time to leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaving {
    /// Since when.
    pub begin: Timestamp,
    /// When it goes whoever is still connected.
    pub deadline: Timestamp,
    /// How many clients are connected, as it is told.
    pub connections: Option<i64>,
    /// What is waited for, in words for the user.
    pub message: String,
}

/// Why all Pods of a TiProxy have to leave, whatever else its spec says.
#[must_use]
pub fn cause(observed: &Observed) -> Option<Cause> {
    if observed.object.meta().deletion_timestamp.is_some() {
        Some(Cause::Deleted)
    } else if observed.object.spec.offline == Some(true) {
        Some(Cause::Offline)
    } else {
        observed.suspended.then_some(Cause::Suspended)
    }
}

/// The next steps of all Pods of a TiProxy; `grace` is how many seconds one has to end by the current configuration,
/// where that can be told.
pub(super) fn all(observed: &Observed, cause: Cause, grace: Option<u32>, now: Timestamp) -> Plan {
    let mut pods: Vec<&Arc<Pod>> = observed.pods.iter().collect();
    pods.sort_by_key(|pod| pod.name_any());
    let steps = pods.into_iter().map(|pod| step(observed, pod, cause, grace, now));
    steps.fold(Plan::default(), |all, step| Plan {
        actions: all.actions.into_iter().chain(step.actions).collect(),
        waiting: all.waiting.or(step.waiting),
        recheck: [all.recheck, step.recheck].into_iter().flatten().min(),
        leaving: all.leaving.or(step.leaving),
    })
}

/// The next step of a Pod that has to leave.
pub(super) fn step(observed: &Observed, pod: &Pod, cause: Cause, grace: Option<u32>, now: Timestamp) -> Plan {
    if pod.meta().deletion_timestamp.is_some() {
        return ending(pod, now);
    }
    let template = &observed.object.spec.template;
    let (timeout, quiet) = (template.drain_timeout(), template.drain_quiet());
    let begin = drain::begin(pod, now);
    let gone = |grace, end| Plan {
        actions: delete(pod, grace, DeleteReason::Left { cause, end })
            .into_iter()
            .collect(),
        ..Plan::waiting(if cause == Cause::Outdated {
            format!("Pod {} is replaced", pod.name_any())
        } else {
            format!("Pod {} is ending", pod.name_any())
        })
    };
    if !is_running(pod) {
        let end = begin.map_or(End::NothingRan, |_| End::Stopped);
        return gone(grace, end);
    }
    let Some(begin) = begin else {
        if timeout.is_zero() {
            return gone(grace, End::Undrained);
        }
        return Plan {
            actions: patch(pod, drain::begun(now)),
            ..waiting(observed, pod, time::whole_seconds(now), now)
        };
    };
    // Before all that depends on an answer.
    if now >= time::after(begin, timeout) {
        let connected = observed
            .proxy_of(pod)
            .answer()
            .and_then(|answer| answer.connections);
        return gone(grace, End::Deadline { connected });
    }
    if drain::is_serving(pod) {
        return Plan {
            actions: patch(pod, drain::out_of_service()),
            ..waiting(observed, pod, begin, now)
        };
    }
    // By what TiProxy said then: whoever connects after an answer is in the next one only.
    let is_drained =
        quiet_end(observed, pod, begin, quiet).is_some_and(|end| heard(observed, pod) >= Some(end));
    if is_drained {
        let grace = grace.map_or(DRAINED_GRACE_SECONDS, |grace| grace.min(DRAINED_GRACE_SECONDS));
        return gone(Some(grace), End::Drained);
    }
    waiting(observed, pod, begin, now)
}

/// What is done with a Pod that is being deleted: nothing, whoever asked for it.
pub(super) fn ending(pod: &Pod, now: Timestamp) -> Plan {
    Plan {
        recheck: lost::recheck(pod, now),
        ..Plan::waiting(format!("Pod {} is ending", pod.name_any()))
    }
}

/// When a Pod counts as left, if nobody connects until then.
fn quiet_end(observed: &Observed, pod: &Pod, begin: Timestamp, quiet: Duration) -> Option<Timestamp> {
    let since = observed.proxy_of(pod).quiet_since?;
    Some(time::after(since.max(begin), quiet))
}

/// When TiProxy answered last, if it answers.
fn heard(observed: &Observed, pod: &Pod) -> Option<Timestamp> {
    let observation = observed.proxy_of(pod).observation.as_ref();
    let answered = observation.filter(|observation| observation.answer.is_some());
    answered.map(|observation| observation.at)
}

fn waiting(observed: &Observed, pod: &Pod, begin: Timestamp, now: Timestamp) -> Plan {
    let template = &observed.object.spec.template;
    let deadline = time::after(begin, template.drain_timeout());
    let quiet = template.drain_quiet();
    let quiet_end = quiet_end(observed, pod, begin, quiet);
    let connections = drain::connections(observed, pod);
    let message = words(observed, pod, connections, quiet, time::whole_seconds(deadline));
    Plan {
        recheck: [
            time::until(deadline, now),
            quiet_end.map(|end| time::until(end, now).unwrap_or(NEXT_ANSWER)),
        ]
        .into_iter()
        .flatten()
        .min(),
        leaving: Some(Leaving {
            begin,
            deadline,
            connections,
            message: message.clone(),
        }),
        ..Plan::waiting(message)
    }
}

/// Nothing in it counts down: each change would be a write.
fn words(
    observed: &Observed,
    pod: &Pod,
    connections: Option<i64>,
    quiet: Duration,
    deadline: Timestamp,
) -> String {
    let name = pod.name_any();
    let observation = observed.proxy_of(pod).observation.as_ref();
    let is_silent = observation.is_some_and(|observation| observation.answer.is_none());
    if connections.is_none() && is_silent {
        return format!(
            "Pod {name} leaves: how many clients are connected cannot be read from TiProxy's API on port {}, so it goes at \
             {deadline}; look at the NetworkPolicies",
            observed.object.spec.template.api_port()
        );
    }
    let (who, left) = match connections {
        None => (
            "how many clients are connected is not known yet".to_owned(),
            "none is",
        ),
        Some(0) => ("no client is connected".to_owned(), "it stays so"),
        Some(1) => ("1 client is connected".to_owned(), "it has left"),
        Some(more) => (format!("{more} clients are connected"), "they have left"),
    };
    format!(
        "Pod {name} leaves: {who}; it goes when {left} and none has connected for {} s, at the latest at {deadline}",
        quiet.as_secs()
    )
}

/// The patch that brings a Pod back into service that was on its way out, together with what else its metadata lacks.
pub(super) fn revived(pod: &Pod, patch: Option<Map<String, Value>>) -> Option<Map<String, Value>> {
    if !drain::is_marked(pod) {
        return patch;
    }
    let mut patch = patch.unwrap_or_default();
    drain::revive(&mut patch);
    Some(patch)
}

/// Brings a Pod back into service that was on its way out.
pub(super) fn revival(pod: &Pod) -> Vec<Action> {
    let stays = pod.meta().deletion_timestamp.is_none() && is_running(pod);
    let metadata = revived(pod, None).filter(|_| stays);
    metadata.map(|metadata| patch(pod, metadata)).unwrap_or_default()
}

fn patch(pod: &Pod, metadata: Map<String, Value>) -> Vec<Action> {
    Target::of(pod)
        .map(|target| Action::PatchPod { target, metadata })
        .into_iter()
        .collect()
}
