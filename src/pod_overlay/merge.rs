//! The merge itself.

use serde_json::{Map, Value};

use super::error::{OverlayError, Problem};
use super::rule::{Key, PLAIN, POD_SPEC, Rule, Shape};

const PATCH: &str = "$patch";

/// The spec of a Pod with an overlay laid over it; `None` when the overlay removes all of it.
pub fn pod_spec(base: Value, overlay: &Map<String, Value>) -> Result<Option<Value>, OverlayError> {
    let mut slot = Some(base);
    lay_object(&mut slot, overlay, Rule::Object(&POD_SPEC), &Path::Root)?;
    Ok(slot)
}

/// Where in the overlay we are.
enum Path<'a> {
    Root,
    Field(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>, usize),
}

impl Path<'_> {
    fn write(&self, text: &mut String) {
        match self {
            Self::Root => {}
            Self::Field(parent, name) => {
                parent.write(text);
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(name);
            }
            Self::Item(parent, index) => {
                parent.write(text);
                text.push('[');
                text.push_str(&index.to_string());
                text.push(']');
            }
        }
    }

    fn error(&self, problem: Problem) -> OverlayError {
        let mut path = String::new();
        self.write(&mut path);
        OverlayError::new(path, problem)
    }
}

/// What an object says of itself with `$patch`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Directive {
    Merge,
    Replace,
    Delete,
}

fn directive(fields: &Map<String, Value>, path: &Path<'_>) -> Result<Directive, OverlayError> {
    match fields.get(PATCH) {
        None => Ok(Directive::Merge),
        Some(Value::String(text)) if text == "merge" => Ok(Directive::Merge),
        Some(Value::String(text)) if text == "replace" => Ok(Directive::Replace),
        Some(Value::String(text)) if text == "delete" => Ok(Directive::Delete),
        Some(other) => Err(path.error(Problem::UnknownPatch(other.to_string()))),
    }
}

/// Lays a value over what is there.
fn lay(slot: &mut Option<Value>, value: &Value, rule: Rule, path: &Path<'_>) -> Result<(), OverlayError> {
    match value {
        Value::Null => *slot = None,
        Value::Object(fields) => lay_object(slot, fields, rule, path)?,
        Value::Array(items) => {
            *slot = Some(Value::Array(match rule {
                Rule::Keyed(keys, shape) => {
                    let base = match slot.take() {
                        Some(Value::Array(base)) => base,
                        _ => Vec::new(),
                    };
                    keyed_list(base, items, keys, shape, path)?
                }
                Rule::Object(_) | Rule::Whole => whole_list(items, path)?,
            }));
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => *slot = Some(value.clone()),
    }
    Ok(())
}

fn lay_object(
    slot: &mut Option<Value>,
    fields: &Map<String, Value>,
    rule: Rule,
    path: &Path<'_>,
) -> Result<(), OverlayError> {
    let (shape, is_whole) = match rule {
        Rule::Object(shape) => (shape, false),
        // An object where a list belongs: the API server says so.
        Rule::Keyed(_, shape) => (shape, true),
        Rule::Whole => (&PLAIN, true),
    };
    let base = match directive(fields, path)? {
        Directive::Delete if fields.len() > 1 => return Err(path.error(Problem::DeleteWithMore)),
        Directive::Delete => {
            *slot = None;
            return Ok(());
        }
        Directive::Replace => Map::new(),
        Directive::Merge => match slot.take() {
            Some(Value::Object(base)) if !is_whole => base,
            _ => Map::new(),
        },
    };
    *slot = Some(Value::Object(merged(base, fields, shape, path)?));
    Ok(())
}

fn merged(
    mut base: Map<String, Value>,
    fields: &Map<String, Value>,
    shape: &'static Shape,
    path: &Path<'_>,
) -> Result<Map<String, Value>, OverlayError> {
    let chooses = fields
        .iter()
        .any(|(field, value)| shape.is_choice(field) && !is_removal(value) && field != PATCH);
    if chooses {
        base.retain(|field, _| !shape.is_choice(field) || fields.contains_key(field));
    }
    for (field, value) in fields.iter().filter(|(field, _)| *field != PATCH) {
        let path = Path::Field(path, field);
        if field.starts_with('$') {
            return Err(path.error(Problem::UnknownDirective(field.clone())));
        }
        let mut slot = base.remove(field);
        lay(&mut slot, value, shape.rule(field), &path)?;
        if let Some(value) = slot {
            base.insert(field.clone(), value);
        }
    }
    Ok(base)
}

/// Whether a value removes the field that it stands for.
fn is_removal(value: &Value) -> bool {
    value.is_null() || value.get(PATCH).is_some_and(|patch| patch == "delete")
}

fn keyed_list(
    mut base: Vec<Value>,
    items: &[Value],
    keys: &[Key],
    shape: &'static Shape,
    path: &Path<'_>,
) -> Result<Vec<Value>, OverlayError> {
    if items.iter().any(clears_list) {
        base.clear();
    }
    let mut seen: Vec<Vec<Value>> = Vec::new();
    for (index, item) in items.iter().enumerate().filter(|(_, item)| !clears_list(item)) {
        let path = Path::Item(path, index);
        let Value::Object(fields) = item else {
            return Err(path.error(Problem::NotAnObject(kind_of(item))));
        };
        let identity = identity(fields, keys).map_err(|key| path.error(Problem::NoKey(key)))?;
        if seen.contains(&identity) {
            let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
            return Err(path.error(Problem::Twice(names.join(" and "))));
        }
        seen.push(identity.clone());
        let place = base.iter().position(|found| {
            found
                .as_object()
                .is_some_and(|found| self::identity(found, keys).as_ref() == Ok(&identity))
        });
        let present = match (directive(fields, &path)?, place) {
            (Directive::Delete, Some(place)) => {
                base.remove(place);
                continue;
            }
            (Directive::Delete, None) => continue,
            (Directive::Merge, Some(place)) => base.get_mut(place).map(Value::take),
            (Directive::Replace, _) | (Directive::Merge, None) => None,
        };
        let present = match present {
            Some(Value::Object(present)) => present,
            _ => Map::new(),
        };
        let new = Value::Object(merged(present, fields, shape, &path)?);
        match place.and_then(|place| base.get_mut(place)) {
            Some(found) => *found = new,
            None => base.push(new),
        }
    }
    Ok(base)
}

/// Whether an item stands for nothing but the wish to begin with an empty list.
fn clears_list(item: &Value) -> bool {
    item.as_object()
        .is_some_and(|fields| fields.len() == 1 && fields.get(PATCH).is_some_and(|patch| patch == "replace"))
}

/// The values of the merge keys of an item; the first key that it lacks.
fn identity(fields: &Map<String, Value>, keys: &[Key]) -> Result<Vec<Value>, &'static str> {
    keys.iter()
        .map(|key| match fields.get(key.name) {
            Some(Value::Null) | None => key.default.map(Value::from).ok_or(key.name),
            Some(value) => Ok(value.clone()),
        })
        .collect()
}

fn whole_list(items: &[Value], path: &Path<'_>) -> Result<Vec<Value>, OverlayError> {
    let of = |(index, item): (usize, &Value)| {
        let path = Path::Item(path, index);
        if item.get(PATCH).is_some() {
            return Err(path.error(Problem::PatchInWholeList));
        }
        let mut slot = None;
        lay(&mut slot, item, Rule::Whole, &path)?;
        Ok(slot.unwrap_or_default())
    };
    items.iter().enumerate().map(of).collect()
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
