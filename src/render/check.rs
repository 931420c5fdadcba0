//! A document against the schema of its kind: unknown and missing fields, types and bounds.
//!
//! Patterns and rules are left to the API server, which alone can judge them all.

use serde_json::{Map, Value};

/// What is wrong with a document, each with its field, in the order of the schema.
pub(super) fn faults(schema: &Value, document: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let fields = document.as_object();
    for field in fields.into_iter().flat_map(Map::keys) {
        if !["apiVersion", "kind", "metadata", "spec", "status"].contains(&field.as_str()) {
            faults.push(unknown(field));
        }
    }
    match document.get("spec") {
        None | Some(Value::Null) => faults.push(missing("spec")),
        Some(spec) => {
            let schema = schema.pointer("/properties/spec").unwrap_or(&Value::Null);
            check("spec", schema, spec, &mut faults);
        }
    }
    faults
}

/// The words for a field that the schema does not have.
pub(super) fn unknown(path: &str) -> String {
    format!("unknown field \"{path}\"")
}

fn missing(path: &str) -> String {
    format!("{path} is missing")
}

fn check(path: &str, schema: &Value, value: &Value, faults: &mut Vec<String>) {
    if schema["x-kubernetes-int-or-string"] == true {
        if !(value.is_i64() || value.is_u64() || value.is_string()) {
            faults.push(format!("{path}: {value} must be a whole number or a string"));
        }
        return bounds(path, schema, value, faults);
    }
    let (is, wanted) = match schema["type"].as_str() {
        Some("object") => (value.is_object(), "an object"),
        Some("array") => (value.is_array(), "a list"),
        Some("string") => (value.is_string(), "a string"),
        Some("integer") => (value.is_i64() || value.is_u64(), "a whole number"),
        Some("boolean") => (value.is_boolean(), "true or false"),
        Some(_) | None => (true, ""),
    };
    if !is {
        return faults.push(format!("{path}: {} must be {wanted}", shown(value)));
    }
    bounds(path, schema, value, faults);
    if let Some(fields) = value.as_object() {
        check_object(path, schema, fields, faults);
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        check(&format!("{path}[{index}]"), &schema["items"], item, faults);
    }
}

fn check_object(path: &str, schema: &Value, fields: &Map<String, Value>, faults: &mut Vec<String>) {
    for name in schema["required"].as_array().into_iter().flatten() {
        let name = name.as_str().unwrap_or_default();
        if fields.get(name).is_none_or(Value::is_null) {
            faults.push(missing(&format!("{path}.{name}")));
        }
    }
    let keeps_unknown = schema["x-kubernetes-preserve-unknown-fields"] == true;
    // A `null` counts as absent, for the API server takes it away.
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        let below = format!("{path}.{name}");
        if let Some(property) = schema["properties"].get(name) {
            check(&below, property, value, faults);
        } else if schema["additionalProperties"].is_object() {
            check(&below, &schema["additionalProperties"], value, faults);
        } else if !keeps_unknown {
            faults.push(unknown(&below));
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "no bound is larger than what a float holds exactly"
)]
fn bounds(path: &str, schema: &Value, value: &Value, faults: &mut Vec<String>) {
    let size = match value {
        Value::String(text) => Some(text.chars().count() as f64),
        Value::Array(items) => Some(items.len() as f64),
        Value::Object(fields) => Some(fields.len() as f64),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    };
    let number = value.as_f64();
    for (bound, measured, unit) in [
        ("minimum", number, ""),
        ("maximum", number, ""),
        ("minLength", size, " characters"),
        ("maxLength", size, " characters"),
        ("minItems", size, " items"),
        ("maxItems", size, " items"),
        ("minProperties", size, " entries"),
        ("maxProperties", size, " entries"),
    ] {
        let (Some(measured), Some(limit)) = (measured, schema[bound].as_f64()) else {
            continue;
        };
        let is_text = unit == " characters";
        if is_text != value.is_string() && size.is_some() {
            continue;
        }
        let subject = if size.is_some() {
            format!("{measured}{unit}")
        } else {
            value.to_string()
        };
        if bound.starts_with("min") && measured < limit {
            faults.push(format!("{path}: {subject} must be at least {limit}"));
        }
        if bound.starts_with("max") && measured > limit {
            faults.push(format!("{path}: {subject} must be at most {limit}"));
        }
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        let allowed: Vec<String> = allowed.iter().map(Value::to_string).collect();
        faults.push(format!(
            "{path}: {} must be one of {}",
            shown(value),
            allowed.join(", ")
        ));
    }
}

/// A value in a sentence; only the kind of what may be long.
fn shown(value: &Value) -> String {
    match value {
        Value::Object(_) => "an object".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::String(text) if text.chars().count() > 60 => "a long string".to_owned(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}
