//! What a TiProxy's status says. Pure.

mod drain;
mod volumes;

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};

use super::backends::{Backends, backends};
use super::config_applied;
use super::drain::connections;
use super::mount_problem::mount_problem;
use super::observe::Observed;
use super::plan::Plan;
use super::pod_state::PodState;
use super::unready;
use super::validate::{Instance, Invalid};
use crate::api::TiProxyStatus;
use crate::api::condition::{ConditionType, Reason};
use crate::ownership::Slot;
use crate::problem::{ExecuteError, Progress, State, new_condition};
use crate::proxy_api::Migrations;
use crate::runtime::condition::{self, NewCondition, Status};
use crate::runtime::time::elapsed;
use volumes::Verdict;

/// How long a TiProxy may be on its way before its status says so: most are Ready sooner, and need one write less.
const PATIENCE: Duration = Duration::from_secs(3);
/// The same for one with volumes, which a storage driver has to make; still within the 10 s that are promised to users.
const PATIENCE_WITH_VOLUMES: Duration = Duration::from_secs(8);

/// The status as it should be, and when to write it if it differs from the stored one.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The status.
    pub status: TiProxyStatus,
    /// How long to wait before it is written; zero is at once.
    pub after: Duration,
}

/// The status of a TiProxy.
#[must_use]
pub fn status(
    observed: &Observed,
    instance: Result<&Instance, &Invalid>,
    plan: &Plan,
    error: Option<&ExecuteError>,
    now: Timestamp,
) -> Report {
    let meta = observed.object.meta();
    let stored = observed.object.status.clone().unwrap_or_default();
    let pod = observed.pod.ours().map(|pod| PodState::of(pod));
    let leaving = drain::leaving(observed, plan, error.is_some());
    let backends = instance.ok().map(|instance| match leaving {
        // While it leaves it calls itself unhealthy.
        Some(_) => Backends::unknown("its Pod leaves"),
        None => backends(observed, instance),
    });
    let volumes = volumes::judge(observed, error, pod.as_ref(), now);
    let progress = progress(
        observed,
        instance,
        plan,
        error,
        (pod.as_ref(), backends.as_ref(), volumes.as_ref()),
        now,
    );
    let mut new = progress.conditions(meta.generation);
    // A write that failed, or a volume that is not as asked for, takes no client away: what serves as asked for is
    // Ready, and the rest is told beside it.
    let is_beside = error.is_some() || volumes.as_ref().and_then(Verdict::trouble) == Some(&progress);
    if let (true, Some(serving)) = (
        is_beside,
        serving(observed, instance, plan, pod.as_ref(), backends.as_ref()),
    ) {
        let [ready, ..] = serving.conditions(meta.generation);
        new = new.map(|condition| {
            if condition.type_ == ready.type_ {
                ready.clone()
            } else {
                condition
            }
        });
    }
    let drained = drain::drained(observed, plan, error.is_some(), &stored.conditions, now);
    let mut before = stored.conditions.clone();
    before.retain(|condition| {
        let is = |kind: ConditionType| condition.type_ == kind.as_str();
        let is_over = drained.is_none() && is(ConditionType::Drained);
        !(is_over || observed.volumes.is_empty() && is(ConditionType::VolumesReady))
    });
    let others = backends
        .iter()
        .map(|backends| backends.condition(meta.generation))
        .chain([warnings(
            &stored.conditions,
            observed.proxy.migrations,
            meta.generation,
        )])
        .chain([config_applied::condition(observed, instance, plan, now)])
        .chain(volumes.map(|volumes| volumes.condition(meta.generation)))
        .chain([drain::suspended(observed)])
        .chain(drained);
    let mut conditions = condition::merge(&before, new.into_iter().chain(others), now);
    if let Some(ready_since) = pod.as_ref().and_then(|pod| pod.ready_since) {
        start_ready_at(&mut conditions, ready_since);
    }
    if error.is_none() {
        config_applied::start_anew(&mut conditions, observed, plan, now);
    }
    let is_ready = condition::is_true(&conditions, ConditionType::Ready.as_str());
    let update_revision = instance.ok().map(|instance| instance.revision.clone());
    let status = TiProxyStatus {
        conditions,
        observed_generation: meta.generation,
        replicas: Some(i32::from(
            pod.as_ref().is_some_and(|pod| !pod.terminating && !pod.ended) && leaving.is_none(),
        )),
        current_revision: if is_ready {
            update_revision.clone()
        } else {
            stored.current_revision.clone()
        },
        update_revision: update_revision.or(stored.update_revision.clone()),
        connections: observed
            .pod
            .ours()
            .filter(|_| pod.as_ref().is_some_and(|pod| pod.running && !pod.terminating))
            .and_then(|found| connections(observed, found)),
        drain: leaving.map(drain::drain_status),
        ..stored.clone()
    };
    let touched = drain::last_touched(observed, pod.as_ref(), plan, now).filter(|_| error.is_none());
    let after = if progress.state == State::Working && !drain::has_cut(plan) {
        patience(observed, touched, now)
    } else {
        Duration::ZERO
    };
    Report { status, after }
}

