//! What clients saw, as the table of `docs/reference/clients-view.md`.

use std::time::Duration;

use super::load::Counts;

/// What happened to clients during a change.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) what: String,
    pub(super) counts: Counts,
    /// Until the group was as it should be.
    pub(super) took: Duration,
}

/// Prints the rows, and how the first mishaps of each went.
pub(super) fn print(program: &str, drain: &str, rows: &[Row]) {
    println!("{program}:\n");
    println!(
        "| What was changed | Drain | Connects | Failed | Statements | Broken | Cut while idle | Took |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for Row { what, counts, took } in rows {
        println!(
            "| {what} | {drain} | {} | {} | {} | {} | {} | {:.0} s |",
            counts.connects,
            counts.failed,
            counts.statements,
            counts.broken,
            counts.cut,
            took.as_secs_f64()
        );
    }
    println!();
    for Row { what, counts, .. } in rows {
        for mishap in &counts.mishaps {
            println!("{what}: {mishap}");
        }
    }
}
