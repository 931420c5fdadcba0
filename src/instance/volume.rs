//! The volumes of a TiProxy as its spec gives them, checked before anything is touched. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PersistentVolumeClaimSpec;
use serde_json::{Map, Value};

use super::build::{pod::CONFIG_DIRECTORY, tls};
use crate::api::name::{self, ANNOTATION_TOPOLOGY, RESERVED_PREFIXES};
use crate::api::volume::{Volume as VolumeSpec, VolumeClaimChanges};
use crate::api::{TiProxySpec, TiProxyTemplateSpec, group::VolumeRetention};
use crate::template_metadata::{TemplateMetadata, is_reserved_label};

/// What a `PersistentVolumeClaim` takes from the overlay. The rest is in fields of the volume, or leads nowhere.
const OVERLAID: [&str; 5] = [
    "accessModes",
    "dataSource",
    "dataSourceRef",
    "selector",
    "volumeName",
];

/// One volume.
#[derive(Clone, Debug, PartialEq)]
pub struct Volume {
    /// What the user says of it.
    pub spec: VolumeSpec,
    /// The name of its `PersistentVolumeClaim`.
    pub claim: String,
    /// Labels and annotations of the claim that the user gives.
    pub metadata: TemplateMetadata,
    /// What the user says of the claim's spec.
    pub overlay: PersistentVolumeClaimSpec,
}

/// Why volumes cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidVolume {
    /// A path is mounted twice.
    #[error(
        "spec.template.spec.volumes: mountPath {path} stands in volume {first} and in volume {second}; a path can be \
         mounted once"
    )]
    SamePath {
        /// The path.
        path: String,
        /// One volume.
        first: String,
        /// The other one, or the same.
        second: String,
    },
    /// A path is the operator's or the image's.
    #[error(
        "spec.template.spec.volumes[{volume}]: mountPath {path} is in the way of {taken}, which TiProxy needs; choose \
         another path"
    )]
    TakenPath {
        /// The volume.
        volume: String,
        /// The path.
        path: String,
        /// What stands there.
        taken: &'static str,
    },
    /// The overlay of a claim is not one of a claim.
    #[error("spec.template.spec.overlay.volumeClaims[{volume}].volumeClaim.spec: {why}")]
    Overlay {
        /// The volume.
        volume: String,
        /// What is wrong.
        why: String,
    },
}

/// What becomes of the volumes of a TiProxy.
#[must_use]
pub fn retention(spec: &TiProxySpec) -> VolumeRetention {
    spec.volume_retention.unwrap_or(VolumeRetention::Delete)
}

/// The volumes of a template, with their names for this Pod.
pub fn volumes(template: &TiProxyTemplateSpec, pod: &str) -> Result<Vec<Volume>, InvalidVolume> {
    let specs = template.volumes.as_deref().unwrap_or_default();
    check_paths(specs)?;
    specs
        .iter()
        .map(|spec| {
            let changes = changes_of(template, &spec.name);
            Ok(Volume {
                claim: name::volume_claim(&spec.name, pod),
                metadata: metadata(changes),
                overlay: overlay(&spec.name, changes)?,
                spec: spec.clone(),
            })
        })
        .collect()
}

/// Parts of the overlay of claims that have no effect, with the reason.
#[must_use]
pub fn without_effect(template: &TiProxyTemplateSpec) -> Vec<String> {
    let overlays = template
        .overlay
        .as_ref()
        .and_then(|overlay| overlay.volume_claims.as_deref())
        .unwrap_or_default();
    overlays
        .iter()
        .flat_map(|overlay| {
            let path = format!(
                "spec.template.spec.overlay.volumeClaims[{}].volumeClaim",
                overlay.name
            );
            let changes = &overlay.volume_claim;
            let keys = changes.spec.iter().flat_map(BTreeMap::keys);
            let ignored = keys.filter(|key| !OVERLAID.contains(&key.as_str())).map(|key| {
                let instead = match key.as_str() {
                    "resources" => "the size is the volume's storage",
                    "storageClassName" | "volumeAttributesClassName" => "the volume has a field of this name",
                    "volumeMode" => "what is mounted at a path has a file system",
                    _ => "a PersistentVolumeClaim has no such field",
                };
                format!("{path}.spec.{key} ({instead})")
            });
            let reserved = reserved(changes).map(|(field, key)| {
                format!("{path}.metadata.{field}[{key}] (it belongs to the operator, which sets it itself)")
            });
            ignored.chain(reserved).collect::<Vec<_>>()
        })
        .collect()
}

