//! The writing rules: every write names its author, is validated strictly, and carries what it was decided for.

mod call;
mod manifest;

use axum::http::Request;
use kube::api::{DeleteParams, GetParams, Patch, Preconditions, PropagationPolicy};
use kube::core::{NamespaceResourceScope, ObjectMeta};
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub use self::manifest::Manifest;

use self::call::{Call, as_json_patch, judged_only, patched_by, posted_by, validated_strictly};
use super::cache::Cache;
use super::write_error::{WriteError, WriteFailure};

/// A namespaced kind that can be written.
pub trait Writable:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Serialize + DeserializeOwned
{
}

impl<K> Writable for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Serialize + DeserializeOwned
{
}

/// Writes objects. Every answer goes into the cache of its kind, so that the next read sees it.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    /// The name under which the API server records the writes.
    manager: &'static str,
}

/// The object that a write was decided for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID: an object of the same name and another UID is refused by the API server.
    pub uid: String,
    /// Its resourceVersion when the decision was made.
    pub resource_version: Option<String>,
}

impl Target {
    /// The object as it was read; `None` for one that the API server has never seen.
    pub fn of<K: Resource>(object: &K) -> Option<Self> {
        let meta = object.meta();
        Some(Self {
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone()?,
            uid: meta.uid.clone()?,
            resource_version: meta.resource_version.clone(),
        })
    }
}

/// The answer to a create.
#[derive(Debug, Clone, PartialEq)]
pub enum Created<K> {
    /// The object as the API server stored it.
    Created(K),
    /// Another object has the name: ours that the cache does not hold yet, or someone else's.
    AlreadyExists,
}

/// The answer to a delete.
#[derive(Debug, Clone, PartialEq)]
pub enum Deleted<K> {
    /// The object is gone.
    Gone,
    /// The object will go: it has finalizers, or a grace period runs.
    Leaving(K),
}

/// How to delete. The UID is always checked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DeleteRule {
    /// Whether the object must still have the resourceVersion of the target, because its content decided.
    pub resource_version: bool,
    /// How many seconds the object has to end; without it its own period counts.
    pub grace_period_seconds: Option<u32>,
    /// What happens to the objects that it owns; without it the default of the kind.
    pub propagation: Option<PropagationPolicy>,
}

impl Writer {
    /// A writer that uses this client and writes under this name.
    #[must_use]
    pub fn new(client: Client, manager: &'static str) -> Self {
        Self { client, manager }
    }

    /// A writer that writes under another name.
    #[must_use]
    pub fn named(&self, manager: &'static str) -> Self {
        Self::new(self.client.clone(), manager)
    }

