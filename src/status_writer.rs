//! Writing a status: only what changed, and only when it is time.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::runtime::cache::Cache;
use crate::runtime::write::{Target, Writable, Writer};
use crate::runtime::write_error::WriteError;

/// What became of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is the stored one.
    Unchanged,
    /// It differs, and may be written after this time.
    TooEarly(Duration),
    /// It was written.
    Now,
}

/// Writes the status of an object if it differs from the stored one; not before `after` has passed.
pub async fn write_status<K: Writable, S: Serialize>(
    writer: &Writer,
    cache: &Cache<K>,
    object: &K,
    status: &S,
    after: Duration,
) -> Result<Written, WriteError> {
    let stored = serde_json::to_value(object)
        .ok()
        .and_then(|mut object| object.get_mut("status").map(Value::take));
    let desired = serde_json::to_value(status).unwrap_or_default();
    let Some(patch) = merge_patch(&stored.unwrap_or_default(), &desired) else {
        return Ok(Written::Unchanged);
    };
    if !after.is_zero() {
        return Ok(Written::TooEarly(after));
    }
    if let Some(target) = Target::of(object) {
        writer.patch_status(cache, &target, Value::Object(patch)).await?;
    }
    Ok(Written::Now)
}

/// The merge patch from one object to another, `None` when nothing differs: changed fields, and `null` for those
/// that vanished. Nested objects are patched field by field, lists replaced.
#[must_use]
pub fn merge_patch(from: &Value, to: &Value) -> Option<Map<String, Value>> {
    let nothing = Map::new();
    let from = from.as_object().unwrap_or(&nothing);
    let to = to.as_object().unwrap_or(&nothing);
    let removed = from
        .keys()
        .filter(|key| !to.contains_key(*key))
        .map(|key| (key.clone(), Value::Null));
    let changed = to
        .iter()
        .filter(|(key, value)| from.get(*key) != Some(value))
        .filter_map(|(key, value)| match from.get(key) {
            Some(old) if old.is_object() && value.is_object() => {
                merge_patch(old, value).map(|patch| (key.clone(), Value::Object(patch)))
            }
            _ => Some((key.clone(), value.clone())),
        });
    let patch: Map<String, Value> = removed.chain(changed).collect();
    (!patch.is_empty()).then_some(patch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn patches_hold_only_what_differs() {
        let from = json!({"a": 1, "b": {"c": 1, "d": 2}, "e": [1], "f": "x"});
        let to = json!({"a": 1, "b": {"c": 3}, "e": [1, 2], "g": true});
        assert_eq!(
            merge_patch(&from, &to).map(Value::Object),
            Some(json!({"b": {"c": 3, "d": null}, "e": [1, 2], "f": null, "g": true}))
        );
        assert_eq!(merge_patch(&from, &from), None);
        assert_eq!(
            merge_patch(&Value::Null, &json!({"a": 1})).map(Value::Object),
            Some(json!({"a": 1}))
        );
    }
}
