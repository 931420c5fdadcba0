//! A tree as TOML 1.0 text, always the same text for the same tree.
//!
//! The writer is our own so that the bytes in a `ConfigMap` depend on the configuration alone, not on the release of a
//! library, and so that only the plainest TOML is written: `TiProxy` up to v1.3.2 reads it with `BurntSushi/toml`
//! v1.2.1. Keys are sorted, values come before tables, strings have one form, and what TiProxy does not know stands on one
//! line.

use std::fmt::Write as _;

use super::index;
use super::tree::{Node, Table, Value, array_of_tables};

/// The document as text.
pub(crate) fn document(root: &Table) -> String {
    let mut text = String::new();
    table(&mut text, "", root);
    text
}

fn table(text: &mut String, path: &str, entries: &Table) {
    let mut with_header = Vec::new();
    for (name, node) in entries {
        let below = join(path, name);
        if has_header(&below, &node.value) {
            with_header.push((below, node));
            continue;
        }
        key(text, name);
        text.push_str(" = ");
        value(text, &node.value);
        text.push('\n');
    }
    for (below, node) in with_header {
        match &node.value {
            Value::Table(inner) => {
                // A header of its own only where something stands under it, or nothing else would tell of the table.
                let named = |(name, node): (&String, &Node)| has_header(&join(&below, name), &node.value);
                if inner.is_empty() || !inner.iter().all(named) {
                    header(text, &format!("[{below}]"));
                }
                table(text, &below, inner);
            }
            Value::Array(array) => {
                for inner in array.iter().filter_map(|node| node.value.as_table()) {
                    header(text, &format!("[[{below}]]"));
                    table(text, &below, inner);
                }
            }
            Value::String(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_) => {}
        }
    }
}

/// Whether a value is written under a header of its own. Only the tables that TiProxy knows are: their names are bare
/// and short, while a header for each table of any name would let a short hostile text grow to a very long one.
fn has_header(path: &str, value: &Value) -> bool {
    match value {
        Value::Table(_) => index::is_table(path),
        Value::Array(array) => index::is_array_of_tables(path) && array_of_tables(array),
        Value::String(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {
            false
        }
    }
}

fn header(text: &mut String, header: &str) {
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(header);
    text.push('\n');
}

/// The dotted path of a name below a path. A name that is not bare is quoted, so that `"a.b"` is never taken for the
/// path of another key.
pub(crate) fn join(path: &str, name: &str) -> String {
    let mut joined = path.to_owned();
    if !path.is_empty() {
        joined.push('.');
    }
    key(&mut joined, name);
    joined
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
            // BurntSushi/toml v1.2.1 takes the replacement character itself for broken UTF-8 and drops the file.
            control if control.is_control() || control == char::REPLACEMENT_CHARACTER => {
                push(text, format_args!("\\u{:04X}", u32::from(control)));
            }
            plain => text.push(plain),
        }
    }
    text.push('"');
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = text.write_fmt(arguments);
}
