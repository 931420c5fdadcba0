//! The claims of a TiProxy's volumes: made before its Pod, changed in place, let go or taken away after it.

use std::time::Duration;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};
use serde_json::{Map, Value, json};

use super::super::build::volume::{STORAGE, claim, labels, owner};
use super::super::claim_state::{Binding, ClaimState};
use super::super::observe::{Observed, ObservedVolume};
use super::super::pod_state::PodState;
use super::super::validate::Instance;
use super::super::volume::{Volume, retention};
use super::Action;
use crate::api::group::VolumeRetention;
use crate::ownership::{self, Slot};
use crate::runtime::write::Target;

/// How long a claim may wait for its volume before somebody should look: a storage driver takes some seconds, one that
/// is overworked a minute.
pub const BINDING_PATIENCE: Duration = Duration::from_mins(1);

/// What the volumes ask for.
#[derive(Debug, Default)]
pub(super) struct VolumePlan {
    /// Before a Pod is created, or one is deleted to be created anew.
    pub(super) before: Vec<Action>,
    /// After everything else, since nothing depends on it.
    pub(super) after: Vec<Action>,
    /// Why no Pod with these volumes can be made now.
    pub(super) obstacle: Option<Obstacle>,
}

/// Why no Pod can be made.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// A claim is on its way out; the Pod that there is may be what it waits for.
    Going(String),
    /// A name is somebody else's.
    Foreign(String),
}

impl Obstacle {
    /// In words for the user.
    pub(super) fn into_words(self) -> String {
        match self {
            Self::Going(words) | Self::Foreign(words) => words,
        }
    }
}

/// Plans the claims of the volumes that the TiProxy has.
pub(super) fn plan(observed: &Observed, instance: &Instance) -> VolumePlan {
    let mut plan = VolumePlan::default();
    for (volume, found) in instance.volumes.iter().zip(&observed.volumes) {
        match &found.slot {
            Slot::Absent => plan
                .before
                .push(Action::CreateClaim(Box::new(claim(instance, volume)))),
            Slot::Ours(claim) | Slot::Adoptable(claim) => change(&mut plan, instance, volume, claim),
            Slot::Leftover(claim) => {
                plan.obstacle.get_or_insert(Obstacle::Going(format!(
                    "PersistentVolumeClaim {} of an earlier TiProxy of this name is being removed",
                    claim.name_any()
                )));
            }
            Slot::Foreign(claim) => {
                plan.obstacle = Some(Obstacle::Foreign(format!(
                    "PersistentVolumeClaim {} is somebody else's",
                    claim.name_any()
                )));
            }
        }
    }
    if retention(&instance.spec) == VolumeRetention::Retain {
        plan.before.extend(removed(observed).filter_map(let_go));
    }
    plan
}

fn change(plan: &mut VolumePlan, instance: &Instance, volume: &Volume, claim: &PersistentVolumeClaim) {
    let state = ClaimState::of(claim);
    if state.terminating {
        plan.obstacle.get_or_insert(Obstacle::Going(format!(
            "PersistentVolumeClaim {} is being deleted; a new one is made when it is gone",
            claim.name_any()
        )));
        return;
    }
    if let Some(metadata) = metadata_patch(instance, volume, claim) {
        // The other changes hold for the resourceVersion that comes of it.
        plan.before.extend(patch(claim, metadata));
        return;
    }
    // The API server changes nothing about a claim that is not bound.
    if state.binding != Binding::Bound {
        return;
    }
    // Apart, so that the refusal of one does not hold up the other.
    let size = state.is_to_grow(&volume.spec).then(|| {
        let storage = volume.spec.storage.to_kubernetes();
        json!({"resources": {"requests": {STORAGE: storage}}})
    });
    let attributes = state
        .is_to_change_attributes(&volume.spec)
        .then(|| json!({"volumeAttributesClassName": volume.spec.volume_attributes_class_name}));
    plan.after
        .extend([attributes, size].into_iter().flatten().filter_map(|spec| {
            Some(Action::ChangeClaim {
                target: Target::of(claim)?,
                spec,
            })
        }));
}