/// Nobody needs to hear of the first seconds of a life, of a going, or of what follows the news that it is not ready or
/// what was done to its Pod since, when all is well.
fn patience(observed: &Observed, touched: Option<Timestamp>, now: Timestamp) -> Duration {
    let meta = observed.object.meta();
    let conditions = observed.object.conditions();
    let ready = condition::find(conditions, ConditionType::Ready.as_str());
    let is_known =
        ready.is_some_and(|ready| ready.status == "False" && ready.observed_generation == meta.generation);
    let since = match &meta.deletion_timestamp {
        Some(deleted) => Some(deleted),
        None if conditions.is_empty() => meta.creation_timestamp.as_ref(),
        None if is_known => ready.map(|ready| &ready.last_transition_time),
        None => None,
    };
    let Some(since) = since else { return Duration::ZERO };
    let since = touched.map_or(since.0, |touched| touched.max(since.0));
    let patience = if observed.volumes.is_empty() {
        PATIENCE
    } else {
        PATIENCE_WITH_VOLUMES
    };
    patience.saturating_sub(elapsed(since, now))
}

/// Ready begins when the Pod became ready: a Pod that was replaced in between must not inherit an older time, and one
/// that was ready all along does not start to wait again because the operator was busy or away.
fn start_ready_at(conditions: &mut [condition::Condition], ready_since: Timestamp) {
    for ready in conditions {
        let is_ready = ready.type_ == ConditionType::Ready.as_str() && ready.status == "True";
        if is_ready {
            ready.last_transition_time = Time(ready_since);
        }
    }
}

/// What the user should know about the running TiProxy. What cannot be told yet is as it was.
fn warnings(
    stored: &[condition::Condition],
    migrations: Migrations,
    generation: Option<i64>,
) -> NewCondition {
    let was_failing = || {
        condition::find(stored, ConditionType::ConfigWarnings.as_str()).is_some_and(|stored| {
            stored.status == "True" && stored.reason == Reason::SessionMigrationFailing.as_str()
        })
    };
    let fails = match migrations {
        Migrations::Failing => true,
        Migrations::Working => false,
        Migrations::Unknown => was_failing(),
    };
    let (reason, message) = if fails {
        (
            Reason::SessionMigrationFailing,
            "sessions could not be moved from one TiDB to another, so that clients stay where they are; give all TiDBs the \
             same pair of security.session-token-signing-cert and security.session-token-signing-key, and clocks that \
             agree within a minute",
        )
    } else {
        (Reason::NoWarnings, "there is nothing to warn of")
    };
    new_condition(ConditionType::ConfigWarnings, fails, reason, message, generation)
}

