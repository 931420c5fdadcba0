//! Reads the few metrics that matter out of TiProxy's page of metrics, piece by piece: it may be large.

use super::observation::{Answer, Backend};

/// No line that matters here is longer.
const MOST_LINE_BYTES: usize = 16 * 1024;
const HEALTHY: f64 = 1.0;

/// A page of metrics in Prometheus' text format that is being read.
#[derive(Debug, Default)]
pub(super) struct Page {
    line: Vec<u8>,
    /// The present line is longer than any that matters.
    skips: bool,
}

impl Page {
    /// Takes the next piece of the page into the answer.
    pub(super) fn take(&mut self, piece: &[u8], answer: &mut Answer) {
        let mut rest = piece;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = rest.split_at(end);
            self.add(line);
            self.end_line(answer);
            rest = after.get(1..).unwrap_or_default();
        }
        self.add(rest);
    }

    /// The page is at its end.
    pub(super) fn end(&mut self, answer: &mut Answer) {
        self.end_line(answer);
    }

    fn add(&mut self, part: &[u8]) {
        self.skips |= self.line.len() + part.len() > MOST_LINE_BYTES;
        if !self.skips {
            self.line.extend_from_slice(part);
        }
    }

    fn end_line(&mut self, answer: &mut Answer) {
        if !self.skips
            && let Ok(line) = std::str::from_utf8(&self.line)
            && let Some(sample) = Sample::parse(line.trim())
        {
            sample.put_into(answer);
        }
        self.line.clear();
        self.skips = false;
    }
}

/// One line of a page.
struct Sample<'a> {
    name: &'a str,
    labels: Vec<(&'a str, String)>,
    value: f64,
}

impl<'a> Sample<'a> {
    /// A sample of TiProxy's own.
    fn parse(line: &'a str) -> Option<Self> {
        if !line.starts_with("tiproxy_") {
            return None;
        }
        let end = line.find(['{', ' ', '\t'])?;
        let (name, rest) = line.split_at(end);
        let (labels, rest) = match rest.strip_prefix('{') {
            Some(rest) => labels(rest)?,
            None => (Vec::new(), rest),
        };
        // A time may follow.
        let value = rest.split_whitespace().next()?.parse().ok()?;
        Some(Self { name, labels, value })
    }

    fn label(&self, name: &str) -> Option<&str> {
        self.labels
            .iter()
            .find(|(label, _)| *label == name)
            .map(|(_, value)| value.as_str())
    }

    /// The TiDB that the sample is about. From v26 on some metrics put the name of its cluster before its address, and
    /// others do not.
    fn backend<'answer>(&self, answer: &'answer mut Answer) -> Option<&'answer mut Backend> {
        let backend = self.label("backend")?;
        let address = backend.rsplit('/').next().unwrap_or(backend);
        Some(answer.backends.entry(address.to_owned()).or_default())
    }

    fn put_into(&self, answer: &mut Answer) {
        match self.name {
            "tiproxy_server_connections" => answer.connections = count(self.value),
            "tiproxy_server_create_connection_total" => answer.created_connections = count(self.value),
            "tiproxy_backend_b_status" => {
                if let Some(backend) = self.backend(answer) {
                    // The value is 0 or 1.
                    backend.is_healthy = (self.value - HEALTHY).abs() < f64::EPSILON;
                }
            }
            "tiproxy_balance_b_score" if self.label("factor") == Some("label") => {
                if let Some(backend) = self.backend(answer) {
                    // 0 is the best score.
                    backend.label_fits = Some(self.value.abs() < f64::EPSILON);
                }
            }
            "tiproxy_balance_b_conn" => {
                if let Some(backend) = self.backend(answer) {
                    backend.connections = count(self.value).unwrap_or_default();
                }
            }
            "tiproxy_balance_migrate_total" if self.label("migrate_res") == Some("fail") => {
                let failed = count(self.value).unwrap_or_default();
                answer.failed_migrations = answer.failed_migrations.saturating_add(failed);
            }
            _ => {}
        }
    }
}

