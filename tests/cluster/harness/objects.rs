//! Writing objects as `kubectl` does: the API server judges every field strictly.

use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams, ValidationDirective};
use kube::core::{GroupVersionKind, Request, Status, TypeMeta};
use kube::{Api, Resource};
use serde_json::{Value, json};

use super::Test;
use super::cluster::FIELD_MANAGER;

/// Whether a write is kept or only judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    Yes,
    /// A dry run: admission and validation as in earnest, and nothing stored.
    No,
}

impl Test {
    /// Server-side apply of a manifest in the test's namespace; fails the test when it is refused.
    pub(crate) async fn apply(&self, manifest: &Value) -> DynamicObject {
        let name = name(manifest).to_owned();
        self.dynamic(manifest)
            .patch(
                &name,
                &PatchParams {
                    field_validation: Some(ValidationDirective::Strict),
                    ..PatchParams::apply(FIELD_MANAGER).force()
                },
                &Patch::Apply(manifest),
            )
            .await
            .unwrap_or_else(|error| panic!("{name} cannot be applied: {error}"))
    }

    /// Creates an object (POST); the API server's answer, or its refusal.
    pub(crate) async fn create(&self, manifest: &Value, keep: Keep) -> Result<DynamicObject, Box<Status>> {
        self.write(Verb::Create, manifest, keep).await
    }

    /// Replaces an object (PUT); the API server's answer, or its refusal.
    pub(crate) async fn replace(&self, manifest: &Value, keep: Keep) -> Result<DynamicObject, Box<Status>> {
        self.write(Verb::Replace, manifest, keep).await
    }

    /// Writes status fields, as the operator would.
    pub(crate) async fn patch_status(&self, manifest: &Value, status: Value) -> DynamicObject {
        self.dynamic(manifest)
            .patch_status(
                name(manifest),
                &PatchParams::default(),
                &Patch::Merge(json!({"status": status})),
            )
            .await
            .unwrap_or_else(|error| panic!("the status of {} cannot be written: {error}", name(manifest)))
    }

    /// The objects of a manifest's kind in the test's namespace.
    pub(crate) fn dynamic(&self, manifest: &Value) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource(manifest))
    }

    async fn write(&self, verb: Verb, manifest: &Value, keep: Keep) -> Result<DynamicObject, Box<Status>> {
        let requests = Request::new(DynamicObject::url_path(
            &resource(manifest),
            Some(&self.namespace),
        ));
        let parameters = PostParams {
            dry_run: keep == Keep::No,
            field_manager: Some(FIELD_MANAGER.to_owned()),
        };
        let bytes = serde_json::to_vec(manifest).expect("a manifest is JSON");
        let mut request = match verb {
            Verb::Create => requests.create(&parameters, bytes),
            Verb::Replace => requests.replace(name(manifest), &parameters, bytes),
        }
        .expect("a write can be built");
        // kube's parameters of these verbs have no place for it.
        let uri = format!("{}&fieldValidation=Strict", request.uri());
        *request.uri_mut() = uri.parse().expect("the address stays valid");
        match self.client.request(request).await {
            Ok(object) => Ok(object),
            Err(kube::Error::Api(status)) => Err(status),
            Err(error) => panic!("{} cannot be written: {error}", name(manifest)),
        }
    }
}

#[derive(Clone, Copy)]
enum Verb {
    Create,
    Replace,
}

fn resource(manifest: &Value) -> ApiResource {
    let text = |field: &str| manifest[field].as_str().expect("a manifest has its kind");
    let types = TypeMeta {
        api_version: text("apiVersion").to_owned(),
        kind: text("kind").to_owned(),
    };
    let kind = GroupVersionKind::try_from(&types).expect("an apiVersion is a group and a version");
    ApiResource::from_gvk(&kind)
}

fn name(manifest: &Value) -> &str {
    manifest["metadata"]["name"]
        .as_str()
        .expect("a manifest has a name")
}
