//! A TOML document as data: what dotted keys, inline tables, headers and arrays of tables all come down to.
//!
//! `toml_edit` keeps how a document was written, and its indexing panics where a table is missing. Everything after
//! the parser works on this tree instead, in which order, comments, spelling of strings and kinds of tables are gone.

use std::collections::BTreeMap;

use toml_edit::{Datetime, Item, TableLike};

use super::diagnosis::Position;
use super::text::Places;

/// The keys of one table, sorted.
pub(crate) type Table = BTreeMap<String, Node>;

/// A value and where it was written. Two nodes are equal when their values are.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) key_at: Option<Position>,
    pub(crate) value_at: Option<Position>,
    pub(crate) value: Value,
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl From<Value> for Node {
    fn from(value: Value) -> Self {
        Self {
            key_at: None,
            value_at: None,
            value,
        }
    }
}

/// A TOML value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    String(String),
    Integer(i64),
    Float(Float),
    Boolean(bool),
    Datetime(Datetime),
    Array(Vec<Node>),
    Table(Table),
}

/// A float that equals itself, also when it is not a number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Float(pub(crate) f64);

impl PartialEq for Float {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Value {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::String(text.into())
    }

    pub(crate) fn as_text(&self) -> Option<&str> {
        if let Self::String(text) = self {
            Some(text)
        } else {
            None
        }
    }

    pub(crate) fn as_integer(&self) -> Option<i64> {
        if let Self::Integer(integer) = self {
            Some(*integer)
        } else {
            None
        }
    }

    pub(crate) fn as_boolean(&self) -> Option<bool> {
        if let Self::Boolean(boolean) = self {
            Some(*boolean)
        } else {
            None
        }
    }

    pub(crate) fn as_array(&self) -> Option<&[Node]> {
        if let Self::Array(array) = self {
            Some(array)
        } else {
            None
        }
    }

    pub(crate) fn as_table(&self) -> Option<&Table> {
        if let Self::Table(table) = self {
            Some(table)
        } else {
            None
        }
    }

    /// The type with its article, as a sentence wants it.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::String(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Boolean(_) => "a boolean",
            Self::Datetime(_) => "a date or time",
            Self::Array(array) if array_of_tables(array) => "an array of tables",
            Self::Array(_) => "an array",
            Self::Table(_) => "a table",
        }
    }
}

/// Whether an array is written as `[[header]]`s.
pub(crate) fn array_of_tables(array: &[Node]) -> bool {
    !array.is_empty() && array.iter().all(|node| node.value.as_table().is_some())
}

/// The node at a dotted path of plain segments.
pub(crate) fn get<'tree>(table: &'tree Table, path: &str) -> Option<&'tree Node> {
    match path.split_once('.') {
        None => table.get(path),
        Some((first, rest)) => get(table.get(first)?.value.as_table()?, rest),
    }
}

/// Puts a value at a path and returns what stood there. Tables on the way are made; what is no table there gives way.
pub(crate) fn set(table: &mut Table, path: &[&str], value: Value) -> Option<Node> {
    match path {
        [] => None,
        [last] => table.insert((*last).to_owned(), Node::from(value)),
        [first, rest @ ..] => {
            let (mut inner, key_at, value_at) = match table.remove(*first) {
                Some(Node {
                    key_at,
                    value_at,
                    value: Value::Table(inner),
                }) => (inner, key_at, value_at),
                Some(_) | None => (Table::new(), None, None),
            };
            let previous = set(&mut inner, rest, value);
            table.insert(
                (*first).to_owned(),
                Node {
                    key_at,
                    value_at,
                    value: Value::Table(inner),
                },
            );
            previous
        }
    }
}

/// The tree of a parsed document.
pub(crate) fn from_document(document: &toml_edit::Document<&str>, places: &Places) -> Table {
    from_table(document.as_table(), places)
}

fn from_table(table: &dyn TableLike, places: &Places) -> Table {
    let mut converted = Table::new();
    for (name, item) in table.iter() {
        let key_at = table
            .key(name)
            .and_then(toml_edit::Key::span)
            .map(|span| places.at(span.start));
        let value_at = item.span().map(|span| places.at(span.start)).or(key_at);
        if let Some(value) = from_item(item, places) {
            converted.insert(
                name.to_owned(),
                Node {
                    key_at,
                    value_at,
                    value,
                },
            );
        }
    }
    converted
}

fn from_item(item: &Item, places: &Places) -> Option<Value> {
    match item {
        Item::None => None,
        Item::Value(value) => Some(from_value(value, places)),
        Item::Table(table) => Some(Value::Table(from_table(table, places))),
        Item::ArrayOfTables(tables) => {
            let nodes = tables.iter().map(|table| Node {
                key_at: None,
                value_at: table.span().map(|span| places.at(span.start)),
                value: Value::Table(from_table(table, places)),
            });
            Some(Value::Array(nodes.collect()))
        }
    }
}

fn from_value(value: &toml_edit::Value, places: &Places) -> Value {
    match value {
        toml_edit::Value::String(text) => Value::String(text.value().clone()),
        toml_edit::Value::Integer(integer) => Value::Integer(*integer.value()),
        toml_edit::Value::Float(float) => Value::Float(Float(one_nan(*float.value()))),
        toml_edit::Value::Boolean(boolean) => Value::Boolean(*boolean.value()),
        toml_edit::Value::Datetime(datetime) => Value::Datetime(with_seconds(*datetime.value())),
        toml_edit::Value::Array(array) => {
            let nodes = array.iter().map(|value| Node {
                key_at: None,
                value_at: value.span().map(|span| places.at(span.start)),
                value: from_value(value, places),
            });
            Value::Array(nodes.collect())
        }
        toml_edit::Value::InlineTable(table) => Value::Table(from_table(table, places)),
    }
}

/// All spellings of not-a-number are one value, so that a rendered document equals what it was rendered from.
fn one_nan(float: f64) -> f64 {
    if float.is_nan() { f64::NAN } else { float }
}

/// TOML 1.1 may leave the seconds out; 1.0, which TiProxy reads up to v1.3.2, may not.
fn with_seconds(mut datetime: Datetime) -> Datetime {
    if let Some(time) = datetime.time.as_mut() {
        time.second = Some(time.second.unwrap_or(0));
    }
    datetime
}
