//! Whether a TiProxy runs with the configuration that its spec asks for. Pure.
//!
//! A process that started after the `ConfigMap` was written has read it, so that a new TiProxy needs neither an answer
//! nor a write of its own for this. One that ran when the `ConfigMap` changed is asked what it runs with.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};

use super::observe::Observed;
use super::plan::Plan;
use super::plan::configuration::{config_hash, told};
use super::pod_state::is_running;
use super::validate::{Instance, Invalid};
use crate::api::condition::{ConditionType, Reason};
use crate::problem::condition_of;
use crate::runtime::condition::{self, Condition, NewCondition, Status};
use crate::runtime::time::elapsed;

/// How long a change may take to be in effect, before the Pod is told of it once more and the keys are named. The
/// kubelet brings a file up to date within a second or two, TiProxy reads it every two, and is then asked.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// So many keys are named.
const MOST_KEYS: usize = 5;

/// Whether it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It does.
    InEffect,
    /// It was told of a change, and has not said yet that it follows.
    Awaited,
    /// It said that it does not, in these keys.
    Differs(Vec<String>),
    /// It runs, and its API does not say.
    Unreadable,
    /// Nobody has asked it since the operator started: what is stored still holds.
    AsStored,
    /// Nothing runs that was made from this spec.
    NoPod,
    /// The Cluster is paused, and something is held back by it.
    Held,
}

/// Judges the process in a Pod that is ours and made from this spec; `written` is the `ConfigMap` as it is being
/// written, if it is.
#[must_use]
pub fn judge(observed: &Observed, pod: &Pod, written: Option<&ConfigMap>) -> Applied {
    let found = observed.config_map.ours().map(|found| &**found);
    let Some(config_map) = written.or(found) else {
        return Applied::Unreadable;
    };
    let changes = found.is_none_or(|found| found.data != config_map.data);
    let hash = config_hash(config_map.data.as_ref());
    let proxy = &observed.proxy;
    if !changes {
        if let Some(reading) = proxy.config.as_ref().filter(|reading| reading.of == hash) {
            return if reading.differing.is_empty() {
                Applied::InEffect
            } else {
                Applied::Differs(reading.differing.clone())
            };
        }
        if has_read_at_its_start(config_map, &hash, pod) {
            return Applied::InEffect;
        }
    }
    let was_asked_in_vain = proxy
        .observation
        .as_ref()
        .is_some_and(|observation| observation.answer.is_none());
    let is_unasked = proxy.config.is_none() && !was_asked_in_vain;
    if !changes && is_unasked && stored_now(observed).is_some() {
        return Applied::AsStored;
    }
    if was_asked_in_vain || proxy.observation.is_none() {
        Applied::Unreadable
    } else {
        Applied::Awaited
    }
}

/// Whether the `ConfigMap` has not changed under the process: it notes the hash of what it was given while one ran.
fn has_read_at_its_start(config_map: &ConfigMap, hash: &str, pod: &Pod) -> bool {
    let Some(note) = told(config_map) else { return true };
    note.hash != hash || told(pod).is_some_and(|told| told.hash == note.hash && told.is_from_birth())
}

/// The condition as it is stored, if it was concluded from the present generation.
fn stored_now(observed: &Observed) -> Option<&Condition> {
    let conditions = &observed.object.status.as_ref()?.conditions;
    let stored = condition::find(conditions, ConditionType::ConfigApplied.as_str())?;
    (stored.observed_generation == observed.object.meta().generation).then_some(stored)
}

/// A change of another generation is waited for from its own beginning, and not from that of an earlier one that never
/// came into effect.
pub fn start_anew(conditions: &mut [Condition], observed: &Observed, plan: &Plan, now: Timestamp) {
    if plan.config_map().is_none() || stored_now(observed).is_some() {
        return;
    }
    let applied = conditions
        .iter_mut()
        .filter(|condition| condition.type_ == ConditionType::ConfigApplied.as_str());
    for condition in applied {
        condition.last_transition_time = Time(now);
    }
}

