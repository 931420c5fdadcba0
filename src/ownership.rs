//! Whose an object is. Nothing is written to an object that is not ours by the UID of its owner.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt};

use crate::api::name::{LABEL_MANAGED_BY, MANAGED_BY};

/// What stands under a name that we want to use.
#[derive(Debug)]
pub enum Slot<K> {
    /// Nothing.
    Absent,
    /// An object of ours.
    Ours(Arc<K>),
    /// An object with our labels and no owner, as orphan deletion leaves it.
    Adoptable(Arc<K>),
    /// What an earlier owner of the same name has left; the garbage collector is about to remove it.
    Leftover(Arc<K>),
    /// Somebody else's object; it is never written to.
    Foreign(Arc<K>),
}

impl<K> Clone for Slot<K> {
    fn clone(&self) -> Self {
        match self {
            Self::Absent => Self::Absent,
            Self::Ours(object) => Self::Ours(Arc::clone(object)),
            Self::Adoptable(object) => Self::Adoptable(Arc::clone(object)),
            Self::Leftover(object) => Self::Leftover(Arc::clone(object)),
            Self::Foreign(object) => Self::Foreign(Arc::clone(object)),
        }
    }
}

impl<K: Resource> Slot<K> {
    /// Judges what was found under a name. `mark` is a label that an object must have, beside the one that says
    /// who manages it, to be adopted: the group or the instance that it was made for.
    #[must_use]
    pub fn of(found: Option<Arc<K>>, owner_uid: &str, mark: (&str, &str)) -> Self {
        let Some(object) = found else { return Self::Absent };
        let labels = object.labels();
        let has = |key: &str, value: &str| labels.get(key).is_some_and(|found| found == value);
        let is_marked = has(LABEL_MANAGED_BY, MANAGED_BY) && has(mark.0, mark.1);
        match controller(&*object) {
            Some(owner) if owner.uid == owner_uid => Self::Ours(object),
            // The mark is the name of the owner, and of one name there is only one at a time.
            Some(owner) if is_marked && owner.name == mark.1 => Self::Leftover(object),
            None if is_marked && object.meta().deletion_timestamp.is_none() => Self::Adoptable(object),
            Some(_) | None => Self::Foreign(object),
        }
    }

    /// The object, if it is ours.
    #[must_use]
    pub fn ours(&self) -> Option<&Arc<K>> {
        match self {
            Self::Ours(object) => Some(object),
            Self::Absent | Self::Adoptable(_) | Self::Leftover(_) | Self::Foreign(_) => None,
        }
    }
}

/// The owner that controls an object.
#[must_use]
pub fn controller<K: Resource>(object: &K) -> Option<&OwnerReference> {
    object
        .meta()
        .owner_references
        .iter()
        .flatten()
        .find(|owner| owner.controller == Some(true))
}

/// Who has an object that stands under one of our names, in words.
#[must_use]
pub fn describe<K: Resource>(object: &K) -> String {
    match controller(object) {
        Some(owner) => format!("it belongs to {} {}", owner.kind, owner.name),
        None => "it has no owner and not our labels".to_owned(),
    }
}
