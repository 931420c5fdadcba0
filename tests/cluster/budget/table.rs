//! Figures beside what is promised, one table for each test.

use std::fmt::Write;

/// One figure.
struct Row {
    what: String,
    counted: usize,
    gate: usize,
    ambition: usize,
    /// What it consists of.
    detail: String,
}

/// Figures, and what they must not exceed.
#[derive(Default)]
pub(super) struct Table(Vec<Row>);

impl Table {
    /// Adds a figure.
    pub(super) fn add(&mut self, what: &str, counted: usize, gate: usize, ambition: usize, detail: String) {
        self.0.push(Row {
            what: what.to_owned(),
            counted,
            gate,
            ambition,
            detail,
        });
    }

    /// Prints the figures, then fails when one exceeds its gate, or the ambition that was reached once.
    pub(super) fn judge(&self) {
        let mut text = format!("{:<52} | counted | gate | ambition\n", "what");
        for row in &self.0 {
            writeln!(
                text,
                "{:<52} | {:>7} | {:>4} | {:>8}",
                row.what, row.counted, row.gate, row.ambition
            )
            .expect("a text can be written");
        }
        println!("{text}");
        for row in &self.0 {
            assert!(
                row.counted <= row.gate,
                "over the gate: {}: {}",
                row.what,
                row.detail
            );
            assert!(
                row.counted <= row.ambition,
                "over the ambition: {}: {}",
                row.what,
                row.detail
            );
        }
    }
}
