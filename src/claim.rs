//! Creating and adopting objects under names that somebody else may already use.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;
use serde_json::json;

use crate::ownership::Slot;
use crate::problem::ExecuteError;
use crate::runtime::cache::Cache;
use crate::runtime::write::{Created, Target, Writable, Writer};

/// Creates an object. When its name is taken it finds out by whom, past the cache, and writes nothing.
///
/// `mark` is the label that an ownerless object of ours carries, see [`Slot::of`].
pub async fn create<K: Writable>(
    writer: &Writer,
    cache: &Cache<K>,
    owner_uid: &str,
    mark: (&str, &str),
    object: &K,
) -> Result<(), ExecuteError> {
    if let Created::Created(_) = writer.create(cache, object).await? {
        return Ok(());
    }
    let namespace = object.namespace().unwrap_or_default();
    let name = object.name_any();
    let found = writer.get::<K>(&namespace, &name).await?;
    match Slot::of(found.map(Arc::new), owner_uid, mark) {
        Slot::Foreign(found) => Err(ExecuteError::name_conflict(&*found)),
        Slot::Ours(found) | Slot::Adoptable(found) | Slot::Leftover(found) => {
            cache.record_written(Arc::unwrap_or_clone(found));
            Err(ExecuteError::Behind {
                kind: K::kind(&()).into_owned(),
                name,
            })
        }
        Slot::Absent => Err(ExecuteError::Behind {
            kind: K::kind(&()).into_owned(),
            name,
        }),
    }
}

/// Makes an ownerless object of ours our own again; the patch holds only for the resourceVersion of the target.
pub async fn adopt<K: Writable>(
    writer: &Writer,
    cache: &Cache<K>,
    target: &Target,
    owner: &OwnerReference,
) -> Result<(), ExecuteError> {
    let others = cache
        .get(&target.namespace, &target.name)
        .map(|object| object.owner_references().to_vec());
    let owners: Vec<OwnerReference> = others.into_iter().flatten().chain([owner.clone()]).collect();
    writer
        .patch_metadata(cache, target, json!({"metadata": {"ownerReferences": owners}}))
        .await?;
    Ok(())
}
