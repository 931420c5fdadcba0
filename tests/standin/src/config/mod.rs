//! The configuration: what is in force, and how texts are laid over it.

pub mod check;
pub mod key;
pub mod load;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, json};

use crate::flags::Line;
use key::{Cluster, Value};
pub use load::LoadError;

/// All keys with the values that are in force.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    values: BTreeMap<String, Value>,
}

impl Config {
    /// Every key with its default.
    #[must_use]
    pub fn defaults(line: Line) -> Self {
        Self {
            values: key::keys(line)
                .into_iter()
                .map(|key| (key.path, key.default))
                .collect(),
        }
    }

    /// This configuration with what a text says, if TiProxy accepts it. The flag beats the text.
    pub fn with(&self, text: &str, advertise_addr: &str) -> Result<Self, LoadError> {
        let mut config = load::laid_over(self, text)?;
        if !advertise_addr.is_empty() {
            config.set("proxy.advertise-addr", Value::Text(advertise_addr.to_owned()));
        }
        check::check(&mut config)?;
        Ok(config)
    }

    fn set(&mut self, path: &str, value: Value) {
        self.values.insert(path.to_owned(), value);
    }

    /// Whether the line has this key.
    #[must_use]
    pub fn knows(&self, path: &str) -> bool {
        self.values.contains_key(path)
    }

    /// The text of a key; empty when the line has no such key.
    #[must_use]
    pub fn text(&self, path: &str) -> &str {
        match self.values.get(path) {
            Some(Value::Text(text)) => text,
            _ => "",
        }
    }

    /// The number of a key; 0 when the line has no such key.
    #[must_use]
    pub fn integer(&self, path: &str) -> i64 {
        match self.values.get(path) {
            Some(Value::Integer(number) | Value::Duration(number)) => *number,
            Some(Value::Unsigned(number)) => i64::try_from(*number).unwrap_or(i64::MAX),
            _ => 0,
        }
    }

    /// Whether a key is true.
    #[must_use]
    pub fn flag(&self, path: &str) -> bool {
        self.values.get(path) == Some(&Value::Flag(true))
    }

    /// The list of a key.
    #[must_use]
    pub fn texts(&self, path: &str) -> &[String] {
        match self.values.get(path) {
            Some(Value::Texts(list)) => list,
            _ => &[],
        }
    }

    /// The list of numbers of a key.
    #[must_use]
    pub fn integers(&self, path: &str) -> &[i64] {
        match self.values.get(path) {
            Some(Value::Integers(list)) => list,
            _ => &[],
        }
    }

    /// One of the `[labels]`; an empty one counts as none.
    #[must_use]
    pub fn label(&self, name: &str) -> &str {
        match self.values.get("labels") {
            Some(Value::Labels(labels)) => labels.get(name).map_or("", String::as_str),
            _ => "",
        }
    }

    /// As `GET /api/admin/config/?format=json` shows it: without what is zero, but with every section.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let mut root = Map::new();
        for (path, value) in &self.values {
            put(&mut root, path, value);
        }
        serde_json::Value::Object(root)
    }

    /// As `GET /api/admin/config/` shows it: without what is zero.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut sections: BTreeMap<&str, Vec<(&str, &Value)>> = BTreeMap::new();
        for (path, value) in &self.values {
            let (section, name) = path.rsplit_once('.').unwrap_or(("", path));
            sections.entry(section).or_default().push((name, value));
        }
        let mut text = String::new();
        for (section, values) in sections {
            if !section.is_empty() {
                let _ = writeln!(text, "\n[{section}]");
            }
            // What has its own header comes last.
            let mut tables = String::new();
            for (name, value) in values {
                if let Value::Labels(labels) = value
                    && !labels.is_empty()
                {
                    tables.push_str("\n[labels]\n");
                    for (label, value) in labels {
                        let _ = writeln!(tables, "{} = {}", quoted(label), quoted(value));
                    }
                } else if let Value::Clusters(clusters) = value {
                    for cluster in clusters {
                        cluster_toml(&mut tables, cluster);
                    }
                } else if let Some(value) = toml_value(value) {
                    let _ = writeln!(text, "{name} = {value}");
                }
            }
            text.push_str(&tables);
        }
        text
    }

    /// The checksum of what is in force, which changes when it does.
    #[must_use]
    pub fn checksum(&self) -> u32 {
        // CRC-32 as in Go's hash/crc32, bit by bit: it is computed once for each change.
        !self.to_toml().bytes().fold(u32::MAX, |crc, byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| {
                (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg())
            })
        })
    }

    /// What `--config-info json` prints: the keys with their defaults.
    #[must_use]
    pub fn info(&self) -> serde_json::Value {
        let parameters: Vec<_> = self
            .values
            .iter()
            .map(|(path, value)| {
                let kind = match value {
                    Value::Text(_) => "string",
                    Value::Flag(_) => "bool",
                    Value::Integer(_) | Value::Unsigned(_) | Value::Duration(_) => "int",
                    Value::Float(_) => "float",
                    Value::Texts(_) | Value::Integers(_) | Value::Labels(_) | Value::Clusters(_) => "json",
                };
                json!({"key": path, "type": kind, "default_value": value.to_json()})
            })
            .collect();
        json!({"Component": "TiProxy Server", "Version": "", "Parameters": parameters})
    }
}

/// Puts a value in its section, and makes the section even if the value is left out.
fn put(object: &mut Map<String, serde_json::Value>, path: &str, value: &Value) {
    match path.split_once('.') {
        Some((section, rest)) => {
            let section = object.entry(section).or_insert_with(|| json!({}));
            if let serde_json::Value::Object(section) = section {
                put(section, rest, value);
            }
        }
        None if value.is_zero() => {}
        None => {
            object.insert(path.to_owned(), value.to_json());
        }
    }
}

fn cluster_toml(text: &mut String, cluster: &Cluster) {
    text.push_str("\n[[proxy.backend-clusters]]\n");
    for (key, value) in [
        ("name", Value::Text(cluster.name.clone())),
        ("pd-addrs", Value::Text(cluster.pd_addrs.clone())),
        ("ns-servers", Value::Texts(cluster.ns_servers.clone())),
    ] {
        if let Some(value) = toml_value(&value) {
            let _ = writeln!(text, "{key} = {value}");
        }
    }
}

fn toml_value(value: &Value) -> Option<String> {
    if value.is_zero() {
        return None;
    }
    match value {
        Value::Text(text) => Some(quoted(text)),
        Value::Flag(flag) => Some(flag.to_string()),
        Value::Integer(number) | Value::Duration(number) => Some(number.to_string()),
        Value::Unsigned(number) => Some(number.to_string()),
        Value::Float(number) => Some(format!("{number:?}")),
        Value::Texts(list) => Some(format!(
            "[{}]",
            list.iter()
                .map(|text| quoted(text))
                .collect::<Vec<_>>()
                .join(", ")
        )),
        Value::Integers(list) => Some(format!("{list:?}")),
        Value::Labels(_) | Value::Clusters(_) => None,
    }
}

fn quoted(text: &str) -> String {
    toml_edit::Value::from(text).to_string()
}

#[cfg(test)]
mod tests;