/// How long a change that is not in effect is still waited for.
#[must_use]
pub fn left(observed: &Observed, now: Timestamp) -> Duration {
    let stored = stored_now(observed).filter(|stored| stored.status == Status::False.as_str());
    let Some(stored) = stored else { return PATIENCE };
    PATIENCE.saturating_sub(elapsed(stored.last_transition_time.0, now))
}

/// The condition.
#[must_use]
pub fn condition(
    observed: &Observed,
    instance: Result<&Instance, &Invalid>,
    plan: &Plan,
    now: Timestamp,
) -> NewCondition {
    let applied = match (instance, observed.pod.ours()) {
        (Ok(instance), Some(pod)) if is_of(observed, pod, instance) => {
            if observed.paused && plan.waiting.is_some() {
                Applied::Held
            } else {
                judge(observed, pod, plan.config_map())
            }
        }
        (Ok(_) | Err(_), _) => Applied::NoPod,
    };
    // As long as the change is on its way, which keys it is about would only be one more write.
    let was_changed = observed
        .config_map
        .ours()
        .is_some_and(|found| told(&**found).is_some());
    let is_on_its_way = was_changed && !left(observed, now).is_zero();
    let generation = observed.object.meta().generation;
    let (status, reason, message) = match applied {
        Applied::AsStored => {
            if let Some(stored) = stored_now(observed).and_then(as_new) {
                return stored;
            }
            (Status::Unknown, Reason::ConfigUnknown, unreadable(observed))
        }
        Applied::InEffect => (
            Status::True,
            Reason::ConfigInEffect,
            format!("TiProxy runs with what {} says", config_map_of(observed)),
        ),
        Applied::Differs(keys) if !is_on_its_way => (
            Status::False,
            Reason::ConfigNotInEffect,
            format!(
                "TiProxy does not run with what {} says of {}; its log tells what it makes of the file",
                config_map_of(observed),
                some_of(&keys)
            ),
        ),
        Applied::Awaited | Applied::Differs(_) => (
            Status::False,
            Reason::ConfigNotInEffect,
            format!(
                "{} was changed, and TiProxy has not been seen to run with it yet",
                config_map_of(observed)
            ),
        ),
        Applied::Unreadable => (Status::Unknown, Reason::ConfigUnknown, unreadable(observed)),
        Applied::NoPod => (
            Status::Unknown,
            Reason::ConfigUnknown,
            "no Pod runs that was made from this spec".to_owned(),
        ),
        Applied::Held => (
            Status::Unknown,
            Reason::ConfigUnknown,
            "the Cluster is paused, and what waits for it may be a change of the configuration".to_owned(),
        ),
    };
    condition_of(ConditionType::ConfigApplied, status, reason, &message, generation)
}

/// Whether a Pod runs, stays, and was made from this spec.
fn is_of(observed: &Observed, pod: &Pod, instance: &Instance) -> bool {
    let fits = observed
        .revision_of(pod)
        .is_none_or(|revision| revision == instance.revision);
    fits && is_running(pod) && pod.meta().deletion_timestamp.is_none()
}

/// A stored condition as one that holds.
fn as_new(stored: &Condition) -> Option<NewCondition> {
    Some(NewCondition {
        type_: stored.type_.clone(),
        status: Status::parse(&stored.status)?,
        reason: stored.reason.clone(),
        message: stored.message.clone(),
        observed_generation: stored.observed_generation,
    })
}

fn unreadable(observed: &Observed) -> String {
    format!(
        "{} was changed, and what TiProxy runs with cannot be read from its HTTP API; a change reaches it within two \
         minutes",
        config_map_of(observed)
    )
}

fn config_map_of(observed: &Observed) -> String {
    let name = observed.pod.ours().map(|pod| pod.name_any()).unwrap_or_default();
    format!("ConfigMap {name}")
}

/// The first few keys; never their values.
fn some_of(keys: &[String]) -> String {
    let named: Vec<&str> = keys.iter().take(MOST_KEYS).map(String::as_str).collect();
    match keys.len().saturating_sub(MOST_KEYS) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

#[cfg(test)]
mod tests;
