//! Labels and annotations of the template, on their way from group to TiProxy to Pod, where those of the overlay join
//! them; and those of `spec.service`, on their way to the client Service.
//!
//! They are changed in place. Each object says in one annotation which of its keys came from the template, so that
//! a key that leaves the template leaves the objects too, and a key that somebody else put there stays.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::api::TiProxyTemplate;
use crate::api::name::{ANNOTATION_TEMPLATE_KEYS, RESERVED_PREFIXES};

/// Labels and annotations that came from the template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TemplateMetadata {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

#[derive(Default, Serialize, Deserialize)]
struct Keys {
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    labels: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    annotations: BTreeSet<String>,
}

/// Whether a label belongs to the operator, so that the template cannot set it.
#[must_use]
pub fn is_reserved_label(key: &str) -> bool {
    RESERVED_PREFIXES.iter().any(|prefix| key.starts_with(prefix))
        || matches!(
            key,
            "app.kubernetes.io/name"
                | "app.kubernetes.io/instance"
                | "app.kubernetes.io/component"
                | "app.kubernetes.io/part-of"
                | "app.kubernetes.io/managed-by"
        )
}

impl TemplateMetadata {
    /// What the template gives; labels that belong to the operator are left out.
    #[must_use]
    pub fn of_template(template: &TiProxyTemplate) -> Self {
        let metadata = template.metadata.clone().unwrap_or_default();
        Self::new(
            metadata.labels.unwrap_or_default(),
            metadata.annotations.unwrap_or_default(),
        )
    }

    /// What a user gives; labels that belong to the operator are left out.
    #[must_use]
    pub fn new(mut labels: BTreeMap<String, String>, mut annotations: BTreeMap<String, String>) -> Self {
        labels.retain(|key, _| !is_reserved_label(key));
        annotations.remove(ANNOTATION_TEMPLATE_KEYS);
        Self { labels, annotations }
    }

    /// The same with more keys; where both have one, that of `over` counts.
    #[must_use]
    pub fn overlaid(mut self, over: Self) -> Self {
        self.labels.extend(over.labels);
        self.annotations.extend(over.annotations);
        self
    }

    /// What an object carries of the template.
    #[must_use]
    pub fn of_object(metadata: &ObjectMeta) -> Self {
        let keys = keys_of(metadata);
        Self {
            labels: pick(metadata.labels.as_ref(), &keys.labels),
            annotations: pick(metadata.annotations.as_ref(), &keys.annotations),
        }
    }

    /// Adds it to an object that is about to be created. Labels that are there already win, since they are the
    /// operator's; annotations that are there already lose, since they are only its advice to others.
    pub fn put_into(&self, metadata: &mut ObjectMeta) {
        let labels = metadata.labels.get_or_insert_default();
        for (key, value) in &self.labels {
            labels.entry(key.clone()).or_insert_with(|| value.clone());
        }
        let annotations = metadata.annotations.get_or_insert_default();
        for (key, value) in &self.annotations {
            annotations.insert(key.clone(), value.clone());
        }
        if let Some(keys) = self.keys() {
            annotations.insert(ANNOTATION_TEMPLATE_KEYS.to_owned(), keys);
        }
    }

    /// The merge patch (`{"labels": ..., "annotations": ...}`) that makes an object carry exactly this of the
    /// template; `None` when it does.
    #[must_use]
    pub fn patch_of(&self, metadata: &ObjectMeta) -> Option<Map<String, Value>> {
        let keys = keys_of(metadata);
        let mut recorded = keys.labels;
        recorded.retain(|key| !is_reserved_label(key));
        let labels = changes(&self.labels, metadata.labels.as_ref(), &recorded);
        let mut annotations = changes(
            &self.annotations,
            metadata.annotations.as_ref(),
            &keys.annotations,
        );
        let recorded = metadata
            .annotations
            .as_ref()
            .and_then(|annotations| annotations.get(ANNOTATION_TEMPLATE_KEYS));
        if recorded != self.keys().as_ref() {
            annotations.insert(ANNOTATION_TEMPLATE_KEYS.to_owned(), json!(self.keys()));
        }
        let patch: Map<String, Value> = [("labels", labels), ("annotations", annotations)]
            .into_iter()
            .filter(|(_, changes)| !changes.is_empty())
            .map(|(field, changes)| (field.to_owned(), Value::Object(changes)))
            .collect();
        (!patch.is_empty()).then_some(patch)
    }

    /// Makes an object carry exactly this of the template.
    pub fn change(&self, metadata: &mut ObjectMeta) {
        let Some(patch) = self.patch_of(metadata) else {
            return;
        };
        merge(&mut metadata.labels, patch.get("labels"));
        merge(&mut metadata.annotations, patch.get("annotations"));
    }

