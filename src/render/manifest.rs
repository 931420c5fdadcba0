//! Manifests: what of the input is for us, read as strictly as the API server reads it.

use std::sync::{Arc, LazyLock};

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::serde::de::DeserializeOwned;
use kube::ResourceExt;
use serde_json::Value;

use super::{Level, Output, Source, check};
use crate::api::{Cluster, GROUP, TiProxy, TiProxyGroup, VERSION, crd};

/// What the input has of each kind.
#[derive(Debug, Default)]
pub(super) struct Manifests {
    /// What is rendered, in the order of the input.
    pub(super) objects: Vec<Object>,
    clusters: Vec<Cluster>,
    services: Vec<Arc<Service>>,
}

/// Something with a configuration.
#[derive(Debug)]
pub(super) enum Object {
    Group(Box<TiProxyGroup>),
    Instance(Box<TiProxy>),
}

impl Manifests {
    /// Reads all documents of all sources. An object without a namespace is taken to be in the given one.
    pub(super) fn read(sources: &[Source], namespace: &str, output: &mut Output) -> Self {
        let mut manifests = Self::default();
        for source in sources {
            match serde_saphyr::from_multiple::<Value>(&source.text) {
                Ok(documents) => {
                    for (index, document) in documents.into_iter().enumerate() {
                        let about = format!("{}: document {}", source.name, index + 1);
                        manifests.add(document, namespace, &about, output);
                    }
                }
                Err(error) => output.tell(Level::Error, &source.name, format!("not YAML: {error}")),
            }
        }
        manifests
    }

    /// The Cluster that a group names.
    pub(super) fn cluster_of(&self, group: &TiProxyGroup) -> Option<&Cluster> {
        self.clusters.iter().find(|cluster| {
            cluster.name_any() == group.spec.cluster.name && cluster.namespace() == group.namespace()
        })
    }

    /// The Services beside a group.
    pub(super) fn services_of(&self, group: &TiProxyGroup) -> Vec<Arc<Service>> {
        let beside = |service: &&Arc<Service>| service.namespace() == group.namespace();
        self.services.iter().filter(beside).cloned().collect()
    }

    fn add(&mut self, mut document: Value, namespace: &str, about: &str, output: &mut Output) {
        if document.is_null() {
            return;
        }
        let text = |field: &str| document.get(field).and_then(Value::as_str).unwrap_or_default();
        let (version, kind) = (text("apiVersion").to_owned(), text("kind").to_owned());
        if let (true, Some(Value::Array(items))) = (kind.ends_with("List"), document.get_mut("items")) {
            for (index, item) in std::mem::take(items).into_iter().enumerate() {
                self.add(item, namespace, &format!("{about}, item {}", index + 1), output);
            }
            return;
        }
        let name = document.pointer("/metadata/name").and_then(Value::as_str);
        let about = match name {
            Some(name) => format!("{kind} {name}"),
            None => about.to_owned(),
        };
        let ours = format!("{GROUP}/{VERSION}");
        match (version.as_str(), kind.as_str()) {
            (version, "TiProxyGroup") if version == ours => {
                if let Some(group) =
                    strictly::<TiProxyGroup>(document, &GROUP_SCHEMA, namespace, &about, output)
                {
                    self.objects.push(Object::Group(Box::new(group)));
                }
            }
            (version, "TiProxy") if version == ours => {
                if let Some(instance) =
                    strictly::<TiProxy>(document, &INSTANCE_SCHEMA, namespace, &about, output)
                {
                    self.objects.push(Object::Instance(Box::new(instance)));
                }
            }
            (version, "Cluster") if version == ours => {
                self.clusters.extend(read(document, namespace, &about, output));
            }
            ("v1", "Service") => {
                let service = read(document, namespace, &about, output);
                self.services.extend(service.map(Arc::new));
            }
            (version, "TiProxyGroup" | "TiProxy") => {
                let text = format!("apiVersion: \"{version}\" must be \"{ours}\"");
                output.tell(Level::Error, &about, text);
            }
            (_, "") => output.tell(Level::Error, &about, "not a manifest: it has no kind"),
            (_, _) => output.tell(
                Level::Note,
                &about,
                "skipped: it is no TiProxyGroup, TiProxy, Cluster or Service",
            ),
        }
    }
}

static GROUP_SCHEMA: LazyLock<Value> = LazyLock::new(|| schema_of(crd::group()));
static INSTANCE_SCHEMA: LazyLock<Value> = LazyLock::new(|| schema_of(crd::instance()));

/// The schema of a definition; that there is one, the tests of [`crd`] see to.
fn schema_of(definition: Result<CustomResourceDefinition, crd::CrdError>) -> Value {
    definition
        .ok()
        .and_then(|definition| serde_json::to_value(definition).ok())
        .and_then(|mut definition| {
            let schema = definition.pointer_mut("/spec/versions/0/schema/openAPIV3Schema")?;
            Some(schema.take())
        })
        .unwrap_or_default()
}

/// Reads an object of ours; unknown fields, missing ones and values out of bounds are errors.
fn strictly<K: DeserializeOwned + ResourceExt>(
    document: Value,
    schema: &Value,
    namespace: &str,
    about: &str,
    output: &mut Output,
) -> Option<K> {
    let mut faults = check::faults(schema, &document);
    faults.extend(unknown_metadata(&document));
    for fault in &faults {
        output.tell(Level::Error, about, fault);
    }
    if faults.is_empty() {
        read(document, namespace, about, output)
    } else {
        None
    }
}

/// Fields that no object's metadata has. The schema of a custom resource leaves metadata out.
fn unknown_metadata(document: &Value) -> Vec<String> {
    let Some(given) = document.get("metadata").and_then(Value::as_object) else {
        return vec!["metadata.name is missing".to_owned()];
    };
    let known = serde_json::from_value::<ObjectMeta>(Value::Object(given.clone()))
        .and_then(serde_json::to_value)
        .unwrap_or_default();
    let mut faults: Vec<String> = given
        .iter()
        .filter(|(field, value)| !value.is_null() && !known.is_null() && known.get(field).is_none())
        .map(|(field, _)| check::unknown(&format!("metadata.{field}")))
        .collect();
    if !given.get("name").is_some_and(Value::is_string) {
        faults.push("metadata.name is missing".to_owned());
    }
    faults
}

fn read<K: DeserializeOwned + ResourceExt>(
    document: Value,
    namespace: &str,
    about: &str,
    output: &mut Output,
) -> Option<K> {
    match serde_json::from_value::<K>(document) {
        Ok(mut object) => {
            let given = object.namespace().filter(|given| !given.is_empty());
            object.meta_mut().namespace = Some(given.unwrap_or_else(|| namespace.to_owned()));
            Some(object)
        }
        Err(error) => {
            output.tell(Level::Error, about, format!("cannot be read: {error}"));
            None
        }
    }
}
