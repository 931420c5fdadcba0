//! The user's text as a tree, or why it is none.
//!
//! `toml_edit` reads TOML 1.1, `TiProxy` up to v1.3.2 only 1.0. What 1.1 adds (line breaks and a last comma in inline
//! tables, `\e` and `\x` in strings, times without seconds) is accepted: what `TiProxy` gets is our own rendering, and
//! that is TOML 1.0.

use toml_edit::{Document, TomlError};

use super::diagnosis::{Diagnosis, DiagnosisKind, Severity, diagnosis};
use super::hint;
use super::text::{self, MAX_CONFIG_BYTES, MAX_NESTING, Places};
use super::tree::{self, Table};

/// The longest text that is read back as one of our own. Written out, the shortest way to write something (`1e15`, a
/// quote in single quotes, a backend cluster in one line) becomes up to four times as long, and tombstones come on top.
/// A `ConfigMap` holds 1 MiB.
const MAX_RENDERED_BYTES: usize = 8 * MAX_CONFIG_BYTES;

/// The tree of a user's text.
pub(crate) fn document(text: &str) -> Result<Table, Diagnosis> {
    if text.len() > MAX_CONFIG_BYTES {
        return Err(too_large(format!(
            "the configuration is {} bytes long, and at most {MAX_CONFIG_BYTES} are allowed, because every TiProxy \
             and every ConfigMap holds a copy: shorten it",
            text.len()
        )));
    }
    bounded(text)
}

/// The tree of a text that this module wrote, or that stands where one should.
pub(crate) fn rendered(text: &str) -> Option<Table> {
    if text.len() > MAX_RENDERED_BYTES {
        None
    } else {
        bounded(text).ok()
    }
}

fn bounded(text: &str) -> Result<Table, Diagnosis> {
    // A byte order mark is no part of the document, and TiProxy skips it as well.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let places = Places::of(text);
    if let Some(offset) = text::too_deep(text) {
        let at = places.at(offset);
        return Err(Diagnosis {
            line: Some(at.line),
            column: Some(at.column),
            ..too_large(format!(
                "tables and arrays are nested more than {MAX_NESTING} levels deep, and TiProxy's own settings need \
                 3: nest less"
            ))
        });
    }
    match Document::parse(text) {
        Ok(document) => Ok(tree::from_document(&document, &places)),
        Err(error) => Err(syntax(text, &places, &error)),
    }
}

fn too_large(message: String) -> Diagnosis {
    diagnosis(Severity::Error, DiagnosisKind::TooLarge, None, None, message)
}

fn syntax(text: &str, places: &Places, error: &TomlError) -> Diagnosis {
    let offset = error.span().map_or(text.len(), |span| span.start);
    // The parser writes what it expected on a line of its own.
    let what = error.message().trim().replace('\n', ", ");
    let message = match hint::for_syntax(text, offset) {
        Some(hint) => format!("the configuration is not TOML ({what}): {hint}"),
        None => format!("the configuration is not TOML: {what}"),
    };
    diagnosis(
        Severity::Error,
        DiagnosisKind::Syntax,
        None,
        Some(places.at(offset)),
        message,
    )
}
