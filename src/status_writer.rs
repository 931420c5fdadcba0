//! Writing a status: only what changed, and only when it is time.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::problem;
use crate::runtime::cache::Cache;
use crate::runtime::condition;
use crate::runtime::write::{Target, Writable, Writer};
use crate::runtime::write_error::{WriteError, WriteFailure, unknown_fields};

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
///
/// The whole status is written: a field that vanished from it vanishes from the object. Where the API server does not
/// know all of its fields, the rest is written with conditions that say so, and the error is returned all the same.
pub async fn write_status<K: Writable, S: Serialize>(
    writer: &Writer,
    cache: &Cache<K>,
    object: &K,
    status: &S,
    after: Duration,
    now: Timestamp,
) -> Result<Written, WriteError> {
    let stored = serde_json::to_value(object)
        .ok()
        .and_then(|mut object| object.get_mut("status").map(Value::take));
    // Plain data with string keys always has a JSON form.
    let desired = serde_json::to_value(status).unwrap_or_default();
    if stored.as_ref() == Some(&desired) {
        return Ok(Written::Unchanged);
    }
    if !after.is_zero() {
        return Ok(Written::TooEarly(after));
    }
    let Some(target) = Target::of(object) else {
        return Ok(Written::Unchanged);
    };
    match writer.patch_status(cache, &target, desired.clone()).await {
        Ok(_) => Ok(Written::Now),
        Err(error) => {
            let stored = stored.unwrap_or_default();
            if let Some(known) = known_part(&stored, desired, object.meta().generation, &error, now)
                && known != stored
            {
                writer.patch_status(cache, &target, known).await?;
            }
            Err(error)
        }
    }
}

/// What can be written of a status of which the API server does not know some fields: the others, and conditions that
/// say so. `None` for every other error.
fn known_part(
    stored: &Value,
    desired: Value,
    generation: Option<i64>,
    error: &WriteError,
    now: Timestamp,
) -> Option<Value> {
    if error.reason != WriteFailure::UnknownField {
        return None;
    }
    let conditions = problem::progress_of_write(error)?.conditions(generation);
    let before: Vec<Condition> =
        serde_json::from_value(stored.get("conditions").cloned().unwrap_or_default()).unwrap_or_default();
    let mut known = desired;
    let fields = known.as_object_mut()?;
    for path in unknown_fields(&error.message) {
        let field = path
            .strip_prefix("status.")
            .and_then(|path| path.split(['.', '[']).next());
        fields.remove(field?);
    }
    fields.insert(
        "conditions".to_owned(),
        json!(condition::merge(&before, conditions, now)),
    );
    Some(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(reason: WriteFailure, message: &str) -> WriteError {
        WriteError {
            reason,
            verb: "patch the status of",
            kind: "TiProxy".to_owned(),
            namespace: "ns".to_owned(),
            name: "web-0".to_owned(),
            message: message.to_owned(),
        }
    }

    #[test]
    fn what_the_api_server_does_not_know_is_left_out_and_told() {
        let desired = json!({"replicas": 1, "connections": 5, "conditions": [], "observedGeneration": 3});
        let unknown = error(
            WriteFailure::UnknownField,
            "strict decoding error: unknown field \"status.connections\"",
        );
        let of = |stored: &Value, time| known_part(stored, desired.clone(), Some(3), &unknown, time).unwrap();
        let first = of(&Value::Null, Timestamp::UNIX_EPOCH);
        assert_eq!((&first["replicas"], first.get("connections")), (&json!(1), None));
        let stalled = first["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["type"] == "Stalled");
        let stalled = stalled.unwrap();
        assert_eq!(
            (&stalled["status"], &stalled["reason"]),
            (&json!("True"), &json!("ForeignDefinition"))
        );
        assert!(
            stalled["message"]
                .as_str()
                .unwrap()
                .contains("status.connections"),
            "{stalled}"
        );
        // The same again is no change.
        assert_eq!(of(&first, Timestamp::from_second(9).unwrap()), first);
    }

    #[test]
    fn other_errors_are_no_reason_to_write_less() {
        let refused = error(WriteFailure::Invalid, "no");
        assert_eq!(
            known_part(&Value::Null, json!({}), None, &refused, Timestamp::UNIX_EPOCH),
            None
        );
    }
}