/// The claims of volumes that are gone from the spec, once no Pod of the TiProxy uses them. Those that were kept
/// have no owner, and stay.
pub(super) fn delete_removed(observed: &Observed, instance: &Instance) -> Vec<Action> {
    if retention(&instance.spec) == VolumeRetention::Retain {
        return Vec::new();
    }
    removed(observed)
        .filter(|claim| claim.meta().deletion_timestamp.is_none())
        .filter_map(|claim| Target::of(claim).map(Action::DeleteClaim))
        .collect()
}

/// Before the TiProxy goes: what is to stay must not belong to it, since the garbage collector removes the rest. A claim
/// without an owner is left alone whatever the spec says: orphan deletion may just have let it go.
pub(super) fn before_deletion(observed: &Observed) -> Vec<Action> {
    if retention(&observed.object.spec) == VolumeRetention::Delete {
        return Vec::new();
    }
    observed.claims.iter().filter_map(|claim| let_go(claim)).collect()
}

/// When a claim has waited too long for its volume, or a Pod for the scheduler to see that it has one; no event tells.
pub(super) fn recheck(observed: &Observed, now: Timestamp) -> Option<Duration> {
    let pending = observed
        .volumes
        .iter()
        .filter_map(ObservedVolume::usable)
        .map(|claim| ClaimState::of(claim))
        .filter(|state| state.binding == Binding::Pending);
    let pod = observed.pod.ours().map(|pod| PodState::of(pod));
    let waiting = pod
        .filter(|_| !observed.volumes.is_empty())
        .filter(PodState::waits_for_claims);
    let ages = pending
        .map(|state| state.age(now))
        .chain(waiting.map(|pod| pod.age(now)));
    ages.map(|age| BINDING_PATIENCE.saturating_sub(age))
        .filter(|remaining| !remaining.is_zero())
        .min()
}

/// The TiProxy's claims of volumes that are not in its spec.
fn removed(observed: &Observed) -> impl Iterator<Item = &PersistentVolumeClaim> {
    let claims = observed.claims.iter().map(|claim| &**claim);
    claims.filter(|claim| {
        let name = claim.name_any();
        !observed.volumes.iter().any(|volume| volume.claim == name)
    })
}

fn let_go(claim: &PersistentVolumeClaim) -> Option<Action> {
    let owners = owners(claim, None)?;
    patch(claim, Map::from_iter([owners]))
}

fn patch(claim: &PersistentVolumeClaim, metadata: Map<String, Value>) -> Option<Action> {
    Some(Action::PatchClaim {
        target: Target::of(claim)?,
        metadata,
    })
}

/// The metadata that a claim should have and has not.
fn metadata_patch(
    instance: &Instance,
    volume: &Volume,
    claim: &PersistentVolumeClaim,
) -> Option<Map<String, Value>> {
    let mut patch = volume.metadata.patch_of(&claim.metadata).unwrap_or_default();
    let identity = labels(instance, volume);
    for (key, value) in identity
        .iter()
        .filter(|(key, value)| claim.labels().get(*key) != Some(value))
    {
        let labels = patch.entry("labels").or_insert_with(|| json!({}));
        if let Some(labels) = labels.as_object_mut() {
            labels.insert(key.clone(), json!(value));
        }
    }
    patch.extend(owners(claim, owner(instance).as_ref()));
    (!patch.is_empty()).then_some(patch)
}

/// The owners that a claim should have, if it has others. Only the one in control is ours to decide on.
fn owners(claim: &PersistentVolumeClaim, owner: Option<&OwnerReference>) -> Option<(String, Value)> {
    let controller = ownership::controller(claim);
    if controller.map(|found| &found.uid) == owner.map(|owner| &owner.uid) {
        return None;
    }
    let others = claim.owner_references().iter();
    let owners: Vec<&OwnerReference> = others
        .filter(|found| found.controller != Some(true))
        .chain(owner)
        .collect();
    Some(("ownerReferences".to_owned(), json!(owners)))
}
