//! What is wrong, or ignored, in a user's configuration, in sentences that say what to do.

use std::fmt;

/// How many diagnoses of one document are kept. The rest is counted in one last sentence, because the list ends
/// in a condition of a Kubernetes object.
pub(crate) const MAX_DIAGNOSES: usize = 32;

/// Whether a diagnosis stops the configuration from being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The document cannot be used. Running Pods keep what they have.
    Error,
    /// The document is used; something in it has no effect, or another effect than it seems.
    Warning,
}

/// What sort of thing a diagnosis tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DiagnosisKind {
    /// The document is too long or too deeply nested to be looked at.
    TooLarge,
    /// The document is not TOML.
    Syntax,
    /// A value has the wrong type.
    Type,
    /// A value has the right type and is not allowed.
    Range,
    /// Values that do not go together.
    Combination,
    /// The operator sets this key itself.
    Overridden,
    /// TiProxy has no such key, and ignores it without a word.
    Unknown,
    /// TiProxy had this key once, or reads it and does nothing with it.
    Dead,
    /// The key is known and does nothing here.
    Ineffective,
}

/// One finding about a configuration document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnosis {
    /// Whether the document can still be used.
    pub severity: Severity,
    /// The dotted path of the key, in TiProxy's spelling where the key is known.
    pub key: Option<String>,
    /// The line in the user's text, from 1. None where the text is not the cause.
    pub line: Option<usize>,
    /// The column in that line, from 1, in characters.
    pub column: Option<usize>,
    /// The sort of finding.
    pub kind: DiagnosisKind,
    /// One sentence without the position: key, value, what is allowed and what to do. It never holds a value of
    /// a key that may be secret.
    pub message: String,
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(formatter, "line {line}, column {column}: ")?;
        }
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Diagnosis {}

/// A place in the user's text: line and column from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// Collects diagnoses up to [`MAX_DIAGNOSES`] of each severity and counts the rest.
#[derive(Debug, Default)]
pub(crate) struct Diagnoses {
    errors: Vec<Diagnosis>,
    warnings: Vec<Diagnosis>,
    more_errors: usize,
    more_warnings: usize,
}

impl Diagnoses {
    pub(crate) fn error(
        &mut self,
        kind: DiagnosisKind,
        key: &str,
        at: Option<Position>,
        message: impl Into<String>,
    ) {
        if self.errors.len() < MAX_DIAGNOSES {
            self.errors
                .push(diagnosis(Severity::Error, kind, Some(key), at, message));
        } else {
            self.more_errors += 1;
        }
    }

    pub(crate) fn warn(
        &mut self,
        kind: DiagnosisKind,
        key: &str,
        at: Option<Position>,
        message: impl Into<String>,
    ) {
        if self.warnings.len() < MAX_DIAGNOSES {
            self.warnings
                .push(diagnosis(Severity::Warning, kind, Some(key), at, message));
        } else {
            self.more_warnings += 1;
        }
    }

    /// False once further warnings are only counted: what makes them costly can then be left out.
    pub(crate) fn keeps_warnings(&self) -> bool {
        self.warnings.len() < MAX_DIAGNOSES
    }

    /// The warnings together with some that were found earlier, which were bounded then.
    pub(crate) fn into_warnings(mut self, earlier: &[Diagnosis]) -> Vec<Diagnosis> {
        self.warnings.extend_from_slice(earlier);
        in_order(self.warnings, self.more_warnings, Severity::Warning)
    }

    /// The warnings, or all errors if there are any, each in the order of the text.
    pub(crate) fn into_result(self) -> Result<Vec<Diagnosis>, Vec<Diagnosis>> {
        if self.errors.is_empty() {
            Ok(in_order(self.warnings, self.more_warnings, Severity::Warning))
        } else {
            Err(in_order(self.errors, self.more_errors, Severity::Error))
        }
    }
}

/// Makes one diagnosis.
pub(crate) fn diagnosis(
    severity: Severity,
    kind: DiagnosisKind,
    key: Option<&str>,
    at: Option<Position>,
    message: impl Into<String>,
) -> Diagnosis {
    Diagnosis {
        severity,
        key: key.map(str::to_owned),
        line: at.map(|at| at.line),
        column: at.map(|at| at.column),
        kind,
        message: message.into(),
    }
}

fn in_order(mut found: Vec<Diagnosis>, more: usize, severity: Severity) -> Vec<Diagnosis> {
    // What has no place in the text comes last.
    found.sort_by_key(|one| (one.line.is_none(), one.line, one.column, one.key.clone()));
    if more > 0 {
        let kind = found.last().map_or(DiagnosisKind::Unknown, |last| last.kind);
        let sort = if severity == Severity::Error {
            "errors"
        } else {
            "warnings"
        };
        found.push(diagnosis(
            severity,
            kind,
            None,
            None,
            format!("and {more} more {sort}"),
        ));
    }
    found
}

/// A name or a piece of text from the user as it can stand in a sentence: one line, printable, not long.
pub(crate) fn shown(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut shown: String = text
        .chars()
        .take(LONGEST)
        .map(|one| if one.is_control() { '\u{fffd}' } else { one })
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}
