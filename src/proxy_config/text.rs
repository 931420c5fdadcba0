//! What is done to the bare text before and beside the parser: limits, positions, open brackets.

use super::diagnosis::Position;

/// The longest document that is looked at, in bytes.
///
/// The text is stored in the `TiProxyGroup`, in every `TiProxy` and in every `ConfigMap` (limit 1 MiB), and a full
/// configuration with all keys of TiProxy takes about 4 KiB.
pub const MAX_CONFIG_BYTES: usize = 64 * 1024;

/// How deep tables and arrays may stand in one another. TiProxy's own deepest key has three levels.
///
/// The parser and everything after it recurse. Its own limit (80 brackets, and 80 dots at each of them) lets a short
/// text reach thousands of levels, more than the stack of a thread holds.
pub(crate) const MAX_NESTING: usize = 32;

/// Turns byte offsets into lines and columns without walking the text each time.
#[derive(Debug)]
pub(crate) struct Places {
    /// For each byte offset: how many characters begin before it.
    characters_before: Vec<usize>,
    /// The byte offset at which each line begins.
    line_starts: Vec<usize>,
}

impl Places {
    pub(crate) fn of(text: &str) -> Self {
        let mut characters_before = Vec::with_capacity(text.len() + 1);
        let mut line_starts = vec![0];
        let mut characters = 0;
        for (offset, character) in text.char_indices() {
            characters_before.extend(std::iter::repeat_n(characters, character.len_utf8()));
            characters += 1;
            if character == '\n' {
                line_starts.push(offset + 1);
            }
        }
        characters_before.push(characters);
        Self {
            characters_before,
            line_starts,
        }
    }

    pub(crate) fn at(&self, offset: usize) -> Position {
        let line = self.line_starts.partition_point(|start| *start <= offset);
        let start = self.line_starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let column = self.characters(offset).saturating_sub(self.characters(start)) + 1;
        Position {
            line: line.max(1),
            column,
        }
    }

    fn characters(&self, offset: usize) -> usize {
        self.characters_before
            .get(offset)
            .or(self.characters_before.last())
            .copied()
            .unwrap_or(0)
    }
}

/// A bracket that is still open, and the dots of the key before it.
#[derive(Debug, Clone, Copy)]
struct Open {
    offset: usize,
    dots: usize,
}

/// Where the text first nests deeper than [`MAX_NESTING`], if it does.
pub(crate) fn too_deep(text: &str) -> Option<usize> {
    let mut scanner = Scanner::new(text);
    while let Some(offset) = scanner.step() {
        if scanner.depth() > MAX_NESTING {
            return Some(offset);
        }
    }
    None
}

/// Where the outermost bracket begins that is open at an offset.
pub(crate) fn outermost_open(text: &str, offset: usize) -> Option<usize> {
    let mut scanner = Scanner::new(text.get(..offset)?);
    while scanner.step().is_some() {}
    scanner.open.first().map(|open| open.offset)
}

/// The header above an offset, such as `[metering.aws]`, without its brackets.
pub(crate) fn header_above(text: &str, offset: usize) -> &str {
    let above = text.get(..offset).unwrap_or(text);
    let line = above
        .lines()
        .rev()
        .map(str::trim)
        .find(|line| line.starts_with('['));
    line.map_or("", |line| line.trim_matches(['[', ']']))
}

/// Walks over TOML far enough to know what is a string, a comment and a bracket. It never fails: text that is not
/// TOML is the parser's to refuse. It cuts tokens where the parser's lexer cuts them, also in broken text: otherwise
/// what is a string here and a bracket there would pass the limit.
struct Scanner<'text> {
    text: &'text [u8],
    offset: usize,
    open: Vec<Open>,
    dots_of_open: usize,
    dots: usize,
}

impl<'text> Scanner<'text> {
    fn new(text: &'text str) -> Self {
        Self {
            text: text.as_bytes(),
            offset: 0,
            open: Vec::new(),
            dots_of_open: 0,
            dots: 0,
        }
    }

    /// Brackets, and the dots of all keys on the way in.
    fn depth(&self) -> usize {
        self.open.len() + self.dots_of_open + self.dots
    }

    /// Goes over one token and returns where it began.
    fn step(&mut self) -> Option<usize> {
        let offset = self.offset;
        match *self.text.get(offset)? {
            b'#' => self.skip_while(|byte| byte != b'\n' && byte != b'\r'),
            quote @ (b'"' | b'\'') => self.skip_string(quote),
            byte if ends_atom(byte) => {
                self.offset += 1;
                self.structure(byte, offset);
            }
            _ => self.skip_while(|byte| !ends_atom(byte)),
        }
        Some(offset)
    }

