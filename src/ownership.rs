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
        None if object.meta().deletion_timestamp.is_some() => {
            "it is being deleted, and its name is used when it is gone".to_owned()
        }
        None => "it has neither an owner nor our labels".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::{Value, json};

    const MARK: (&str, &str) = ("pingcap.com/instance", "web-0");

    fn owner(uid: &str, controller: bool) -> Value {
        json!({"apiVersion": "v1", "kind": "TiProxy", "name": "web-0", "uid": uid, "controller": controller})
    }

    fn judged(metadata: &Value) -> (&'static str, String) {
        let pod: Pod = serde_json::from_value(json!({ "metadata": metadata })).unwrap();
        let words = describe(&pod);
        let slot = match Slot::of(Some(Arc::new(pod)), "uid", MARK) {
            Slot::Absent => "absent",
            Slot::Ours(_) => "ours",
            Slot::Adoptable(_) => "adoptable",
            Slot::Leftover(_) => "leftover",
            Slot::Foreign(_) => "foreign",
        };
        (slot, words)
    }

    #[test]
    fn ownership_is_by_uid_and_adoption_by_labels() {
        let labels = json!({LABEL_MANAGED_BY: MANAGED_BY, MARK.0: MARK.1});
        let nobody = "it has neither an owner nor our labels";
        let gone = "2026-11-23T10:00:00Z";
        for (metadata, slot, words) in [
            (
                json!({"ownerReferences": [owner("uid", true)]}),
                "ours",
                "it belongs to TiProxy web-0",
            ),
            (
                json!({"labels": labels, "ownerReferences": [owner("older", true)]}),
                "leftover",
                "it belongs to TiProxy web-0",
            ),
            (
                json!({"ownerReferences": [owner("older", true)]}),
                "foreign",
                "it belongs to TiProxy web-0",
            ),
            // To be named among the owners is not to be the one in control.
            (
                json!({"ownerReferences": [owner("uid", false)]}),
                "foreign",
                nobody,
            ),
            (json!({ "labels": labels }), "adoptable", nobody),
            (
                json!({"labels": labels, "ownerReferences": [owner("x", false)]}),
                "adoptable",
                nobody,
            ),
            (
                json!({"labels": labels, "deletionTimestamp": gone}),
                "foreign",
                "it is being deleted, and its name is used when it is gone",
            ),
            (
                json!({"labels": {LABEL_MANAGED_BY: MANAGED_BY, MARK.0: "web-1"}}),
                "foreign",
                nobody,
            ),
            (
                json!({"labels": {LABEL_MANAGED_BY: "tidb-operator", MARK.0: MARK.1}}),
                "foreign",
                nobody,
            ),
            (json!({"labels": {MARK.0: MARK.1}}), "foreign", nobody),
            (json!({}), "foreign", nobody),
        ] {
            assert_eq!(judged(&metadata), (slot, words.to_owned()), "{metadata}");
        }
        assert!(matches!(Slot::<Pod>::of(None, "uid", MARK), Slot::Absent));
    }
}
