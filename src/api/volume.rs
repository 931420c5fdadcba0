//! Volumes and the overlay of a TiProxy.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::quantity::Quantity;

/// A volume of each TiProxy: one `PersistentVolumeClaim` named `<volume>-<pod>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// The volume's name: a DNS label of at most 56 characters.
    #[schemars(length(min = 1, max = 56))]
    pub name: String,
    /// Where the volume is mounted in the container `tiproxy`.
    #[schemars(length(min = 1, max = 64))]
    pub mounts: Vec<VolumeMount>,
    /// The size asked for. It may grow, not shrink.
    pub storage: Quantity,
    /// The `StorageClass`. Default: the cluster's default class.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,
    /// The `VolumeAttributesClass`. Default: none. It may change, but once set it may not be taken away.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub volume_attributes_class_name: Option<String>,
}

/// One place where a volume is mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeMount {
    /// A purpose that TiDB Operator knows for other components; without effect for TiProxy.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub mount_type: Option<String>,
    /// The absolute path in the container.
    #[schemars(length(min = 1, max = 1024))]
    pub mount_path: String,
    /// The folder of the volume that is mounted. Default: its root.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub sub_path: Option<String>,
}

/// Changes laid over what the operator builds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Overlay {
    /// Changes to the Pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodOverlay>,
    /// Changes to the `PersistentVolumeClaims`, by the name of their volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub volume_claims: Option<Vec<VolumeClaimOverlay>>,
}

/// Changes to the Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodOverlay {
    /// Labels and annotations added to the Pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<OverlayMetadata>,
    /// A partial `PodSpec`, merged strategically: lists by name, an explicit `false` or `0` honoured, probe and
    /// lifecycle handlers replaced whole, `$patch: delete` or `replace` to remove. The API server judges the
    /// result in a dry run before anything running is touched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spec: Option<BTreeMap<String, Value>>,
}

/// Changes to the `PersistentVolumeClaim` of one volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeClaimOverlay {
    /// The name of a volume in `volumes`.
    #[schemars(length(min = 1, max = 56))]
    pub name: String,
    /// The changes.
    pub volume_claim: VolumeClaimChanges,
}

/// Changes to a `PersistentVolumeClaim`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeClaimChanges {
    /// Labels and annotations added to the claim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<OverlayMetadata>,
    /// A partial `PersistentVolumeClaimSpec`, laid over the claim when it is created: `accessModes`, `dataSource`,
    /// `dataSourceRef`, `selector` and `volumeName`. Size and classes are fields of the volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spec: Option<BTreeMap<String, Value>>,
}

/// Labels and annotations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OverlayMetadata {
    /// Accepted for manifests of TiDB Operator; without effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub name: Option<String>,
    /// Labels. Keys that begin with `pingcap.com/` or `core.pingcap.com/` belong to the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}
