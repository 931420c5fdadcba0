//! What can be done for one TiProxy: one write each.

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod};
use serde_json::{Map, Value};

use super::leave::{Cause, End};
use crate::runtime::write::{DeleteRule, Manifest, Target};

/// One write; it carries all that its executor needs.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Holds the TiProxy until its Pod is gone.
    AddFinalizer,
    /// Lets the TiProxy go.
    RemoveFinalizer,
    /// Makes an ownerless `ConfigMap` of ours our own again.
    AdoptConfigMap(Target),
    /// Makes an ownerless Pod of ours our own again.
    AdoptPod(Target),
    /// Creates the `ConfigMap`.
    CreateConfigMap(Box<ConfigMap>),
    /// Replaces the content of the `ConfigMap`; it carries the resourceVersion that it was decided for.
    ReplaceConfigMap(Box<ConfigMap>),
    /// Deletes the `ConfigMap`.
    DeleteConfigMap(Target),
    /// Creates the claim of a volume.
    CreateClaim(Box<PersistentVolumeClaim>),
    /// Changes labels, annotations and owners of a claim.
    PatchClaim {
        /// The claim.
        target: Target,
        /// The merge patch of its metadata.
        metadata: Map<String, Value>,
    },
    /// Makes a claim larger, or gives it another `VolumeAttributesClass`.
    ChangeClaim {
        /// The claim.
        target: Target,
        /// The merge patch of its spec.
        spec: Value,
    },
    /// Deletes the claim of a volume that the TiProxy has no longer.
    DeleteClaim(Target),
    /// Creates the Pod.
    CreatePod(Box<Manifest<Pod>>),
    /// Changes labels and annotations of the Pod.
    PatchPod {
        /// The Pod.
        target: Target,
        /// The merge patch of its metadata.
        metadata: Map<String, Value>,
    },
    /// Deletes the Pod.
    DeletePod {
        /// The Pod.
        target: Target,
        /// Seconds that it has to end.
        grace_period_seconds: Option<u32>,
        /// Why.
        why: DeleteReason,
    },
}

impl Action {
    /// Whether it makes a claim that has no owner the TiProxy's own.
    #[must_use]
    pub fn adopts_claim(&self) -> bool {
        let Self::PatchClaim { metadata, .. } = self else {
            return false;
        };
        metadata
            .get("ownerReferences")
            .and_then(Value::as_array)
            .is_some_and(|owners| owners.iter().any(|owner| owner["controller"] == true))
    }

    /// Whether what follows may be done although this was refused.
    #[must_use]
    pub fn is_independent(&self) -> bool {
        matches!(self, Self::ChangeClaim { .. } | Self::DeleteClaim(_))
    }
}

/// Why a Pod is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteReason {
    /// It has failed, was evicted, or ended, and is created anew.
    Failed,
    /// It had to leave.
    Left {
        /// Why.
        cause: Cause,
        /// How that ended.
        end: End,
    },
}

/// How a Pod is deleted: only as it was read. That it is ours is a fact of its content, since an orphaned Pod keeps
/// its UID and is ours no longer.
#[must_use]
pub fn delete_rule(grace_period_seconds: Option<u32>) -> DeleteRule {
    DeleteRule {
        resource_version: true,
        grace_period_seconds,
        propagation: None,
    }
}
