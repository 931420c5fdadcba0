//! What a group's status says. Pure.

use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};

use super::deadline::Deadline;
use super::observe::Observed;
use super::plan::{Counts, Plan, Wait};
use super::validate::{Group, Invalid};
use super::verdict::Refusal;
use super::warnings;
use crate::api::condition::{ConditionType, Reason};
use crate::api::{TiProxy, TiProxyGroupStatus, name};
use crate::ownership::Slot;
use crate::problem::{ExecuteError, Progress, State, new_condition};
use crate::runtime::condition::{self, NewCondition};

/// What is said of a group of which nothing runs because the Cluster asks for it.
const SUSPENDED: &str =
    "no TiProxy runs, since the Cluster's spec.suspendAction.suspendCompute is true; unset it to go on";

/// What the plan of a valid group came to.
#[derive(Clone, Debug)]
pub struct Planned<'a> {
    /// The group.
    pub group: &'a Group,
    /// The revision of its template; absent while PD was never known.
    pub revision: Option<String>,
    /// What there is.
    pub counts: Counts,
    /// What is done next.
    pub plan: &'a Plan,
    /// Whether the rollout makes progress.
    pub deadline: Deadline,
    /// Why nothing can be made from the template.
    pub refusal: Option<&'a Refusal>,
    /// What the user should know about the configuration.
    pub warnings: Vec<String>,
}

/// The status of a group.
#[must_use]
pub fn status(
    observed: &Observed,
    planned: Result<&Planned, &Invalid>,
    unsupported: &[String],
    error: Option<&ExecuteError>,
    now: Timestamp,
) -> TiProxyGroupStatus {
    let object = &observed.object;
    let generation = object.meta().generation;
    let stored = object.status.clone().unwrap_or_default();
    let progress = progress(observed, planned, error);
    let mut new: Vec<NewCondition> = progress.conditions(generation).into();
    new.push(suspended(observed, generation));
    new.push(warned(
        ConditionType::UnsupportedFields,
        Reason::NotYetSupported,
        unsupported,
        generation,
    ));
    if let Ok(planned) = planned {
        new.push(available(planned, generation));
        new.push(warned(
            ConditionType::ConfigWarnings,
            Reason::Warnings,
            &[
                planned.warnings.as_slice(),
                &warnings::of_instances(&observed.instances),
            ]
            .concat(),
            generation,
        ));
    }
    let status = TiProxyGroupStatus {
        conditions: condition::merge(&stored.conditions, new, now),
        observed_generation: generation,
        selector: Some(name::selector_text(&name::serving_selector(
            &object.spec.cluster.name,
            &object.name_any(),
        ))),
        observed_cluster_generation: observed
            .cluster
            .as_ref()
            .and_then(|cluster| cluster.meta().generation),
        ..stored
    };
    match planned {
        Ok(planned) => counted(observed, planned, progress.state == State::Done, status),
        Err(_) => status,
    }
}

fn counted(
    observed: &Observed,
    planned: &Planned,
    is_done: bool,
    stored: TiProxyGroupStatus,
) -> TiProxyGroupStatus {
    let count = |number: u32| Some(i32::try_from(number).unwrap_or(i32::MAX));
    let counts = &planned.counts;
    let update_revision = planned.revision.clone().or(stored.update_revision.clone());
    let current_revision = match &stored.current_revision {
        Some(current) if !is_done => Some(current.clone()),
        _ => update_revision.clone(),
    };
    let follows_current = observed
        .instances
        .iter()
        .filter(|instance| {
            instance.meta().deletion_timestamp.is_none() && instance.spec.offline != Some(true)
        })
        .filter(|instance| followed(instance).is_some() && followed(instance) == current_revision.as_deref())
        .count();
    TiProxyGroupStatus {
        version: if is_done {
            Some(observed.object.spec.template.spec.version.clone())
        } else {
            stored.version.clone()
        },
        replicas: count(counts.active),
        ready_replicas: count(counts.ready),
        updated_replicas: count(counts.updated),
        available_replicas: count(counts.available),
        draining_replicas: count(counts.draining),
        current_replicas: i32::try_from(follows_current).ok(),
        current_revision,
        update_revision,
        ..stored
    }
}

fn followed(instance: &TiProxy) -> Option<&str> {
    instance.status.as_ref()?.update_revision.as_deref()
}

