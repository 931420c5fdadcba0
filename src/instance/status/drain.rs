//! What there is to say of a TiProxy whose Pod leaves, or that is to have none.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::super::drain;
use super::super::lost;
use super::super::observe::Observed;
use super::super::plan::Plan;
use super::super::plan::leave::{Cause, End, Leaving, cause};
use super::super::pod_state::PodState;
use crate::api::condition::{ConditionType, Reason};
use crate::api::instance::DrainStatus;
use crate::problem::{Progress, new_condition};
use crate::runtime::condition::{self, Condition, NewCondition};
use crate::runtime::time;

/// A Pod whose clients are given time to leave, if that is so: a begin that was planned may not have been written.
pub(super) fn leaving<'a>(observed: &Observed, plan: &'a Plan, has_failed: bool) -> Option<&'a Leaving> {
    let is_marked = observed.pods.iter().any(|pod| drain::is_marked(pod));
    plan.leaving.as_ref().filter(|_| is_marked || !has_failed)
}

/// `status.drain`.
pub(super) fn drain_status(leaving: &Leaving) -> DrainStatus {
    let stored = |moment| Some(Time(time::whole_seconds(moment)));
    DrainStatus {
        begin_time: stored(leaving.begin),
        deadline: stored(leaving.deadline),
        remaining_connections: leaving.connections,
        message: Some(leaving.message.clone()),
    }
}

/// The condition `Drained`; `None` for a TiProxy whose Pod does not leave through the drain.
pub(super) fn drained(
    observed: &Observed,
    plan: &Plan,
    has_failed: bool,
    stored: &[Condition],
    now: Timestamp,
) -> Option<NewCondition> {
    let of = |holds, reason, message: &str| {
        let generation = observed.object.metadata.generation;
        Some(new_condition(
            ConditionType::Drained,
            holds,
            reason,
            message,
            generation,
        ))
    };
    if let Some(leaving) = leaving(observed, plan, has_failed) {
        return of(false, Reason::Draining, &leaving.message);
    }
    if let (Some(end), false) = (plan.end(), has_failed) {
        return of(true, Reason::DrainComplete, end_in_words(end)?.as_str());
    }
    let mut pods = observed.pods.iter();
    let has_left = |pod: &Pod| pod.metadata.deletion_timestamp.is_some() && drain::begin(pod, now).is_some();
    pods.any(|pod| has_left(pod)).then_some(())?;
    // Whoever saw it end knows more.
    let told = condition::find(stored, ConditionType::Drained.as_str())
        .filter(|told| told.reason == Reason::DrainComplete.as_str());
    let message = told.map_or(
        "all clients have left, or were given all the time there is",
        |told| told.message.as_str(),
    );
    of(true, Reason::DrainComplete, message)
}

/// `None` where there was no drain.
fn end_in_words(end: End) -> Option<String> {
    match end {
        End::Undrained | End::NothingRan => None,
        End::Drained => Some("all clients have left".to_owned()),
        End::Stopped => Some("TiProxy ended before all clients had left".to_owned()),
        End::Deadline { connected: None } => Some(
            "the time was over; how many clients were still connected could not be read from TiProxy's API"
                .to_owned(),
        ),
        End::Deadline { connected: Some(0) } => {
            Some("the time was over, and no client was connected".to_owned())
        }
        End::Deadline { connected: Some(1) } => {
            Some("the time was over, and 1 client was still connected".to_owned())
        }
        End::Deadline {
            connected: Some(more),
        } => Some(format!(
            "the time was over, and {more} clients were still connected"
        )),
    }
}

/// Whether clients were cut, which is told at once.
pub(super) fn has_cut(plan: &Plan) -> bool {
    matches!(plan.end(), Some(End::Deadline { connected: Some(1..) }))
}

/// The condition `Suspended`.
pub(super) fn suspended(observed: &Observed) -> NewCondition {
    let (holds, reason, message) = match (observed.suspended, observed.has_pods()) {
        (false, _) => (false, Reason::NotSuspended, "the Cluster asks for no suspension"),
        (true, true) if observed.paused => (
            false,
            Reason::Paused,
            "the Cluster is paused; unset its spec.paused to let the Pod leave",
        ),
        (true, true) => (
            false,
            Reason::Draining,
            "the Cluster's spec.suspendAction.suspendCompute is true, and the Pod leaves",
        ),
        (true, false) => (true, Reason::Suspended, SUSPENDED),
    };
    new_condition(
        ConditionType::Suspended,
        holds,
        reason,
        message,
        observed.object.metadata.generation,
    )
}

const SUSPENDED: &str =
    "no Pod runs, because the Cluster's spec.suspendAction.suspendCompute is true; unset it to go on";

/// What is said of a TiProxy that is to have no Pod, and of a Pod that its node does not end.
pub(super) fn departure(observed: &Observed, plan: &Plan, now: Timestamp) -> Option<Progress> {
    let cause = cause(observed);
    let has_pods = observed.has_pods();
    if observed.paused && has_pods && cause != Some(Cause::Deleted) {
        return None;
    }
    if let Some(words) = observed.pods.iter().find_map(|pod| lost::words(pod, now)) {
        return Some(Progress::working(Reason::PodLost, words));
    }
    let working = |reason, otherwise: &str| {
        let message = plan.waiting.clone();
        Progress::working(reason, message.unwrap_or_else(|| otherwise.to_owned()))
    };
    match cause? {
        Cause::Deleted => Some(working(Reason::Leaving, "the TiProxy is being deleted")),
        Cause::Offline => Some(working(
            Reason::Leaving,
            "its Pod is gone, and its group deletes the TiProxy",
        )),
        Cause::Suspended if has_pods => Some(working(Reason::Suspended, "its Pod leaves")),
        Cause::Suspended => Some(Progress::suspended(SUSPENDED)),
        Cause::Outdated => None,
    }
}

/// Whether a Pod is on its way out, or about to be brought back.
pub(super) fn is_out_of_service(observed: &Observed, plan: &Plan) -> bool {
    let is_marked = observed.pod.ours().is_some_and(|pod| drain::is_marked(pod));
    is_marked || plan.takes_pod_away() || cause(observed).is_some()
}

/// When something was last done to the Pod that its state follows from.
pub(super) fn last_touched(
    observed: &Observed,
    pod: Option<&PodState>,
    plan: &Plan,
    now: Timestamp,
) -> Option<Timestamp> {
    if plan.end().is_some() {
        return Some(now);
    }
    let Some(found) = observed.pod.ours() else {
        return observed.pod_deleted;
    };
    let asked = found.metadata.deletion_timestamp.as_ref().map(|deleted| {
        let grace = found.metadata.deletion_grace_period_seconds.unwrap_or_default();
        Timestamp::from_second(deleted.0.as_second().saturating_sub(grace)).unwrap_or(deleted.0)
    });
    asked.or_else(|| pod?.created())
}
