//! What a TiProxy is made of: pure functions from a validated [`super::validate::Instance`] to objects.

pub mod config_map;
pub mod manifest;
mod placement;
pub mod pod;
pub mod probe;
pub mod security_context;
pub mod tls;
pub mod volume;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;

use super::validate::Instance;
use crate::api::{TiProxy, name};

/// The owner reference that marks an object as the TiProxy's own.
#[must_use]
pub fn owner_reference(name: &str, uid: &str) -> OwnerReference {
    OwnerReference {
        api_version: TiProxy::api_version(&()).into_owned(),
        kind: TiProxy::kind(&()).into_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// The metadata of the `ConfigMap` and the Pod: their common name, labels and owner, and the revision that both were
/// made from. Each tells it for the other: the `ConfigMap` never changes under a Pod of another revision.
#[must_use]
pub fn metadata(instance: &Instance) -> ObjectMeta {
    let mut labels = name::group_labels(&instance.cluster, &instance.group);
    labels.insert(name::LABEL_INSTANCE.to_owned(), instance.name.clone());
    labels.insert(name::LABEL_REVISION.to_owned(), instance.revision.clone());
    ObjectMeta {
        name: Some(instance.pod_name.clone()),
        namespace: Some(instance.namespace.clone()),
        labels: Some(labels),
        owner_references: Some(vec![owner_reference(&instance.name, &instance.uid)]),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests;
