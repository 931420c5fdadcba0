//! Figures beside what is promised, one table for each test.

use std::fmt::Write;

/// One figure.
struct Row {
    what: String,
    counted: usize,
    promise: Promise,
    /// What it consists of.
    detail: String,
}

/// What a figure is held against.
#[derive(Clone, Copy)]
pub(super) struct Promise {
    /// What it must never exceed.
    pub(super) gate: usize,
    /// What it should not exceed.
    pub(super) ambition: usize,
    /// What it has come down to, above which it must not rise again.
    pub(super) reached: usize,
}

impl Promise {
    /// The ambition is reached.
    pub(super) const fn kept(gate: usize, ambition: usize) -> Self {
        Self {
            gate,
            ambition,
            reached: ambition,
        }
    }
}

/// Figures, and what they must not exceed.
#[derive(Default)]
pub(super) struct Table(Vec<Row>);

impl Table {
    /// Adds a figure.
    pub(super) fn add(&mut self, what: &str, counted: usize, promise: Promise, detail: String) {
        self.0.push(Row {
            what: what.to_owned(),
            counted,
            promise,
            detail,
        });
    }

    /// Prints the figures, then fails when one exceeds its gate, or what was reached once.
    pub(super) fn judge(&self) {
        let mut text = format!("{:<52} | counted | gate | ambition\n", "what");
        for row in &self.0 {
            writeln!(
                text,
                "{:<52} | {:>7} | {:>4} | {:>8}",
                row.what, row.counted, row.promise.gate, row.promise.ambition
            )
            .expect("a text can be written");
        }
        println!("{text}");
        for row in &self.0 {
            let Row {
                what,
                counted,
                promise,
                detail,
            } = row;
            assert!(*counted <= promise.gate, "over the gate: {what}: {detail}");
            assert!(*counted <= promise.reached, "it was less once: {what}: {detail}");
        }
    }
}
