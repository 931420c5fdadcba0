//! What the writer of a text that is not TOML may have meant.
//!
//! The common mistake is JSON or YAML: `labels={"group":"oltp"}` stands even in the RFC. Where the statement can be
//! read that way, the hint is the statement in TOML.

use toml_edit::Document;

use super::text;
use super::write;

/// The longest suggestion; a longer one helps nobody in a condition.
const MAX_SUGGESTION: usize = 200;

/// How many values are read for a suggestion. It bounds time and recursion.
const MAX_VALUES: usize = 32;

/// A clause that says how to write the statement at an offset, if that can be told.
pub(crate) fn for_syntax(text: &str, offset: usize) -> Option<String> {
    let begin = text::outermost_open(text, offset).unwrap_or(offset);
    let line_start = text.get(..begin)?.rfind('\n').map_or(0, |newline| newline + 1);
    let mut reader = Reader {
        rest: text.get(line_start..)?,
        colons: 0,
        values: 0,
    };
    let suggestion = reader.statement();
    // Without a colon it is something else that is wrong.
    if reader.colons == 0 && !text.get(offset..)?.starts_with(':') {
        return None;
    }
    let statement = text.get(line_start..text.len() - reader.rest.len())?;
    match suggestion {
        Some(suggestion) if is_toml(&suggestion) && !may_be_secret(text, line_start, statement) => {
            Some(format!("TOML writes `=` and not `:`; write `{suggestion}`"))
        }
        Some(_) | None => {
            Some("TOML writes `key = value` and not `key: value`, also within `{ }`".to_owned())
        }
    }
}

fn is_toml(suggestion: &str) -> bool {
    suggestion.len() <= MAX_SUGGESTION && Document::parse(suggestion).is_ok()
}

/// Whether a statement may hold what must not stand in a condition.
fn may_be_secret(text: &str, line_start: usize, statement: &str) -> bool {
    let around = format!("{} {statement}", text::header_above(text, line_start)).to_lowercase();
    [
        "metering",
        "secret",
        "password",
        "token",
        "credential",
        "key",
        "private",
    ]
    .iter()
    .any(|word| around.contains(word))
}

/// Reads a statement that mixes TOML with JSON or YAML, and writes it in TOML.
struct Reader<'text> {
    rest: &'text str,
    colons: usize,
    values: usize,
}

impl<'text> Reader<'text> {
    /// `key: value` or `key = value` up to the end of a line.
    fn statement(&mut self) -> Option<String> {
        let key = self.key()?;
        self.separator()?;
        self.skip_blanks();
        let value = self.value()?;
        self.skip_blanks();
        let ended = self.rest.is_empty() || self.rest.starts_with(['\n', '\r', '#']);
        ended.then(|| format!("{key} = {value}"))
    }

