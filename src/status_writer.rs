//! Writing a status: only what changed, and only when it is time.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

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
///
/// The whole status is written: a field that vanished from it vanishes from the object.
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
    // Plain data with string keys always has a JSON form.
    let desired = serde_json::to_value(status).unwrap_or_default();
    if stored.is_some_and(|stored| stored == desired) {
        return Ok(Written::Unchanged);
    }
    if !after.is_zero() {
        return Ok(Written::TooEarly(after));
    }
    if let Some(target) = Target::of(object) {
        writer.patch_status(cache, &target, desired).await?;
    }
    Ok(Written::Now)
}