/// Whether Pods were taken away because the Cluster asks for it.
fn suspended(observed: &Observed, generation: Option<i64>) -> NewCondition {
    let (holds, reason, message) = if !observed.is_suspended() {
        (false, Reason::NotSuspended, "the Cluster asks for no suspension")
    } else if observed.with_pod.is_empty() {
        (true, Reason::Suspended, SUSPENDED)
    } else {
        (
            false,
            Reason::Draining,
            "Pods are leaving, since the Cluster is suspended",
        )
    };
    new_condition(ConditionType::Suspended, holds, reason, message, generation)
}

fn available(planned: &Planned, generation: Option<i64>) -> NewCondition {
    let least = planned
        .group
        .replicas
        .saturating_sub(planned.group.limits.max_unavailable());
    let holds = planned.counts.available >= least;
    let reason = if holds {
        Reason::MinimumAvailable
    } else {
        Reason::Unavailable
    };
    let message = format!(
        "available TiProxies: {}, needed at least: {least}",
        planned.counts.available
    );
    new_condition(ConditionType::Available, holds, reason, &message, generation)
}

fn warned(
    condition_type: ConditionType,
    reason: Reason,
    warnings: &[String],
    generation: Option<i64>,
) -> NewCondition {
    if warnings.is_empty() {
        return new_condition(
            condition_type,
            false,
            Reason::NoWarnings,
            "there is nothing to warn of",
            generation,
        );
    }
    new_condition(condition_type, true, reason, &warnings.join("; "), generation)
}

fn progress(
    observed: &Observed,
    planned: Result<&Planned, &Invalid>,
    error: Option<&ExecuteError>,
) -> Progress {
    if let Some(progress) = error.and_then(ExecuteError::progress) {
        return progress;
    }
    if observed.object.meta().deletion_timestamp.is_some() {
        let left = observed.instances.len();
        return Progress::working(
            Reason::Leaving,
            format!("{left} TiProxies are leaving before the group goes"),
        );
    }
    if let Some(mark) = observed.mark_of_tidb_operator() {
        return Progress::stalled(
            Reason::ManagedByTiDBOperator,
            format!(
                "{mark}: TiDB Operator v2 manages this group, so it is left alone; to hand it over, stop that \
                 operator's TiProxy controller and remove its mark"
            ),
        );
    }
    let planned = match planned {
        Ok(planned) => planned,
        Err(invalid) => return Progress::stalled(Reason::InvalidSpec, invalid.to_string()),
    };
    if let Some(conflict) = foreign(observed, planned.group) {
        return Progress::stalled(Reason::NameConflict, conflict.to_string());
    }
    if let Some(refusal) = planned.refusal {
        return Progress::stalled(refusal.reason, refusal.message.clone());
    }
    if let (None, Err(not_found)) = (&planned.revision, &observed.discovery) {
        let reason = match not_found {
            super::discovery::NotFound::Cluster(_) => Reason::ClusterNotFound,
            super::discovery::NotFound::Pd(_) => Reason::PDNotFound,
        };
        return Progress::working(reason, not_found.to_string());
    }
    if observed.is_suspended() && !observed.is_cluster_paused() {
        return if observed.with_pod.is_empty() && planned.plan.actions.is_empty() {
            Progress::suspended(SUSPENDED)
        } else {
            Progress::working(
                Reason::Suspended,
                "the Cluster's spec.suspendAction.suspendCompute is true; Pods leave when their clients have left or \
                 the time for that is over",
            )
        };
    }
    if let Some(stalled) = stalled_instance(observed, planned.revision.as_deref()) {
        return stalled;
    }
    if planned.counts.complete(planned.group.replicas) && planned.plan.actions.is_empty() {
        return complete(observed, planned);
    }
    going_on(observed, planned)
}

fn complete(observed: &Observed, planned: &Planned) -> Progress {
    let (reason, text) = match planned.group.replicas {
        0 => (
            Reason::ScaledToZero,
            "no TiProxy is asked for and none is there".to_owned(),
        ),
        replicas => (
            Reason::AllReady,
            format!("{replicas} of {replicas} TiProxies are updated and available"),
        ),
    };
    match &observed.discovery {
        Ok(_) => Progress::done(reason, text),
        Err(lost) => Progress::done(
            reason,
            format!("{text}; they keep the last known address of PD: {lost}"),
        ),
    }
}