    fn structure(&mut self, byte: u8, offset: usize) {
        match byte {
            b'[' | b'{' => {
                self.open.push(Open {
                    offset,
                    dots: self.dots,
                });
                self.dots_of_open += self.dots;
                self.dots = 0;
            }
            b']' | b'}' => {
                if let Some(open) = self.open.pop() {
                    self.dots_of_open -= open.dots;
                }
                self.dots = 0;
            }
            b'.' => self.dots += 1,
            // The dots of a key count until its value is over: a table may stand there.
            b',' | b'\n' | b'\r' => self.dots = 0,
            _ => {}
        }
    }

    fn skip_while(&mut self, skipped: fn(u8) -> bool) {
        while self.text.get(self.offset).is_some_and(|byte| skipped(*byte)) {
            self.offset += 1;
        }
    }

    fn skip_string(&mut self, quote: u8) {
        let long = self.starts_with(&[quote, quote, quote]);
        self.offset += if long { 3 } else { 1 };
        while let Some(byte) = self.text.get(self.offset).copied() {
            if byte == b'\\' && quote == b'"' {
                let escaped = matches!(self.text.get(self.offset + 1), Some(b'\\' | b'"'));
                self.offset += if escaped { 2 } else { 1 };
            } else if long && self.starts_with(&[quote, quote, quote]) {
                self.offset += 3;
                // Up to two quotes may stand before the closing three.
                for _ in 0..2 {
                    self.offset += usize::from(self.text.get(self.offset) == Some(&quote));
                }
                return;
            } else if !long && byte == quote {
                self.offset += 1;
                return;
            } else if !long && byte == b'\n' {
                return;
            } else {
                self.offset += 1;
            }
        }
    }

    fn starts_with(&self, quotes: &[u8]) -> bool {
        self.text
            .get(self.offset..)
            .is_some_and(|rest| rest.starts_with(quotes))
    }
}

/// The bytes at which a bare key, a number or a word ends. Quotes are not among them: the parser takes `it's` for one
/// word.
fn ends_atom(byte: u8) -> bool {
    matches!(
        byte,
        b'.' | b'=' | b',' | b'[' | b']' | b'{' | b'}' | b' ' | b'\t' | b'#' | b'\r' | b'\n'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, offset: usize) -> (usize, usize) {
        let position = Places::of(text).at(offset);
        (position.line, position.column)
    }

    #[test]
    fn columns_count_characters_and_not_bytes() {
        let text = "a = 1\nä = \"ö\" x\n";
        assert_eq!(at(text, 0), (1, 1));
        assert_eq!(at(text, 6), (2, 1));
        assert_eq!(at(text, text.find('x').unwrap()), (2, 9));
        assert_eq!(at(text, text.len()), (3, 1));
        assert_eq!(at(text, 1000), (3, 1));
        assert_eq!(at("", 0), (1, 1));
    }

    #[test]
    fn brackets_in_strings_and_comments_do_not_nest() {
        let many = "[".repeat(MAX_NESTING + 1);
        for text in [
            format!("a = \"{many}\""),
            format!("a = '{many}'"),
            format!("a = \"\"\"\n\\\"\"\"{many}\"\"\"\"\""),
            format!("a = '''\n{many}'''"),
            format!("# {many}"),
            "a = [[1], [2]]\n".repeat(MAX_NESTING),
            "a.b.c = 1.5\n".repeat(MAX_NESTING),
        ] {
            assert_eq!(too_deep(&text), None, "{text}");
        }
        assert!(too_deep(&many).is_some());
        assert!(too_deep(&".a".repeat(MAX_NESTING + 1)).is_some());
        assert!(too_deep(&"a.b.c = { ".repeat(MAX_NESTING / 2)).is_some());
    }

    #[test]
    fn the_outermost_open_bracket_is_the_first_that_is_not_closed() {
        let text = "[labels]\na = [1]\nb = {\n  c = [\n  x: 1";
        assert_eq!(outermost_open(text, text.find('x').unwrap()), text.find('{'));
        assert_eq!(outermost_open(text, text.find("b =").unwrap()), None);
        assert_eq!(header_above(text, text.len()), "labels");
    }
}