fn reserved(changes: &VolumeClaimChanges) -> impl Iterator<Item = (&'static str, &str)> {
    let metadata = changes.metadata.as_ref();
    let labels = metadata.and_then(|metadata| metadata.labels.as_ref());
    let annotations = metadata.and_then(|metadata| metadata.annotations.as_ref());
    labels
        .into_iter()
        .flat_map(BTreeMap::keys)
        .filter(|key| is_reserved_label(key))
        .map(|key| ("labels", key.as_str()))
        .chain(
            annotations
                .into_iter()
                .flat_map(BTreeMap::keys)
                .filter(|key| is_reserved_annotation(key))
                .map(|key| ("annotations", key.as_str())),
        )
}

fn is_reserved_annotation(key: &str) -> bool {
    RESERVED_PREFIXES.iter().any(|prefix| key.starts_with(prefix))
}

fn changes_of<'a>(template: &'a TiProxyTemplateSpec, volume: &str) -> Option<&'a VolumeClaimChanges> {
    let overlays = template.overlay.as_ref()?.volume_claims.as_deref()?;
    let found = overlays.iter().find(|overlay| overlay.name == volume)?;
    Some(&found.volume_claim)
}

fn metadata(changes: Option<&VolumeClaimChanges>) -> TemplateMetadata {
    let metadata = changes
        .and_then(|changes| changes.metadata.clone())
        .unwrap_or_default();
    let mut annotations = metadata.annotations.unwrap_or_default();
    annotations.retain(|key, _| !is_reserved_annotation(key));
    TemplateMetadata::new(metadata.labels.unwrap_or_default(), annotations)
}

fn overlay(
    volume: &str,
    changes: Option<&VolumeClaimChanges>,
) -> Result<PersistentVolumeClaimSpec, InvalidVolume> {
    let given = changes.and_then(|changes| changes.spec.as_ref());
    let given: Map<String, Value> = given
        .into_iter()
        .flatten()
        .filter(|(key, _)| OVERLAID.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let given = Value::Object(given);
    let invalid = |why: String| InvalidVolume::Overlay {
        volume: volume.to_owned(),
        why,
    };
    let spec: PersistentVolumeClaimSpec =
        serde_json::from_value(given.clone()).map_err(|error| invalid(error.to_string()))?;
    // What does not come back was not understood.
    if serde_json::to_value(&spec).ok() == Some(given) {
        Ok(spec)
    } else {
        Err(invalid(
            "it has a field that a PersistentVolumeClaim does not have; see kubectl explain pvc.spec"
                .to_owned(),
        ))
    }
}

fn check_paths(volumes: &[VolumeSpec]) -> Result<(), InvalidVolume> {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for volume in volumes {
        for mount in &volume.mounts {
            let path = normal(&mount.mount_path);
            if let Some(taken) = taken(&path) {
                return Err(InvalidVolume::TakenPath {
                    volume: volume.name.clone(),
                    path: mount.mount_path.clone(),
                    taken,
                });
            }
            if let Some(first) = seen.insert(path, &volume.name) {
                return Err(InvalidVolume::SamePath {
                    path: mount.mount_path.clone(),
                    first: first.to_owned(),
                    second: volume.name.clone(),
                });
            }
        }
    }
    Ok(())
}

/// What a mount at this path would hide or be unable to stand in.
fn taken(path: &str) -> Option<&'static str> {
    let is_within = |directory: &str| {
        path.strip_prefix(directory)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if path.is_empty() || is_within("/bin") {
        return Some("/bin/tiproxy");
    }
    std::iter::once(CONFIG_DIRECTORY)
        .chain(tls::DIRECTORIES)
        .find(|directory| is_within(directory))
}

/// A path without what means nothing: empty parts, `.`, and a slash at its end.
fn normal(path: &str) -> String {
    path.split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .fold(String::new(), |path, part| path + "/" + part)
}

/// The annotation that tells where a claim was made for.
#[must_use]
pub fn topology_annotation(topology: &BTreeMap<String, String>) -> (String, String) {
    (
        ANNOTATION_TOPOLOGY.to_owned(),
        serde_json::to_string(topology).unwrap_or_default(),
    )
}

/// The topology in [`topology_annotation`]; `None` where there is none that can be read.
#[must_use]
pub fn topology_of(annotations: &BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    serde_json::from_str(annotations.get(ANNOTATION_TOPOLOGY)?).ok()
}

#[cfg(test)]
mod tests;