    fn value(&mut self) -> Option<String> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return None;
        }
        match self.rest.chars().next()? {
            '{' => {
                let entries = self.list('{', '}', Self::entry)?;
                Some(if entries.is_empty() {
                    "{}".to_owned()
                } else {
                    format!("{{ {} }}", entries.join(", "))
                })
            }
            '[' => Some(format!("[{}]", self.list('[', ']', Self::value)?.join(", "))),
            '"' | '\'' => self.quoted().map(str::to_owned),
            _ => {
                let word =
                    self.word(|character| character.is_ascii_alphanumeric() || "+-._".contains(character))?;
                // `null` has no counterpart, and a bare word in YAML is a string.
                let number_or_boolean = Document::parse(format!("a={word}").as_str()).is_ok();
                let string =
                    word.starts_with(|character: char| character.is_ascii_alphabetic()) && word != "null";
                match (number_or_boolean, string) {
                    (true, _) => Some(word.to_owned()),
                    (false, true) => Some(format!("\"{word}\"")),
                    (false, false) => None,
                }
            }
        }
    }

    fn entry(&mut self) -> Option<String> {
        let key = self.key()?;
        self.separator()?;
        self.skip_space();
        Some(format!("{key} = {}", self.value()?))
    }

    /// What stands between two brackets, separated by commas.
    fn list(
        &mut self,
        open: char,
        close: char,
        item: fn(&mut Self) -> Option<String>,
    ) -> Option<Vec<String>> {
        self.rest = self.rest.strip_prefix(open)?;
        let mut items = Vec::new();
        loop {
            self.skip_space();
            if let Some(rest) = self.rest.strip_prefix(close) {
                self.rest = rest;
                return Some(items);
            }
            items.push(item(self)?);
            self.skip_space();
            match self.rest.strip_prefix(',') {
                Some(rest) => self.rest = rest,
                None if self.rest.starts_with(close) => {}
                None => return None,
            }
        }
    }

    /// A key, without the quotes that it does not need.
    fn key(&mut self) -> Option<String> {
        self.skip_blanks();
        if self.rest.starts_with(['"', '\'']) {
            let quoted = self.quoted()?;
            let inner = quoted.get(1..quoted.len() - 1)?;
            return Some(if write::is_bare(inner) {
                inner.to_owned()
            } else {
                quoted.to_owned()
            });
        }
        self.word(|character| character.is_ascii_alphanumeric() || "-_.".contains(character))
            .map(str::to_owned)
    }

    fn separator(&mut self) -> Option<()> {
        self.skip_blanks();
        if let Some(rest) = self.rest.strip_prefix(':') {
            self.colons += 1;
            self.rest = rest;
            return Some(());
        }
        self.rest = self.rest.strip_prefix('=')?;
        Some(())
    }

    /// A string on one line with its quotes, as it stands.
    fn quoted(&mut self) -> Option<&'text str> {
        let quote = self.rest.chars().next()?;
        let inner = self.rest.get(1..)?;
        let end = inner.find([quote, '\\', '\n'])?;
        // An escape means something else in JSON than in TOML; do not guess.
        inner.get(end..)?.starts_with(quote).then_some(())?;
        let (quoted, rest) = self.rest.split_at_checked(end + 2)?;
        self.rest = rest;
        Some(quoted)
    }

    fn word(&mut self, belongs: impl Fn(char) -> bool) -> Option<&'text str> {
        let end = self
            .rest
            .find(|character| !belongs(character))
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        (!word.is_empty()).then_some(word)
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(text: &str) -> Option<String> {
        let error = Document::parse(text).expect_err("not TOML");
        for_syntax(text, error.span().map_or(0, |span| span.start))
    }

    #[track_caller]
    fn suggests(text: &str, toml: &str) {
        let hint = hint(text).unwrap_or_default();
        assert!(hint.contains(&format!("write `{toml}`")), "{text}: {hint}");
    }

    #[test]
    fn json_and_yaml_are_rewritten() {
        suggests(
            "labels={\"group\":\"oltp\"}\n[balance]\nlabel-name=\"group\"",
            "labels = { group = \"oltp\" }",
        );
        suggests(
            "[proxy]\n  labels = { 'a b': 1, c: [true, {\"d\": 1.5}] } # x",
            "labels = { 'a b' = 1, c = [true, { d = 1.5 }] }",
        );
        suggests(
            "labels = {\n  \"zone\": \"a\",\n  \"group\": \"b\",\n}\n",
            "labels = { zone = \"a\", group = \"b\" }",
        );
        suggests("[balance]\npolicy: location\n", "policy = \"location\"");
        suggests(
            "\"labels\": {\"group\": \"oltp\"}",
            "labels = { group = \"oltp\" }",
        );
        suggests("labels={\"group\":\"oltp\"}\r\n", "labels = { group = \"oltp\" }");
    }

    #[test]
    fn what_cannot_be_derived_is_explained() {
        for text in [
            "labels={\"a\\u0041\":\"oltp\"}",
            "labels={\"a\":null}",
            "proxy:\n  addr: x\n",
            "labels={\"a\":\"b\"",
        ] {
            let hint = hint(text).unwrap_or_default();
            assert!(hint.contains("and not `key: value`"), "{text}: {hint}");
        }
        for text in ["a = = 1", "[a", "a", "a = {b = 1, ]", "a = 1.2.3", "{\"a\": 1}"] {
            assert_eq!(hint(text), None, "{text}");
        }
    }

    #[test]
    fn secrets_are_not_repeated() {
        for text in [
            "[metering.aws]\nx = 1\naccess: hunter2",
            "metering={\"bucket\":\"hunter2\"}",
            "[api]\npassword: \"hunter2\"",
            "labels={\"secret\":\"hunter2\"}",
        ] {
            let hint = hint(text).expect("a hint");
            assert!(!hint.contains("hunter2"), "{hint}");
        }
    }
}
