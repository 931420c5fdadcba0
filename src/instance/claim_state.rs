//! What a `PersistentVolumeClaim` says about itself.

use std::time::Duration;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};

use super::build::volume::STORAGE;
use crate::api::quantity::is_more;
use crate::api::volume::Volume;
use crate::runtime::time::elapsed;

/// A claim's state, as far as decisions and conditions need it.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimState {
    /// It is being deleted.
    pub terminating: bool,
    /// Whether there is a volume behind it.
    pub binding: Binding,
    /// The size that is asked for.
    pub requested: Option<Quantity>,
    /// The size that there is.
    pub capacity: Option<Quantity>,
    /// Its `StorageClass`.
    pub class: Option<String>,
    /// The `VolumeAttributesClass` that is asked for.
    pub attributes_class: Option<String>,
    /// The `VolumeAttributesClass` that the volume has.
    pub current_attributes_class: Option<String>,
    /// Why the size or the class cannot be changed, as whoever tried says.
    pub failure: Option<String>,
    created: Option<Timestamp>,
}

/// Whether there is a volume behind a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// Not yet.
    Pending,
    /// There is.
    Bound,
    /// There was, and it is gone.
    Lost,
}

impl ClaimState {
    /// Reads a claim.
    #[must_use]
    pub fn of(claim: &PersistentVolumeClaim) -> Self {
        let spec = claim.spec.clone().unwrap_or_default();
        let status = claim.status.clone().unwrap_or_default();
        let size = |map: Option<std::collections::BTreeMap<String, Quantity>>| map?.remove(STORAGE);
        Self {
            terminating: claim.meta().deletion_timestamp.is_some(),
            binding: match status.phase.as_deref() {
                Some("Bound") => Binding::Bound,
                Some("Lost") => Binding::Lost,
                _ => Binding::Pending,
            },
            failure: failure(claim),
            requested: size(spec.resources.and_then(|resources| resources.requests)),
            capacity: size(status.capacity),
            class: spec.storage_class_name,
            attributes_class: spec.volume_attributes_class_name,
            current_attributes_class: status.current_volume_attributes_class_name,
            created: claim.creation_timestamp().map(|time| time.0),
        }
    }

    /// Whether the volume asks for a larger size than the claim does. A smaller one is left as it is.
    #[must_use]
    pub fn is_to_grow(&self, volume: &Volume) -> bool {
        let wanted = volume.storage.to_kubernetes();
        let requested = self.requested.as_ref();
        requested.is_none_or(|requested| is_more(&wanted, requested) == Some(true))
    }

    /// Whether the volume asks for another `VolumeAttributesClass` than the claim does.
    #[must_use]
    pub fn is_to_change_attributes(&self, volume: &Volume) -> bool {
        let wanted = volume.volume_attributes_class_name.as_ref();
        wanted.is_some() && wanted != self.attributes_class.as_ref()
    }

    /// Whether the claim is of another `StorageClass` than the volume asks for.
    #[must_use]
    pub fn is_of_other_class(&self, volume: &Volume) -> bool {
        let wanted = volume.storage_class_name.as_ref();
        wanted.is_some() && wanted != self.class.as_ref()
    }

    /// Whether the size that was asked for is not there yet.
    #[must_use]
    pub fn is_growing(&self) -> bool {
        match (&self.requested, &self.capacity) {
            (Some(requested), Some(capacity)) => is_more(requested, capacity) == Some(true),
            _ => false,
        }
    }

    /// Whether the `VolumeAttributesClass` that was asked for is not there yet.
    #[must_use]
    pub fn is_changing_attributes(&self) -> bool {
        self.attributes_class
            .as_ref()
            .is_some_and(|class| !class.is_empty())
            && self.attributes_class != self.current_attributes_class
    }

    /// How old it is.
    #[must_use]
    pub fn age(&self, now: Timestamp) -> Duration {
        self.created
            .map(|created| elapsed(created, now))
            .unwrap_or_default()
    }
}

/// What has failed for good, in the words of whoever tried it.
fn failure(claim: &PersistentVolumeClaim) -> Option<String> {
    let status = claim.status.as_ref()?;
    let errors = status.conditions.iter().flatten().find(|condition| {
        condition.status == "True"
            && matches!(
                condition.type_.as_str(),
                "ControllerResizeError" | "NodeResizeError" | "ModifyVolumeError"
            )
    });
    if let Some(condition) = errors {
        let said = condition.message.clone().filter(|message| !message.is_empty());
        return said.or_else(|| Some(condition.type_.clone()));
    }
    let resizing = status
        .allocated_resource_statuses
        .as_ref()
        .and_then(|statuses| statuses.get(STORAGE))
        .filter(|status| status.ends_with("Infeasible") || status.ends_with("Failed"));
    if let Some(status) = resizing {
        return Some(status.clone());
    }
    let modifying = status.modify_volume_status.as_ref();
    modifying
        .filter(|modifying| modifying.status == "Infeasible")
        .map(|modifying| {
            format!(
                "its driver cannot change it to VolumeAttributesClass {}",
                modifying
                    .target_volume_attributes_class_name
                    .as_deref()
                    .unwrap_or_default()
            )
        })
}

#[cfg(test)]
mod tests;
