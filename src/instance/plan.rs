//! What to do next for one TiProxy. Pure: no client, no clock, no randomness.

mod action;
pub(super) mod configuration;
pub mod leave;
mod volumes;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};
use serde_json::{Map, Value, json};

use super::build::{
    self,
    manifest::manifest,
    tls::{Tls, tls},
};
use super::drain;
use super::lost;
use super::observe::Observed;
use super::pod_state::PodState;
use super::unready;
use super::validate::{Instance, Invalid};
use crate::api::name;
use crate::ownership::Slot;
use crate::runtime::write::Target;
pub use action::{Action, DeleteReason, delete_rule};
use leave::{Cause, End, Leaving};
pub use volumes::BINDING_PATIENCE;
use volumes::{Obstacle, VolumePlan};

/// What to do, and what is waited for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The writes, in order.
    pub actions: Vec<Action>,
    /// What is waited for, in words for the user.
    pub waiting: Option<String>,
    /// When to look again although nothing happened.
    pub recheck: Option<Duration>,
    /// A Pod whose clients are given time to leave.
    pub leaving: Option<Leaving>,
}

impl Plan {
    /// Whether it lets the TiProxy go, after which there is nothing to report on.
    #[must_use]
    pub fn releases(&self) -> bool {
        self.actions.contains(&Action::RemoveFinalizer)
    }

    /// Whether a Pod leaves, or is taken away, so that what the Pod says of itself does not matter any more.
    #[must_use]
    pub fn takes_pod_away(&self) -> bool {
        self.leaving.is_some() || self.end().is_some()
    }

    /// How the leave of a Pod ends with this plan, if it does.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        self.actions.iter().find_map(|action| {
            let Action::DeletePod {
                why: DeleteReason::Left { end, .. },
                ..
            } = action
            else {
                return None;
            };
            Some(*end)
        })
    }

    /// The `ConfigMap` as it writes it, if it does.
    #[must_use]
    pub fn config_map(&self) -> Option<&ConfigMap> {
        configuration::written(&self.actions)
    }

    fn waiting(message: String) -> Self {
        Self {
            waiting: Some(message),
            ..Self::default()
        }
    }
}

/// Plans the next writes of one TiProxy.
#[must_use]
pub fn plan(observed: &Observed, instance: Result<&Instance, &Invalid>, now: Timestamp) -> Plan {
    if observed.object.meta().deletion_timestamp.is_some() {
        return plan_deletion(observed, instance.ok(), now);
    }
    let mut plan = match (leave::cause(observed), instance) {
        (Some(cause), _) => plan_departure(observed, instance.ok(), cause, now),
        (None, Ok(instance)) => plan_pod(observed, instance, now),
        // Whatever runs goes on as it is until the spec can be carried out.
        (None, Err(_)) => Plan {
            actions: observed
                .pod
                .ours()
                .map(|pod| leave::revival(pod))
                .unwrap_or_default(),
            recheck: observed.pod.ours().and_then(|pod| lost::recheck(pod, now)),
            ..Plan::default()
        },
    };
    if observed.paused {
        // What is as it should be need not be called unready for it.
        return if plan.actions.is_empty() && plan.waiting.is_none() {
            plan
        } else {
            Plan::waiting("the Cluster is paused; unset its spec.paused to go on".to_owned())
        };
    }
    let finalizers = observed.object.finalizers();
    if instance.is_ok() && !finalizers.iter().any(|finalizer| finalizer == name::FINALIZER) {
        plan.actions.insert(0, Action::AddFinalizer);
    }
    plan
}

/// A TiProxy that is to have no Pod, but for the time being keeps the rest.
fn plan_departure(observed: &Observed, instance: Option<&Instance>, cause: Cause, now: Timestamp) -> Plan {
    // One that has lost its owner would serve for ever.
    if let Slot::Adoptable(pod) = &observed.pod {
        return Plan {
            actions: Target::of(&**pod).map(Action::AdoptPod).into_iter().collect(),
            ..Plan::waiting(format!("Pod {} is taken back", pod.name_any()))
        };
    }
    leave::all(observed, cause, instance.map(grace_period_seconds), now)
}

