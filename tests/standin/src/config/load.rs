//! Laying a text over a configuration, as TiProxy's TOML decoder does.

use std::collections::BTreeMap;

use toml_edit::{DocumentMut, Item, Value as Toml};

use super::Config;
use super::key::{Cluster, Value};

/// Why a text is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError(pub String);

impl std::fmt::Display for LoadError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for LoadError {}

/// The configuration with what the text says. What it does not say stays; keys that nobody knows are ignored.
pub fn laid_over(base: &Config, text: &str) -> Result<Config, LoadError> {
    let document: DocumentMut = text
        .parse()
        .map_err(|error: toml_edit::TomlError| LoadError(error.to_string()))?;
    let mut config = base.clone();
    section(&mut config, "", document.as_table())?;
    Ok(config)
}

fn section(config: &mut Config, prefix: &str, table: &dyn toml_edit::TableLike) -> Result<(), LoadError> {
    for (name, item) in table.iter() {
        let Some(path) = known(config, prefix, name) else {
            continue;
        };
        if let Some(current) = config.values.get(&path) {
            let value = converted(&path, current, item)?;
            config.values.insert(path, value);
        } else {
            let inner = item.as_table_like().ok_or_else(|| wrong(&path, "table", item))?;
            section(config, &path, inner)?;
        }
    }
    Ok(())
}

/// The key or section of this name: written exactly so, else in any case.
fn known(config: &Config, prefix: &str, name: &str) -> Option<String> {
    let children = || {
        config.values.keys().filter_map(|path| {
            let rest = if prefix.is_empty() {
                path.as_str()
            } else {
                path.strip_prefix(prefix)?.strip_prefix('.')?
            };
            Some(rest.split_once('.').map_or(rest, |(child, _)| child))
        })
    };
    let child = children()
        .find(|child| *child == name)
        .or_else(|| children().find(|child| child.eq_ignore_ascii_case(name)))?;
    Some(if prefix.is_empty() {
        child.to_owned()
    } else {
        format!("{prefix}.{child}")
    })
}

fn wrong(path: &str, wanted: &str, item: &Item) -> LoadError {
    LoadError(format!(
        "incompatible types: TOML value of {path} has type {}; destination has type {wanted}",
        item.type_name()
    ))
}

fn converted(path: &str, current: &Value, item: &Item) -> Result<Value, LoadError> {
    let value = match current {
        Value::Text(_) => item.as_str().map(|text| Value::Text(text.to_owned())),
        Value::Flag(_) => item.as_bool().map(Value::Flag),
        Value::Integer(_) => item.as_integer().map(Value::Integer),
        // A negative number becomes a very large one.
        Value::Unsigned(_) => item
            .as_integer()
            .map(|number| Value::Unsigned(number.cast_unsigned())),
        #[expect(
            clippy::cast_precision_loss,
            reason = "nobody writes a float as so large an integer"
        )]
        Value::Float(_) => item
            .as_float()
            .or_else(|| item.as_integer().map(|number| number as f64))
            .map(Value::Float),
        Value::Duration(_) => item
            .as_integer()
            .or_else(|| item.as_str().and_then(nanoseconds))
            .map(Value::Duration),
        Value::Texts(_) => list(item, |value| value.as_str().map(ToOwned::to_owned)).map(Value::Texts),
        Value::Integers(_) => list(item, Toml::as_integer).map(Value::Integers),
        Value::Labels(current) => labels(current, item).map(Value::Labels),
        Value::Clusters(current) => clusters(current, item).map(Value::Clusters),
    };
    value.ok_or_else(|| wrong(path, kind(current), item))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Text(_) => "string",
        Value::Flag(_) => "boolean",
        Value::Integer(_) | Value::Unsigned(_) | Value::Duration(_) => "integer",
        Value::Float(_) => "float",
        Value::Texts(_) | Value::Integers(_) | Value::Clusters(_) => "slice",
        Value::Labels(_) => "map",
    }
}

fn list<T>(item: &Item, element: impl Fn(&Toml) -> Option<T>) -> Option<Vec<T>> {
    item.as_array()?.iter().map(element).collect()
}

/// Maps merge. What is no map at all is ignored, other than with every other kind.
fn labels(current: &BTreeMap<String, String>, item: &Item) -> Option<BTreeMap<String, String>> {
    let mut labels = current.clone();
    let Some(table) = item.as_table_like() else {
        return Some(labels);
    };
    for (name, value) in table.iter() {
        labels.insert(name.to_owned(), value.as_str()?.to_owned());
    }
    Some(labels)
}

/// Each entry is decoded over what stood at its place, so that what it does not say is inherited.
fn clusters(current: &[Cluster], item: &Item) -> Option<Vec<Cluster>> {
    let tables: Vec<&dyn toml_edit::TableLike> = match item {
        Item::ArrayOfTables(tables) => tables
            .iter()
            .map(|table| -> &dyn toml_edit::TableLike { table })
            .collect(),
        Item::Value(Toml::Array(array)) => array
            .iter()
            .map(|value| {
                value
                    .as_inline_table()
                    .map(|table| -> &dyn toml_edit::TableLike { table })
            })
            .collect::<Option<_>>()?,
        Item::None | Item::Value(_) | Item::Table(_) => return None,
    };
    let mut clusters = Vec::new();
    for (index, table) in tables.into_iter().enumerate() {
        let mut cluster = current.get(index).cloned().unwrap_or_default();
        for (name, value) in table.iter() {
            match name {
                "name" => value.as_str()?.clone_into(&mut cluster.name),
                "pd-addrs" => value.as_str()?.clone_into(&mut cluster.pd_addrs),
                "ns-servers" => {
                    cluster.ns_servers = list(value, |value| value.as_str().map(ToOwned::to_owned))?;
                }
                _ => {}
            }
        }
        clusters.push(cluster);
    }
    Some(clusters)
}

/// A duration such as `1m30s`.
fn nanoseconds(text: &str) -> Option<i64> {
    if text == "0" {
        return Some(0);
    }
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest.is_empty() {
        return None;
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .filter(|length| *length > 0)?;
        let (number, tail) = rest.split_at_checked(digits)?;
        let unit = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(unit)?;
        total += number.parse::<f64>().ok()?
            * match unit {
                "ns" => 1.0,
                "us" | "µs" | "μs" => 1e3,
                "ms" => 1e6,
                "s" => 1e9,
                "m" => 60e9,
                "h" => 3600e9,
                _ => return None,
            };
        rest = tail;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a float that is too large becomes the largest integer"
    )]
    Some(if negative { -total } else { total } as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_does() {
        for (text, expected) in [
            ("0", Some(0)),
            ("60s", Some(60_000_000_000)),
            ("1m30s", Some(90_000_000_000)),
            ("1.5s", Some(1_500_000_000)),
            ("-1ms", Some(-1_000_000)),
            ("1", None),
            ("", None),
            ("s", None),
            ("1d", None),
        ] {
            assert_eq!(nanoseconds(text), expected, "{text}");
        }
    }
}
