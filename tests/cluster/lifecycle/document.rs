//! TOML documents by meaning.

use std::collections::BTreeSet;

use toml_edit::{DocumentMut, Item, Value};

/// Every path with its value, without order, comments and ways of writing.
pub(super) fn meaning(text: &str) -> BTreeSet<String> {
    let document: DocumentMut = text.parse().unwrap_or_else(|error| panic!("{text}\n{error}"));
    let mut found = BTreeSet::new();
    walk("", document.as_item(), &mut found);
    found
}

fn walk(path: &str, item: &Item, found: &mut BTreeSet<String>) {
    if let Some(table) = item.as_table_like() {
        found.insert(format!("{path} is a table"));
        for (key, item) in table.iter() {
            walk(&format!("{path}.{key:?}"), item, found);
        }
        return;
    }
    let value = match item.as_value().expect("no test has arrays of tables") {
        Value::String(text) => format!("{:?}", text.value()),
        Value::Integer(number) => format!("integer {}", number.value()),
        Value::Float(number) => format!("float {:?}", number.value()),
        Value::Boolean(truth) => format!("boolean {}", truth.value()),
        other @ (Value::Datetime(_) | Value::Array(_) | Value::InlineTable(_)) => {
            panic!("no test has {other}")
        }
    };
    found.insert(format!("{path} = {value}"));
}

#[test]
fn documents_are_compared_by_meaning() {
    let document = meaning("a = 1\n[b]\nc = \"x\"\n");
    assert_eq!(document, meaning("# why\nb = {c='x'}\na = 0x1"));
    for other in [
        "a = 1",
        "a = 1.0\n[b]\nc = \"x\"",
        "a = \"1\"\n[b]\nc = \"x\"",
        "a = 1\n[b]\nc = \"x\"\nd = 1",
        "a = 1\n[b]\nc = \"x\"\n[e]",
    ] {
        assert_ne!(document, meaning(other), "{other}");
    }
}