fn going_on(observed: &Observed, planned: &Planned) -> Progress {
    let counts = &planned.counts;
    let figures = format!(
        "of {} TiProxies asked for {} are updated and {} available",
        planned.group.replicas, counts.updated, counts.available
    );
    if observed.is_cluster_paused() {
        return Progress::working(
            Reason::Paused,
            format!("{figures}; the Cluster is paused, unset its spec.paused"),
        );
    }
    let waits = &planned.plan.waiting;
    if planned.plan.actions.is_empty() && waits.contains(&Wait::Paused) {
        return Progress::working(
            Reason::Paused,
            format!("{figures}; spec.paused stops the rollout"),
        );
    }
    let rolled = (counts.rolled > 0).then(|| "those of the older template to leave".to_owned());
    let waiting: Vec<String> = waits.iter().filter_map(in_words).take(3).chain(rolled).collect();
    if waiting.is_empty() {
        return Progress::working(Reason::Progressing, figures);
    }
    let starved = waits.iter().any(|wait| matches!(wait, Wait::Backends { .. }));
    let reason = if starved {
        Reason::BackendsUnavailable
    } else {
        Reason::Progressing
    };
    let why = if starved { starved_because(observed) } else { None };
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    let message = format!("{figures}; waiting for {}{why}", waiting.join(", "));
    // Nothing is wrong with a template whose TiProxies find no TiDB.
    if planned.deadline == Deadline::Passed && !starved {
        return Progress::stalled(
            Reason::ProgressDeadlineExceeded,
            format!(
                "no progress for {} s (spec.progressDeadlineSeconds): {message}; it goes on as soon as that changes",
                planned.group.progress_deadline.as_secs()
            ),
        );
    }
    Progress::working(reason, message)
}

/// Why the first TiProxy that has no TiDB has none, in its own words.
fn starved_because(observed: &Observed) -> Option<String> {
    observed.instances.iter().find_map(|instance| {
        let conditions = &instance.status.as_ref()?.conditions;
        let ready = condition::find(conditions, ConditionType::Ready.as_str())?;
        let is_starved = ready.status != "True"
            && ready.reason == Reason::BackendsUnavailable.as_str()
            && ready.observed_generation == instance.meta().generation;
        is_starved.then(|| ready.message.clone())
    })
}

/// Without seconds: a message that counts them down would be a write for each.
fn in_words(wait: &Wait) -> Option<String> {
    match wait {
        Wait::Available {
            name,
            remaining: Some(_),
        } => Some(format!("{name} to be Ready for minReadySeconds")),
        Wait::Available {
            name,
            remaining: None,
        } => Some(format!("{name} to become Ready")),
        Wait::Backends { name } => Some(format!("{name} to find a TiDB")),
        Wait::Trial { name, .. } => Some(format!(
            "{name} to serve with the new configuration before the others get it"
        )),
        Wait::Leaver { name } => Some(format!("{name} to leave")),
        Wait::Paused | Wait::NothingMayBeCreated | Wait::MayNotRoll => None,
    }
}

/// What keeps a TiProxy of the present template from running. One of an older template is replaced anyway, and its
/// trouble must not outlive the correction of the template.
fn stalled_instance(observed: &Observed, revision: Option<&str>) -> Option<Progress> {
    observed
        .instances
        .iter()
        .filter(|instance| {
            instance.meta().deletion_timestamp.is_none() && instance.spec.offline != Some(true)
        })
        .filter(|instance| revision.is_none() || followed(instance) == revision)
        .find_map(|instance| stalled(instance))
}

fn stalled(instance: &TiProxy) -> Option<Progress> {
    let conditions = &instance.status.as_ref()?.conditions;
    let stalled = condition::find(conditions, ConditionType::Stalled.as_str()).filter(|stalled| {
        stalled.status == "True" && stalled.observed_generation == instance.meta().generation
    })?;
    let reason = Reason::parse(&stalled.reason)?;
    Some(Progress::stalled(
        reason,
        format!("TiProxy {}: {}", instance.name_any(), stalled.message),
    ))
}

fn foreign(observed: &Observed, group: &Group) -> Option<ExecuteError> {
    fn conflict<K: Resource<DynamicType = ()>>(found: &Slot<K>) -> Option<ExecuteError> {
        match found {
            Slot::Foreign(object) => Some(ExecuteError::name_conflict(&**object)),
            Slot::Ours(_) | Slot::Adoptable(_) | Slot::Leftover(_) | Slot::Absent => None,
        }
    }
    // A name that is not needed is nobody's loss.
    let wanted = |conflict: Option<ExecuteError>, wanted: bool| conflict.filter(|_| wanted);
    conflict(&observed.client_service)
        .or_else(|| conflict(&observed.peer_service))
        .or_else(|| wanted(conflict(&observed.disruption_budget), group.has_disruption_budget))
        .or_else(|| wanted(conflict(&observed.network_policy), group.has_network_policy))
}

#[cfg(test)]
mod tests;