/// Deletion waits for nothing but the Pod.
fn plan_deletion(observed: &Observed, instance: Option<&Instance>, now: Timestamp) -> Plan {
    let finalizers = observed.object.finalizers();
    let has = |finalizer: &str| finalizers.iter().any(|found| found == finalizer);
    if !has(name::FINALIZER) {
        return Plan::default();
    }
    let orphaning = has("orphan");
    if orphaning {
        return Plan {
            actions: vec![Action::RemoveFinalizer],
            ..Plan::default()
        };
    }
    let claims = volumes::before_deletion(observed);
    if observed.pods.is_empty() {
        // The garbage collector would do it too, at its leisure, and the next TiProxy of the name would wait for it.
        let config_map = observed.config_map.ours().and_then(|found| Target::of(&**found));
        let actions = claims.into_iter().chain(config_map.map(Action::DeleteConfigMap));
        return Plan {
            actions: actions.chain([Action::RemoveFinalizer]).collect(),
            ..Plan::default()
        };
    }
    let grace = instance.map(grace_period_seconds);
    let leave = leave::all(observed, Cause::Deleted, grace, now);
    Plan {
        actions: leave.actions.into_iter().chain(claims).collect(),
        ..leave
    }
}

fn plan_pod(observed: &Observed, instance: &Instance, now: Timestamp) -> Plan {
    let tls = tls(instance);
    match &observed.pod {
        Slot::Absent => plan_new_pod(observed, instance, &tls),
        Slot::Adoptable(pod) => Plan {
            actions: Target::of(&**pod).map(Action::AdoptPod).into_iter().collect(),
            ..Plan::default()
        },
        Slot::Leftover(pod) => Plan::waiting(format!(
            "Pod {} of an earlier TiProxy of this name is being removed",
            pod.name_any()
        )),
        Slot::Foreign(_) => Plan::default(),
        Slot::Ours(pod) => plan_own_pod(observed, instance, &tls, pod, now),
    }
}

fn plan_new_pod(observed: &Observed, instance: &Instance, tls: &Tls) -> Plan {
    let VolumePlan {
        before: mut actions,
        after,
        obstacle,
    } = volumes::plan(observed, instance);
    actions.extend(configuration::write(
        observed,
        configuration::desired(observed, instance, tls),
        None,
    ));
    // An adopted one may say something else; the Pod must not start before that is put right.
    if obstacle.is_none() && matches!(observed.config_map, Slot::Absent | Slot::Ours(_)) {
        // It reads all that was written for its predecessor.
        let found = observed.config_map.ours();
        let hash = found.and_then(|found| configuration::told_from_birth(found));
        // Validation has laid the overlay over it already, so that it can be.
        let pod = manifest(instance, tls).ok().map(|pod| match hash {
            Some(hash) => pod.with_annotation(name::ANNOTATION_CONFIG_HASH, &hash),
            None => pod,
        });
        actions.extend(pod.map(|pod| Action::CreatePod(Box::new(pod))));
    }
    actions.extend(after);
    // A Pod that the cache does not show may be ending.
    if observed.pods.is_empty() {
        actions.extend(volumes::delete_removed(observed, instance));
    }
    Plan {
        actions,
        ..Plan::waiting(obstacle.map_or_else(|| "its Pod is being created".to_owned(), Obstacle::into_words))
    }
}

fn plan_own_pod(observed: &Observed, instance: &Instance, tls: &Tls, pod: &Arc<Pod>, now: Timestamp) -> Plan {
    let state = PodState::of(pod);
    if state.terminating {
        return leave::ending(pod, now);
    }
    if observed
        .revision_of(pod)
        .is_some_and(|revision| revision != instance.revision)
    {
        return plan_replacement(observed, instance, pod, now);
    }
    if state.ended {
        let pause = backoff(observed.failures);
        let wait = pause.saturating_sub(state.ended_for(now));
        if wait.is_zero() {
            let grace = Some(grace_period_seconds(instance));
            let actions = delete(pod, grace, DeleteReason::Failed).into_iter().collect();
            return Plan {
                actions,
                ..Plan::waiting(format!("Pod {} ended and is replaced", pod.name_any()))
            };
        }
        // Not what is left of the pause: that would be a write of the status for each second.
        let message = format!(
            "Pod {} ended and is replaced after a pause of {} s",
            pod.name_any(),
            pause.as_secs()
        );
        return Plan {
            recheck: Some(wait),
            ..Plan::waiting(message)
        };
    }
    let VolumePlan {
        before: mut actions,
        after,
        ..
    } = volumes::plan(observed, instance);
    let config_actions = configuration::write(
        observed,
        configuration::desired(observed, instance, tls),
        Some(&state),
    );
    let written = configuration::written(&config_actions);
    let (nudge, recheck_config) = configuration::nudge(observed, written, pod, now);
    actions.extend(config_actions);
    let metadata = pod_metadata_patch(instance, tls, pod, nudge.as_deref());
    if let Some(metadata) = leave::revived(pod, metadata) {
        actions.extend(Target::of(&**pod).map(|target| Action::PatchPod { target, metadata }));
    }
    actions.extend(after);
    // It is as the spec asks for, so it does not use them.
    if observed.pods.iter().all(|other| other.uid() == pod.uid()) {
        actions.extend(volumes::delete_removed(observed, instance));
    }
    Plan {
        actions,
        recheck: [
            volumes::recheck(observed, now),
            unready::recheck(observed, pod, now),
        ]
        .into_iter()
        .flatten()
        .filter(|_| !state.is_ready())
        .chain(recheck_config)
        .min(),
        ..Plan::default()
    }
}

