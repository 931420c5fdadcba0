//! A tree as TOML 1.0 text, always the same text for the same tree.
//!
//! The writer is our own so that the bytes in a `ConfigMap` depend on the configuration alone, not on the release of a
//! library, and so that only the plainest TOML is written: `TiProxy` up to v1.3.2 reads it with `BurntSushi/toml`
//! v1.2.1. Keys are sorted, values come before tables, and strings have one form.

use std::fmt::Write as _;

use super::tree::{Node, Table, Value, array_of_tables};

/// The document as text.
pub(crate) fn document(root: &Table) -> String {
    let mut text = String::new();
    table(&mut text, &mut Vec::new(), root);
    text
}

fn table<'tree>(text: &mut String, path: &mut Vec<&'tree str>, entries: &'tree Table) {
    for (name, node) in entries.iter().filter(|(_, node)| !has_header(node)) {
        key(text, name);
        text.push_str(" = ");
        value(text, &node.value);
        text.push('\n');
    }
    for (name, node) in entries {
        path.push(name);
        match &node.value {
            Value::Table(inner) => {
                // A header of its own only where something stands under it, or nothing else would tell of the table.
                if inner.is_empty() || inner.values().any(|node| !has_header(node)) {
                    header(text, path, "[", "]");
                }
                table(text, path, inner);
            }
            Value::Array(array) if array_of_tables(array) => {
                for inner in array.iter().filter_map(|node| node.value.as_table()) {
                    header(text, path, "[[", "]]");
                    table(text, path, inner);
                }
            }
            Value::String(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_)
            | Value::Array(_) => {}
        }
        path.pop();
    }
}

fn has_header(node: &Node) -> bool {
    match &node.value {
        Value::Table(_) => true,
        Value::Array(array) => array_of_tables(array),
        Value::String(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {
            false
        }
    }
}

fn header(text: &mut String, path: &[&str], open: &str, close: &str) {
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(open);
    for (index, name) in path.iter().enumerate() {
        if index > 0 {
            text.push('.');
        }
        key(text, name);
    }
    text.push_str(close);
    text.push('\n');
}

/// A key, bare where TOML allows it.
pub(crate) fn key(text: &mut String, name: &str) {
    if is_bare(name) {
        text.push_str(name);
    } else {
        string(text, name);
    }
}

/// Whether a key needs no quotes.
pub(crate) fn is_bare(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// A value on one line.
pub(crate) fn value(text: &mut String, value_: &Value) {
    match value_ {
        Value::String(content) => string(text, content),
        Value::Integer(integer) => push(text, format_args!("{integer}")),
        Value::Float(float) if float.0.is_nan() => text.push_str("nan"),
        Value::Float(float) => push(text, format_args!("{:?}", float.0)),
        Value::Boolean(boolean) => push(text, format_args!("{boolean}")),
        Value::Datetime(datetime) => push(text, format_args!("{datetime}")),
        Value::Array(array) => {
            text.push('[');
            for (index, node) in array.iter().enumerate() {
                if index > 0 {
                    text.push_str(", ");
                }
                value(text, &node.value);
            }
            text.push(']');
        }
        Value::Table(entries) => inline_table(text, entries),
    }
}

fn inline_table(text: &mut String, entries: &Table) {
    text.push('{');
    for (index, (name, node)) in entries.iter().enumerate() {
        text.push_str(if index > 0 { ", " } else { " " });
        key(text, name);
        text.push_str(" = ");
        value(text, &node.value);
    }
    text.push_str(if entries.is_empty() { "}" } else { " }" });
}

fn string(text: &mut String, content: &str) {
    text.push('"');
    for character in content.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            control if control.is_control() => push(text, format_args!("\\u{:04X}", u32::from(control))),
            plain => text.push(plain),
        }
    }
    text.push('"');
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = text.write_fmt(arguments);
}
