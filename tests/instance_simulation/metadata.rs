//! What a merge patch does to an object's metadata.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value};

/// Lays a patch of owners, labels and annotations over them.
pub(crate) fn merge_metadata(metadata: &mut ObjectMeta, patch: &Map<String, Value>) {
    for field in patch.keys() {
        assert!(
            ["ownerReferences", "labels", "annotations"].contains(&field.as_str()),
            "{field} is not expected here"
        );
    }
    if let Some(owners) = patch.get("ownerReferences") {
        metadata.owner_references = serde_json::from_value(owners.clone()).expect("owners");
    }
    for (field, map) in [
        ("labels", &mut metadata.labels),
        ("annotations", &mut metadata.annotations),
    ] {
        for (key, value) in patch.get(field).and_then(Value::as_object).into_iter().flatten() {
            let map = map.get_or_insert_default();
            match value.as_str() {
                Some(value) => map.insert(key.clone(), value.to_owned()),
                None => map.remove(key),
            };
        }
    }
}
