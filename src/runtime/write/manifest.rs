//! An object that is about to be created, as the JSON that is sent.

use kube::Resource;
use serde::Serialize;
use serde_json::Value;

/// An object to create: what our type of the kind knows of it, and the JSON that is sent, which may hold fields that
/// the type does not know.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest<K> {
    /// The object, with its name and namespace.
    pub object: K,
    body: Value,
}

impl<K: Resource<DynamicType = ()> + Serialize> Manifest<K> {
    /// An object that holds nothing else.
    #[must_use]
    pub fn of(object: K) -> Self {
        // Plain data with string keys can always be serialised.
        let body = serde_json::to_value(&object).unwrap_or_default();
        Self { object, body }
    }

    /// The JSON that is sent.
    #[must_use]
    pub fn body(&self) -> &Value {
        &self.body
    }

    /// The same object with another spec in what is sent.
    #[must_use]
    pub fn with_spec(mut self, spec: Value) -> Self {
        if let Some(fields) = self.body.as_object_mut() {
            fields.insert("spec".to_owned(), spec);
        }
        self
    }

    /// The same object with an annotation more.
    #[must_use]
    pub fn with_annotation(mut self, key: &str, value: &str) -> Self {
        let annotations = self.object.meta_mut().annotations.get_or_insert_default();
        annotations.insert(key.to_owned(), value.to_owned());
        let annotations = serde_json::to_value(annotations).unwrap_or_default();
        if let Some(metadata) = self.body.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("annotations".to_owned(), annotations);
        }
        self
    }

    /// The same object under another name and without owners, as nobody will ever see it.
    #[must_use]
    pub fn anonymous(mut self, name: String) -> Self {
        if let Some(metadata) = self.body.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("ownerReferences");
            metadata.insert("name".to_owned(), name.clone().into());
        }
        let meta = self.object.meta_mut();
        meta.owner_references = None;
        meta.name = Some(name);
        self
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.body.to_string().into_bytes()
    }
}