    /// Reads the object as it is now, past the cache; `None` if it is not there. It does not go into the cache: it may
    /// be someone else's, which the cache does not watch.
    ///
    /// # Errors
    /// Fails if the API server refuses or cannot be reached.
    pub async fn get<K: Writable>(&self, namespace: &str, name: &str) -> Result<Option<K>, WriteError> {
        let call = Call::new::<K>("get", namespace, name);
        let request = call.requests::<K>().get(name, &GetParams::default());
        match self.send(&call, request).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.reason == WriteFailure::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates the object (POST). That its name is taken is not an error.
    ///
    /// # Errors
    /// Fails if the API server refuses the object or cannot be reached.
    pub async fn create<K: Writable>(&self, cache: &Cache<K>, object: &K) -> Result<Created<K>, WriteError> {
        let call = Call::to("create", object);
        let request = call
            .requests::<K>()
            .create(&posted_by(self.manager), call.encode(object)?);
        match self.write(&call, request, cache).await {
            Ok(created) => Ok(Created::Created(created)),
            Err(error) if error.reason == WriteFailure::AlreadyExists => Ok(Created::AlreadyExists),
            Err(error) => Err(error),
        }
    }

    /// As [`Writer::create`], of the JSON in a manifest: fields that `K` does not know are sent too.
    ///
    /// # Errors
    /// Fails if the API server refuses the object or cannot be reached.
    pub async fn create_manifest<K: Writable>(
        &self,
        cache: &Cache<K>,
        manifest: &Manifest<K>,
    ) -> Result<Created<K>, WriteError> {
        let call = Call::to("create", &manifest.object);
        let request = call
            .requests::<K>()
            .create(&posted_by(self.manager), manifest.bytes());
        match self.write(&call, request, cache).await {
            Ok(created) => Ok(Created::Created(created)),
            Err(error) if error.reason == WriteFailure::AlreadyExists => Ok(Created::AlreadyExists),
            Err(error) => Err(error),
        }
    }

    /// Asks whether the object could be created, and stores nothing: a dry run, with strict validation and admission.
    /// That its name is taken is no reason why it could not.
    ///
    /// # Errors
    /// Fails if the API server refuses the object or cannot be reached.
    pub async fn judge<K: Writable>(&self, manifest: &Manifest<K>) -> Result<(), WriteError> {
        let call = Call::to("check", &manifest.object);
        let request = call
            .requests::<K>()
            .create(&judged_only(self.manager), manifest.bytes());
        match self.send::<Value>(&call, request.map(validated_strictly)).await {
            Ok(_) => Ok(()),
            // Validation and admission come before the name.
            Err(error) if error.reason == WriteFailure::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Replaces the whole object (PUT), provided that it still has the resourceVersion that `object` carries.
    ///
    /// # Errors
    /// Fails with `Refused` if `object` has no resourceVersion or no UID, with `Conflict` if it has changed.
    pub async fn replace<K: Writable>(&self, cache: &Cache<K>, object: &K) -> Result<K, WriteError> {
        let call = Call::to("replace", object);
        let meta = object.meta();
        if meta.resource_version.is_none() || meta.uid.is_none() {
            return Err(call.refused(
                "a replacement must carry the resourceVersion and the UID that it was decided for",
            ));
        }
        let request =
            call.requests::<K>()
                .replace(&call.name, &posted_by(self.manager), call.encode(object)?);
        self.write(&call, request, cache).await
    }

    /// Changes metadata only. `patch` is a JSON merge patch of the form `{"metadata": {..}}`; `null` removes a key.
    ///
    /// The target's UID is put into it. A merge patch replaces whole lists: if it holds `finalizers` or
    /// `ownerReferences`, the target's resourceVersion is put into it too.
    ///
    /// # Errors
    /// Fails with `Refused` if the patch touches more than metadata or replaces a list without a resourceVersion,
    /// with `Conflict` if the object is another one, or has changed and a list was to be replaced.
    pub async fn patch_metadata<K: Writable>(
        &self,
        cache: &Cache<K>,
        target: &Target,
        patch: Value,
    ) -> Result<K, WriteError> {
        let call = Call::at::<K>("patch", target);
        let patch = bind_metadata(patch, target).map_err(|why| call.refused(why))?;
        let request =
            call.requests::<K>()
                .patch(&target.name, &patched_by(self.manager), &Patch::Merge(patch));
        self.write(&call, request, cache).await
    }

    /// Changes fields of the spec. `spec` is a JSON merge patch of it; the patch holds only for the target's UID and
    /// resourceVersion.
    ///
    /// # Errors
    /// Fails with `Refused` if the target has no resourceVersion, with `Conflict` if the object is another one or has
    /// changed.
    pub async fn patch_spec<K: Writable>(
        &self,
        cache: &Cache<K>,
        target: &Target,
        spec: &Value,
    ) -> Result<K, WriteError> {
        let call = Call::at::<K>("patch", target);
        let Some(version) = &target.resource_version else {
            return Err(call.refused("a spec can only be changed at a known resourceVersion"));
        };
        let patch = json!({
            "metadata": {"uid": target.uid, "resourceVersion": version},
            "spec": spec,
        });
        let request =
            call.requests::<K>()
                .patch(&target.name, &patched_by(self.manager), &Patch::Merge(patch));
        self.write(&call, request, cache).await
    }

    /// Replaces the whole status, whatever it was: one controller writes it, so that no resourceVersion is checked.
    ///
    /// The UID is checked by a JSON patch: in a merge patch of the status of a custom resource the API server ignores
    /// all metadata but the resourceVersion, and the status would land on a successor of the same name.
    ///
    /// # Errors
    /// Fails with `Conflict` if the object is another one.
    pub async fn patch_status<K: Writable>(
        &self,
        cache: &Cache<K>,
        target: &Target,
        status: Value,
    ) -> Result<K, WriteError> {
        let call = Call::at::<K>("patch the status of", target);
        let patch = json!([
            { "op": "test", "path": "/metadata/uid", "value": target.uid },
            { "op": "add", "path": "/status", "value": status },
        ]);
        let requests = call.requests::<K>();
        let request = requests.patch_subresource(
            "status",
            &target.name,
            &patched_by(self.manager),
            &Patch::Merge(patch),
        );
        self.write(&call, request.map(as_json_patch), cache).await
    }

    /// Deletes the object if it still has the target's UID, and, where the rule says so, its resourceVersion. An
    /// object that is not there is gone.
    ///
    /// # Errors
    /// Fails with `Conflict` if the object is another one or has changed, with `Refused` if the rule asks for a
    /// resourceVersion that the target does not have.
    pub async fn delete<K: Writable>(
        &self,
        cache: &Cache<K>,
        target: &Target,
        rule: DeleteRule,
    ) -> Result<Deleted<K>, WriteError> {
        let call = Call::at::<K>("delete", target);
        let resource_version = target.resource_version.clone().filter(|_| rule.resource_version);
        if rule.resource_version && resource_version.is_none() {
            return Err(call.refused("the delete depends on a resourceVersion that is not known"));
        }
        let params = DeleteParams {
            grace_period_seconds: rule.grace_period_seconds,
            propagation_policy: rule.propagation,
            preconditions: Some(Preconditions {
                resource_version,
                uid: Some(target.uid.clone()),
            }),
            dry_run: false,
        };
        let request = call
            .requests::<K>()
            .delete(&target.name, &params)
            .map_err(|error| call.not_sent(&error))?;
        let answer =
            self.client
                .request::<Value>(request)
                .await
                .and_then(|answer| match answer.get("kind") {
                    Some(kind) if kind == "Status" => Ok(None),
                    _ => serde_json::from_value::<K>(answer)
                        .map(Some)
                        .map_err(kube::Error::SerdeError),
                });
        match answer.map_err(|error| call.failed(&error)) {
            Ok(Some(object)) if is_leaving(object.meta()) => {
                cache.record_written(object.clone());
                Ok(Deleted::Leaving(object))
            }
            Err(error) if error.reason != WriteFailure::NotFound => Err(error),
            Ok(_) | Err(_) => {
                cache.record_deleted(&target.namespace, &target.name, &target.uid);
                Ok(Deleted::Gone)
            }
        }
    }

    async fn write<K: Writable>(
        &self,
        call: &Call,
        request: Result<Request<Vec<u8>>, kube::core::request::Error>,
        cache: &Cache<K>,
    ) -> Result<K, WriteError> {
        let answer: K = self.send(call, request.map(validated_strictly)).await?;
        let meta = answer.meta();
        match &meta.uid {
            // The last finalizer went, and the object with it.
            Some(uid) if meta.deletion_timestamp.is_some() && !is_leaving(meta) => {
                cache.record_deleted(&call.namespace, &call.name, uid);
            }
            _ => cache.record_written(answer.clone()),
        }
        Ok(answer)
    }

    async fn send<K: DeserializeOwned>(
        &self,
        call: &Call,
        request: Result<Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<K, WriteError> {
        let request = request.map_err(|error| call.not_sent(&error))?;
        self.client
            .request(request)
            .await
            .map_err(|error| call.failed(&error))
    }
}

/// Ties a patch of metadata to its target.
fn bind_metadata(patch: Value, target: &Target) -> Result<Value, &'static str> {
    let Value::Object(mut fields) = patch else {
        return Err("a patch must be an object");
    };
    let Some(Value::Object(mut metadata)) = fields.remove("metadata") else {
        return Err("a patch of metadata must have an object under `metadata`");
    };
    if !fields.is_empty() {
        return Err("a patch of metadata must not touch anything else");
    }
    if metadata.contains_key("finalizers") || metadata.contains_key("ownerReferences") {
        let Some(version) = &target.resource_version else {
            return Err("a list of metadata can only be replaced at a known resourceVersion");
        };
        metadata.insert("resourceVersion".to_owned(), version.clone().into());
    }
    metadata.insert("uid".to_owned(), target.uid.clone().into());
    Ok(json!({ "metadata": metadata }))
}

/// Whether a deleted object is still there. Some kinds answer with the object although it is gone.
fn is_leaving(meta: &ObjectMeta) -> bool {
    let has_finalizers = meta
        .finalizers
        .as_ref()
        .is_some_and(|finalizers| !finalizers.is_empty());
    let has_time = meta
        .deletion_grace_period_seconds
        .is_some_and(|seconds| seconds > 0);
    meta.deletion_timestamp.is_some() && (has_finalizers || has_time)
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Writer").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