fn progress(
    observed: &Observed,
    instance: Result<&Instance, &Invalid>,
    plan: &Plan,
    error: Option<&ExecuteError>,
    (pod, backends, volumes): (Option<&PodState>, Option<&Backends>, Option<&Verdict>),
    now: Timestamp,
) -> Progress {
    if let Some(progress) = error.and_then(ExecuteError::progress) {
        return progress;
    }
    if let Some(progress) = drain::departure(observed, plan, now) {
        return progress;
    }
    let instance = match instance {
        Ok(instance) => instance,
        Err(invalid) => return Progress::stalled(Reason::InvalidSpec, invalid.to_string()),
    };
    if let (true, Some(waiting)) = (observed.paused, &plan.waiting) {
        return Progress::working(Reason::Paused, waiting.clone());
    }
    if let Some(conflict) = foreign(observed) {
        return Progress::stalled(Reason::NameConflict, conflict.to_string());
    }
    // A Pod that goes speaks of what was asked for before; calling that stalled would outlive the correction.
    let stays = pod.filter(|pod| !pod.terminating && !plan.takes_pod_away());
    let not_bound = volumes.and_then(Verdict::not_bound);
    let problem = stays.and_then(|pod| pod.problem.clone().or_else(|| mount_problem(observed, instance)));
    if let Some(problem) = problem {
        if let (Some(not_bound), true) = (not_bound, problem.concerns_volumes()) {
            return not_bound.clone();
        }
        return if problem.reason == Reason::NotReady {
            Progress::working(Reason::NotReady, problem.message)
        } else {
            Progress::stalled(problem.reason, problem.message)
        };
    }
    if let Some(waiting) = &plan.waiting {
        return Progress::working(Reason::Progressing, waiting.clone());
    }
    match (&observed.pod, pod) {
        (Slot::Ours(found), Some(pod)) if pod.is_ready() => match backends {
            Some(backends) if backends.refuse_clients() => {
                Progress::working(Reason::BackendsUnavailable, backends.message.clone())
            }
            _ => volumes
                .and_then(Verdict::trouble)
                .cloned()
                .unwrap_or_else(|| ready(found)),
        },
        (Slot::Ours(found), Some(pod)) if pod.running => match backends {
            Some(backends) if backends.status == Status::False => {
                Progress::working(Reason::BackendsUnavailable, backends.message.clone())
            }
            _ => Progress::working(Reason::NotReady, unready::words(observed, instance, found, now)),
        },
        (Slot::Ours(found), _) => not_bound.cloned().unwrap_or_else(|| {
            Progress::working(
                Reason::Progressing,
                format!("Pod {} is starting", found.name_any()),
            )
        }),
        (Slot::Absent | Slot::Adoptable(_) | Slot::Leftover(_) | Slot::Foreign(_), _) => {
            Progress::working(Reason::Progressing, "its Pod is being created")
        }
    }
}

/// What is said of a Pod that serves as the spec asks; `None` when it does not.
fn serving(
    observed: &Observed,
    instance: Result<&Instance, &Invalid>,
    plan: &Plan,
    pod: Option<&PodState>,
    backends: Option<&Backends>,
) -> Option<Progress> {
    let found = observed.pod.ours()?;
    let is_current = observed.revision_of(found) == Some(instance.ok()?.revision.as_str());
    let is_leaving = drain::is_out_of_service(observed, plan);
    let refuses = backends.is_some_and(Backends::refuse_clients);
    (pod?.is_ready() && is_current && !is_leaving && !refuses).then(|| ready(found))
}

fn ready(pod: &Pod) -> Progress {
    Progress::done(Reason::AllReady, format!("Pod {} is ready", pod.name_any()))
}

fn foreign(observed: &Observed) -> Option<ExecuteError> {
    match (&observed.config_map, &observed.pod) {
        (Slot::Foreign(config_map), _) => Some(ExecuteError::name_conflict(&**config_map)),
        (_, Slot::Foreign(pod)) => Some(ExecuteError::name_conflict(&**pod)),
        _ => observed.volumes.iter().find_map(|volume| match &volume.slot {
            Slot::Foreign(claim) => Some(ExecuteError::name_conflict(&**claim)),
            Slot::Absent | Slot::Ours(_) | Slot::Adoptable(_) | Slot::Leftover(_) => None,
        }),
    }
}

#[cfg(test)]
mod tests;
