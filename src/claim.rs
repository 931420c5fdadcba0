//! Creating and adopting objects under names that somebody else may already use.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt};
use serde_json::json;

use crate::api::name;
use crate::ownership::{self, Slot};
use crate::problem::ExecuteError;
use crate::runtime::cache::Cache;
use crate::runtime::write::{Created, Manifest, Target, Writable, Writer};

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
    match writer.create(cache, object).await? {
        Created::Created(_) => Ok(()),
        Created::AlreadyExists => taken(writer, cache, owner_uid, mark, object).await,
    }
}

/// As [`create`], of the JSON in a manifest.
pub async fn create_manifest<K: Writable>(
    writer: &Writer,
    cache: &Cache<K>,
    owner_uid: &str,
    mark: (&str, &str),
    manifest: &Manifest<K>,
) -> Result<(), ExecuteError> {
    match writer.create_manifest(cache, manifest).await? {
        Created::Created(_) => Ok(()),
        Created::AlreadyExists => taken(writer, cache, owner_uid, mark, &manifest.object).await,
    }
}

/// Finds out who has the name of an object that was to be created.
async fn taken<K: Writable>(
    writer: &Writer,
    cache: &Cache<K>,
    owner_uid: &str,
    mark: (&str, &str),
    object: &K,
) -> Result<(), ExecuteError> {
    let namespace = object.namespace().unwrap_or_default();
    let name = object.name_any();
    let found = writer.get::<K>(&namespace, &name).await?;
    match Slot::of(found.map(Arc::new), owner_uid, mark) {
        Slot::Foreign(found) => Err(ExecuteError::name_conflict(&*found)),
        Slot::Ours(found) if !is_labelled(&*found) => show(writer, cache, &*found).await,
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

/// Whether the watches, which select by this label, show the object.
fn is_labelled<K: Resource>(object: &K) -> bool {
    object
        .labels()
        .get(name::LABEL_MANAGED_BY)
        .is_some_and(|manager| manager == name::MANAGED_BY)
}

/// Gives an object of ours back the label without which no watch ever shows it.
async fn show<K: Writable>(writer: &Writer, cache: &Cache<K>, object: &K) -> Result<(), ExecuteError> {
    if let Some(target) = Target::of(object) {
        let patch = json!({"metadata": {"labels": {name::LABEL_MANAGED_BY: name::MANAGED_BY}}});
        writer.patch_metadata(cache, &target, patch).await?;
    }
    Ok(())
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

/// Looks past the cache whether an object of ours has this name; if so, the cache gets it and the pass is over.
pub async fn confirm_absent<K: Writable>(
    writer: &Writer,
    cache: &Cache<K>,
    namespace: &str,
    name: &str,
    owner_uid: &str,
) -> Result<(), ExecuteError> {
    match writer.get::<K>(namespace, name).await? {
        Some(found) if ownership::controller(&found).is_some_and(|owner| owner.uid == owner_uid) => {
            cache.record_written(found);
            Err(ExecuteError::Behind {
                kind: K::kind(&()).into_owned(),
                name: name.to_owned(),
            })
        }
        Some(_) | None => Ok(()),
    }
}

/// Replaces the finalizers of an object; the patch holds only for the resourceVersion that it was read at.
pub async fn set_finalizers<K: Writable>(
    writer: &Writer,
    cache: &Cache<K>,
    object: &K,
    finalizers: &[String],
) -> Result<(), ExecuteError> {
    if let Some(target) = Target::of(object) {
        let patch = json!({"metadata": {"finalizers": finalizers}});
        writer.patch_metadata(cache, &target, patch).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;
    use crate::runtime::testing::{Reply, config_map, fake_api, owned};

    #[tokio::test]
    async fn an_own_object_that_lost_the_label_of_the_watches_gets_it_back() {
        let found = owned(config_map("a", "1", 5), "owner");
        let (calls, client) = fake_api(move |call| match call.method.as_str() {
            "POST" => Reply::status(409, "AlreadyExists", "already exists"),
            _ => Reply::ok(&found),
        });
        let (writer, cache) = (Writer::new(client, "author"), Cache::of([]));
        create(&writer, &cache, "owner", ("mark", "a"), &config_map("a", "", 0))
            .await
            .unwrap();
        let calls = calls.lock().unwrap();
        let methods: Vec<_> = calls.iter().map(|call| call.method.as_str()).collect();
        assert_eq!(methods, ["POST", "GET", "PATCH"]);
        let labels = json!({"pingcap.com/managed-by": "tiproxy-operator"});
        assert_eq!(calls[2].body, json!({"metadata": {"labels": labels, "uid": "1"}}));
    }

    #[tokio::test]
    async fn an_own_object_that_the_cache_does_not_hold_is_found_and_somebody_elses_does_not_matter() {
        for (owner, expected) in [("owner", 1), ("another", 0)] {
            let found = owned(config_map("a", "1", 5), owner);
            let (_, client) = fake_api(move |_| Reply::ok(&found));
            let (writer, cache) = (Writer::new(client, "author"), Cache::<ConfigMap>::of([]));
            let result = confirm_absent(&writer, &cache, "ns", "a", "owner").await;
            assert_eq!(
                matches!(result, Err(ExecuteError::Behind { .. })),
                owner == "owner"
            );
            assert_eq!((result.is_ok(), cache.len()), (owner != "owner", expected));
        }
        let (_, client) = fake_api(|_| Reply::status(404, "NotFound", "not found"));
        let (writer, cache) = (Writer::new(client, "author"), Cache::<ConfigMap>::of([]));
        confirm_absent(&writer, &cache, "ns", "a", "owner").await.unwrap();
    }

    #[tokio::test]
    async fn an_own_object_that_the_watch_will_show_is_left_alone() {
        let mut found = owned(config_map("a", "1", 5), "owner");
        let label = (name::LABEL_MANAGED_BY.to_owned(), name::MANAGED_BY.to_owned());
        found.metadata.labels = Some([label].into());
        let (calls, client) = fake_api(move |call| match call.method.as_str() {
            "POST" => Reply::status(409, "AlreadyExists", "already exists"),
            _ => Reply::ok(&found),
        });
        let (writer, cache) = (Writer::new(client, "author"), Cache::of([]));
        let error = create(&writer, &cache, "owner", ("mark", "a"), &config_map("a", "", 0)).await;
        assert!(matches!(error, Err(ExecuteError::Behind { .. })), "{error:?}");
        assert_eq!(calls.lock().unwrap().len(), 2);
        assert!(cache.get("ns", "a").is_some());
    }
}
