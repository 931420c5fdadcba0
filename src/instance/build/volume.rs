//! The volumes of a TiProxy: the claim of each, and how the Pod mounts it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeClaimVolumeSource, Volume as PodVolume,
    VolumeMount, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::super::validate::Instance;
use super::super::volume::{Volume, retention, topology_annotation};
use crate::api::group::VolumeRetention;
use crate::api::name;

/// The resource of a claim that is its size.
pub const STORAGE: &str = "storage";

/// The name of a volume in the Pod; the prefix keeps it apart from the operator's own volumes.
#[must_use]
pub fn pod_volume(volume: &str) -> String {
    format!("ti-vol-{volume}")
}

/// The `PersistentVolumeClaim` of a volume, as it is created.
#[must_use]
pub fn claim(instance: &Instance, volume: &Volume) -> PersistentVolumeClaim {
    let mut metadata = ObjectMeta {
        name: Some(volume.claim.clone()),
        namespace: Some(instance.namespace.clone()),
        labels: Some(labels(instance, volume)),
        annotations: Some(instance.spec.topology.iter().map(topology_annotation).collect()),
        owner_references: owner(instance).map(|owner| vec![owner]),
        ..ObjectMeta::default()
    };
    volume.metadata.put_into(&mut metadata);
    let overlay = volume.overlay.clone();
    let size = (STORAGE.to_owned(), volume.spec.storage.to_kubernetes());
    PersistentVolumeClaim {
        metadata,
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: overlay
                .access_modes
                .or_else(|| Some(vec!["ReadWriteOnce".to_owned()])),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([size])),
                limits: None,
            }),
            storage_class_name: volume.spec.storage_class_name.clone(),
            volume_attributes_class_name: volume.spec.volume_attributes_class_name.clone(),
            ..overlay
        }),
        status: None,
    }
}

/// The labels of a volume's claim. That of the revision is not among them: claims outlive revisions.
#[must_use]
pub fn labels(instance: &Instance, volume: &Volume) -> BTreeMap<String, String> {
    let mut labels = name::group_labels(&instance.cluster, &instance.group);
    labels.insert(name::LABEL_INSTANCE.to_owned(), instance.name.clone());
    labels.insert(name::LABEL_VOLUME.to_owned(), volume.spec.name.clone());
    labels
}

/// Who owns the claims: nobody, when they are to stay.
#[must_use]
pub fn owner(instance: &Instance) -> Option<OwnerReference> {
    match retention(&instance.spec) {
        VolumeRetention::Delete => Some(super::owner_reference(&instance.name, &instance.uid)),
        VolumeRetention::Retain => None,
    }
}

/// The volumes of the Pod.
pub fn pod_volumes(instance: &Instance) -> impl Iterator<Item = PodVolume> {
    instance.volumes.iter().map(|volume| PodVolume {
        name: pod_volume(&volume.spec.name),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: volume.claim.clone(),
            read_only: None,
        }),
        ..PodVolume::default()
    })
}

/// Where the container mounts them.
pub fn mounts(instance: &Instance) -> impl Iterator<Item = VolumeMount> {
    instance.volumes.iter().flat_map(|volume| {
        volume.spec.mounts.iter().map(|mount| VolumeMount {
            name: pod_volume(&volume.spec.name),
            mount_path: mount.mount_path.clone(),
            sub_path: mount.sub_path.clone(),
            ..VolumeMount::default()
        })
    })
}