/// A number of things; the format has only floating point numbers.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the range is checked, and such a cast saturates"
)]
fn count(value: f64) -> Option<u64> {
    (value.is_finite() && value >= 0.0).then(|| value.round() as u64)
}

/// The labels up to the closing brace, and what follows it.
fn labels(mut rest: &str) -> Option<(Vec<(&str, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', ',']);
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (name, after) = rest.split_once('=')?;
        let (value, after) = quoted(after.trim_start().strip_prefix('"')?)?;
        labels.push((name.trim(), value));
        rest = after;
    }
}

/// A text up to its closing quotation mark, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PAGE: &str = r#"# HELP tiproxy_server_connections Number of connections.
# TYPE tiproxy_server_connections gauge
tiproxy_server_connections 12
tiproxy_server_create_connection_total 1.5e+03
go_goroutines 40
tiproxy_backend_b_status{backend="10.0.0.1:4000"} 1
tiproxy_backend_b_status{backend="default/10.0.0.2:4000"} 0
tiproxy_balance_b_score{backend="10.0.0.1:4000",factor="label"} 1
tiproxy_balance_b_score{backend="10.0.0.1:4000",factor="cpu"} 3
tiproxy_balance_b_conn{backend="10.0.0.1:4000"} 12
tiproxy_balance_b_score{factor="label",backend="10.0.0.3:4000",} 0 1395066363000
tiproxy_balance_migrate_total{from="a",migrate_res="fail",reason="conn",to="b"} 2
tiproxy_balance_migrate_total{from="b",migrate_res="fail",reason="x}\"\\,y",to="a"} 3
tiproxy_balance_migrate_total{from="a",migrate_res="succeed",reason="conn",to="b"} 50
tiproxy_session_query_total{backend="10.0.0.1:4000",cmd_type="Query"} NaN
tiproxy_backend_b_status{backend="broken" 1
tiproxy_backend_b_status
"#;

    fn read(page: &str, piece: usize) -> Answer {
        let (mut reader, mut answer) = (Page::default(), Answer::default());
        for piece in page.as_bytes().chunks(piece.max(1)) {
            reader.take(piece, &mut answer);
        }
        reader.end(&mut answer);
        answer
    }

    #[test]
    fn what_matters_is_read_whatever_the_pieces_are() {
        let backend = |is_healthy, label_fits, connections| Backend {
            is_healthy,
            label_fits,
            connections,
        };
        let expected = Answer {
            connections: Some(12),
            created_connections: Some(1500),
            backends: [
                ("10.0.0.1:4000".to_owned(), backend(true, Some(false), 12)),
                ("10.0.0.2:4000".to_owned(), backend(false, None, 0)),
                ("10.0.0.3:4000".to_owned(), backend(false, Some(true), 0)),
            ]
            .into(),
            failed_migrations: 5,
            ..Answer::default()
        };
        for piece in [1, 2, 7, 64, PAGE.len()] {
            assert_eq!(read(PAGE, piece), expected, "{piece}");
        }
        assert_eq!(read(PAGE.trim_end(), 10), expected);
    }

    #[test]
    fn a_line_without_end_takes_no_memory_and_hides_no_other() {
        let page = format!(
            "tiproxy_x{{backend=\"{}\n{}",
            "y".repeat(3 * MOST_LINE_BYTES),
            "tiproxy_server_connections 1"
        );
        let (mut reader, mut answer) = (Page::default(), Answer::default());
        for piece in page.as_bytes().chunks(1000) {
            reader.take(piece, &mut answer);
            assert!(reader.line.capacity() <= 2 * MOST_LINE_BYTES);
        }
        reader.end(&mut answer);
        assert_eq!(answer.connections, Some(1));
    }

    #[test]
    fn numbers_that_count_nothing_are_none() {
        for value in ["NaN", "+Inf", "-1", "x", ""] {
            assert_eq!(
                read(&format!("tiproxy_server_connections {value}"), 100).connections,
                None,
                "{value}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_page_makes_it_panic(page in ".{0,200}", line in "tiproxy_[a-z_]{0,20}[{]?[a-z=\"\\\\,} 0-9]{0,60}") {
            read(&page, 3);
            read(&line, 100);
        }
    }
}