/// A Pod that runs is not given up before the claims of the next one are there: what refuses those takes no TiProxy away.
fn plan_replacement(observed: &Observed, instance: &Instance, pod: &Pod, now: Timestamp) -> Plan {
    let VolumePlan {
        before: mut actions,
        obstacle,
        ..
    } = volumes::plan(observed, instance);
    if let Some(Obstacle::Foreign(obstacle)) = obstacle {
        actions.extend(leave::revival(pod));
        return Plan {
            actions,
            ..Plan::waiting(obstacle)
        };
    }
    let grace = Some(grace_period_seconds(instance));
    let leave = leave::step(observed, pod, Cause::Outdated, grace, now);
    // What has begun ends in time, whatever is refused.
    if drain::is_marked(pod) {
        return leave;
    }
    actions.extend(leave.actions);
    Plan { actions, ..leave }
}

/// The metadata that the Pod should have and has not. The serving label is not among it: taking it away is how a
/// Pod leaves.
fn pod_metadata_patch(
    instance: &Instance,
    tls: &Tls,
    pod: &Pod,
    nudge: Option<&str>,
) -> Option<Map<String, Value>> {
    let mut patch = instance
        .template_metadata
        .patch_of(&pod.metadata)
        .unwrap_or_default();
    // It is as the spec asks for, or it would be replaced; so a revision that was taken away is known.
    let identity = build::metadata(instance).labels.unwrap_or_default();
    for (key, value) in identity
        .iter()
        .filter(|(key, value)| pod.labels().get(*key) != Some(value))
    {
        let labels = patch.entry("labels").or_insert_with(|| json!({}));
        if let Some(labels) = labels.as_object_mut() {
            labels.insert(key.clone(), json!(value));
        }
    }
    // What the template no longer says is again as the Pod was born.
    if let Some(Value::Object(annotations)) = patch.get_mut("annotations") {
        for (key, value) in build::pod::annotations(instance, tls) {
            if annotations.get(&key) == Some(&Value::Null) {
                annotations.insert(key, json!(value));
            }
        }
    }
    if let Some(hash) = nudge {
        let annotations = patch.entry("annotations").or_insert_with(|| json!({}));
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(name::ANNOTATION_CONFIG_HASH.to_owned(), json!(hash));
        }
    }
    (!patch.is_empty()).then_some(patch)
}

fn delete(pod: &Pod, grace_period_seconds: Option<u32>, why: DeleteReason) -> Option<Action> {
    Target::of(pod).map(|target| Action::DeletePod {
        target,
        grace_period_seconds,
        why,
    })
}

/// The period that the current configuration needs, which may differ from the one that the Pod was created with.
fn grace_period_seconds(instance: &Instance) -> u32 {
    u32::try_from(build::pod::termination_grace_period_seconds(instance)).unwrap_or(u32::MAX)
}

/// How long an ended Pod is left alone before it is replaced: nothing at first, then 10 s doubling up to 5 min.
fn backoff(failures: u32) -> Duration {
    const FIRST: u64 = 10;
    const LONGEST: u64 = 300;
    let seconds = match failures {
        0 => 0,
        more => FIRST.saturating_mul(1 << (more - 1).min(16)).min(LONGEST),
    };
    Duration::from_secs(seconds)
}

#[cfg(test)]
mod tests;
