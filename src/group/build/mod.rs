//! What a group is made of: pure functions from a validated [`super::validate::Group`] to objects.

pub mod disruption_budget;
pub mod instance;
pub mod network_policy;
pub mod service;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;

use super::validate::Group;
use crate::api::{TiProxyGroup, name};

/// The owner reference that marks an object as the group's own.
#[must_use]
pub fn owner_reference(name: &str, uid: &str) -> OwnerReference {
    OwnerReference {
        api_version: TiProxyGroup::api_version(&()).into_owned(),
        kind: TiProxyGroup::kind(&()).into_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// The metadata of an object of the group: its name, labels and owner.
#[must_use]
pub fn metadata(group: &Group, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(group.namespace.clone()),
        labels: Some(name::group_labels(&group.cluster, &group.name)),
        owner_references: Some(vec![owner_reference(&group.name, &group.uid)]),
        ..ObjectMeta::default()
    }
}

/// Puts back the labels that are ours; others stay.
fn keep_labels(found: &mut ObjectMeta, desired: &ObjectMeta) {
    let ours = desired.labels.iter().flatten();
    found
        .labels
        .get_or_insert_default()
        .extend(ours.map(|(key, value)| (key.clone(), value.clone())));
}
