//! Is each key of the user's document one of TiProxy's, and does its value fit?
//!
//! The check also puts the document into the form that the rest works on: TiProxy matches keys without regard to case
//! (`BurntSushi/toml` falls back to `strings.EqualFold`), and with `[Proxy]` beside our `[proxy]` chance would decide
//! which one wins. So known keys get TiProxy's own spelling.

use super::check_value::check_value;
use super::diagnosis::{Diagnoses, DiagnosisKind, Position, shown};
use super::index::{self, Known};
use super::key::Key;
use super::suggest;
use super::tree::{Node, Table, Value};
use super::write;

/// Checks a whole document and gives its keys their known spelling.
pub(crate) fn check(root: &mut Table, found: &mut Diagnoses) {
    check_section(root, "", found);
}

fn check_section(table: &mut Table, section: &str, found: &mut Diagnoses) {
    for (name, mut node) in std::mem::take(table) {
        let path = write::join(section, &name);
        let Some(known) = known(section, &name) else {
            unknown(&path, node.key_at, found);
            table.insert(name, node);
            continue;
        };
        let path = match known {
            Known::Key(key) => {
                check_key(key, &mut node, found);
                key.path
            }
            Known::Section(path) => {
                match &mut node.value {
                    Value::Table(inner) => check_section(inner, path, found),
                    other @ (Value::String(_)
                    | Value::Integer(_)
                    | Value::Float(_)
                    | Value::Boolean(_)
                    | Value::Datetime(_)
                    | Value::Array(_)) => found.error(
                        DiagnosisKind::Type,
                        path,
                        node.value_at,
                        format!(
                            "`{path}` must be a table, but is {}: write `[{path}]`",
                            other.type_name()
                        ),
                    ),
                }
                path
            }
        };
        let last = path.rsplit('.').next().unwrap_or(path);
        let key_at = node.key_at;
        if table.insert(last.to_owned(), node).is_some() {
            let message = format!(
                "`{path}` is written twice in different letter case, and TiProxy takes one of them by chance: keep one"
            );
            found.error(DiagnosisKind::Combination, path, key_at, message);
        }
    }
}

fn known(section: &str, name: &str) -> Option<Known> {
    index::children(section)
        .iter()
        .find(|(child, _)| equal_fold(child, name))
        .map(|(_, known)| *known)
}

/// Whether Go's `strings.EqualFold` takes a name for a known one. Known names are ASCII; two characters beyond ASCII
/// fold into it, the long s and the Kelvin sign.
pub(crate) fn equal_fold(known: &str, name: &str) -> bool {
    let folded = |character: char| match character {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    };
    known.chars().map(folded).eq(name.chars().map(folded))
}

fn check_key(key: &'static Key, node: &mut Node, found: &mut Diagnoses) {
    if key.dead {
        check_value(key, node, found);
        let message = format!("`{}` has no effect, {}: remove it", key.path, key.note);
        found.warn(DiagnosisKind::Dead, key.path, node.key_at, message);
        return;
    }
    check_value(key, node, found);
    if let Some(why) = key.ineffective
        && !key.is_default(&node.value)
    {
        let message = format!("`{}` has no effect: {why}", key.path);
        found.warn(DiagnosisKind::Ineffective, key.path, node.key_at, message);
    }
}

fn unknown(path: &str, at: Option<Position>, found: &mut Diagnoses) {
    // The search is the only costly step, and a long list is cut off anyway.
    let nearest = if found.keeps_warnings() {
        suggest::nearest(path)
    } else {
        None
    };
    let advice = match nearest {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => "remove it, unless a newer TiProxy knows it".to_owned(),
    };
    let path = shown(path);
    let message =
        format!("`{path}` is no key that TiProxy is known to have, and it ignores such keys: {advice}");
    found.warn(DiagnosisKind::Unknown, &path, at, message);
}
