//! What a text says of some keys, in one form however it is written.

use std::collections::BTreeMap;

use super::index;
use super::key::{Key, Kind};
use super::tombstone::spelled;
use super::tree::{self, Table, Value};
use super::write;

/// What a text sets these keys to, as text: those that differ from their default. Two texts say the same of a key
/// exactly if TiProxy takes them for the same. Labels stand as `labels.<name>`, an empty one is none, and a text that
/// cannot be read says nothing.
///
/// The form is part of what revisions are made from, so it may never change.
#[must_use]
pub fn meaning<'key>(toml: &str, paths: impl Iterator<Item = &'key str>) -> BTreeMap<String, String> {
    let root = spelled(toml).unwrap_or_default();
    let mut meaning = BTreeMap::new();
    if root.is_empty() {
        return meaning;
    }
    for key in paths.filter_map(index::find) {
        let Some(node) = tree::get(&root, key.path) else {
            continue;
        };
        if matches!(key.kind, Kind::Labels) {
            add_labels(node.value.as_table(), &mut meaning);
        } else if !key.is_default(&node.value) {
            meaning.insert(key.path.to_owned(), canonical(key, &node.value));
        }
    }
    meaning
}

/// The path of a label, as [`meaning`] and [`classify`](super::classify) name it.
#[must_use]
pub fn label_path(name: &str) -> String {
    write::join("labels", name)
}

/// A string as [`meaning`] writes it.
#[must_use]
pub fn text_in_meaning(text: &str) -> String {
    written(&Value::text(text))
}

fn add_labels(labels: Option<&Table>, meaning: &mut BTreeMap<String, String>) {
    for (name, node) in labels.into_iter().flatten() {
        if node.value != Value::text("") {
            meaning.insert(label_path(name), written(&node.value));
        }
    }
}

fn canonical(key: &Key, value: &Value) -> String {
    match key.kind.number(value) {
        // Adding nothing makes one of the two zeros of the other; the bits of a float have one form, its digits many.
        Some(number) => format!("#{:016x}", (number + 0.0).to_bits()),
        None if matches!(key.kind, Kind::LogLevel) => written(value).to_lowercase(),
        None => written(value),
    }
}

fn written(value: &Value) -> String {
    let mut text = String::new();
    write::value(&mut text, value);
    text
}