    fn keys(&self) -> Option<String> {
        if self.labels.is_empty() && self.annotations.is_empty() {
            return None;
        }
        let keys = Keys {
            labels: self.labels.keys().cloned().collect(),
            annotations: self.annotations.keys().cloned().collect(),
        };
        serde_json::to_string(&keys).ok()
    }
}

fn merge(target: &mut Option<BTreeMap<String, String>>, changes: Option<&Value>) {
    for (key, value) in changes.and_then(Value::as_object).into_iter().flatten() {
        let target = target.get_or_insert_default();
        match value.as_str() {
            Some(value) => target.insert(key.clone(), value.to_owned()),
            None => target.remove(key),
        };
    }
}

/// An unreadable annotation counts as none: what it named stays on the object, which harms nobody.
fn keys_of(metadata: &ObjectMeta) -> Keys {
    metadata
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get(ANNOTATION_TEMPLATE_KEYS))
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default()
}

fn pick(from: Option<&BTreeMap<String, String>>, keys: &BTreeSet<String>) -> BTreeMap<String, String> {
    from.into_iter()
        .flatten()
        .filter(|(key, _)| keys.contains(*key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn changes(
    desired: &BTreeMap<String, String>,
    current: Option<&BTreeMap<String, String>>,
    recorded: &BTreeSet<String>,
) -> Map<String, Value> {
    let is = |key: &str| current.and_then(|current| current.get(key));
    let set = desired
        .iter()
        .filter(|(key, value)| is(key) != Some(*value))
        .map(|(key, value)| (key.clone(), json!(value)));
    let removed = recorded
        .iter()
        .filter(|key| !desired.contains_key(*key) && is(key).is_some())
        .map(|key| (key.clone(), Value::Null));
    set.chain(removed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(labels: &Value, annotations: &Value) -> TemplateMetadata {
        let template = json!({"metadata": {"labels": labels, "annotations": annotations}, "spec": {"version": "v1.3.2"}});
        TemplateMetadata::of_template(&serde_json::from_value(template).unwrap())
    }

    #[test]
    fn keys_come_and_go_with_the_template_and_others_stay() {
        let mut object = ObjectMeta {
            labels: Some(BTreeMap::from([("mine".to_owned(), "1".to_owned())])),
            ..ObjectMeta::default()
        };
        let first = template(&json!({"team": "a", "tier": "web"}), &json!({"note": "x"}));
        first.change(&mut object);
        assert_eq!(TemplateMetadata::of_object(&object), first);
        assert_eq!(first.patch_of(&object), None);

        let second = template(&json!({"team": "b"}), &json!({}));
        second.change(&mut object);
        assert_eq!(TemplateMetadata::of_object(&object), second);
        assert_eq!(
            object.labels,
            Some(BTreeMap::from([
                ("mine".to_owned(), "1".to_owned()),
                ("team".to_owned(), "b".to_owned())
            ]))
        );

        let none = template(&json!({}), &json!({}));
        none.change(&mut object);
        assert_eq!(object.annotations, Some(BTreeMap::new()));
        assert_eq!(none.patch_of(&object), None);
    }

    #[test]
    fn the_template_cannot_set_the_operator_s_labels() {
        let metadata = template(
            &json!({"pingcap.com/group": "x", "core.pingcap.com/serving": "false", "app.kubernetes.io/name": "y", "ok": "z"}),
            &json!({}),
        );
        assert_eq!(metadata.labels.keys().collect::<Vec<_>>(), ["ok"]);
    }

    #[test]
    fn what_is_created_carries_it_at_once() {
        let metadata = template(&json!({"team": "a"}), &json!({"note": "x"}));
        let mut object = ObjectMeta::default();
        metadata.put_into(&mut object);
        assert_eq!(metadata.patch_of(&object), None);
        assert_eq!(TemplateMetadata::of_object(&object), metadata);
    }

    #[test]
    fn an_annotation_of_ours_that_came_with_the_template_goes_with_it() {
        let key = "pingcap.com/restartedAt";
        let mut object = ObjectMeta::default();
        template(&json!({}), &json!({ key: "now" })).put_into(&mut object);
        assert_eq!(
            object.annotations.as_ref().map(|found| found.contains_key(key)),
            Some(true)
        );
        template(&json!({}), &json!({})).change(&mut object);
        assert_eq!(object.annotations, Some(BTreeMap::new()));
    }

    #[test]
    fn a_forged_record_takes_no_label_of_the_operator() {
        let mut object = ObjectMeta {
            labels: Some(BTreeMap::from([(
                "pingcap.com/group".to_owned(),
                "web".to_owned(),
            )])),
            annotations: Some(BTreeMap::from([(
                ANNOTATION_TEMPLATE_KEYS.to_owned(),
                r#"{"labels":["pingcap.com/group"]}"#.to_owned(),
            )])),
            ..ObjectMeta::default()
        };
        template(&json!({}), &json!({})).change(&mut object);
        assert_eq!(object.labels.map(|labels| labels.len()), Some(1));
    }
}
