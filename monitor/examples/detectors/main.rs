//! What each detector and each gate costs: false alarms where nothing changed, delay after a change.
//!
//! `cargo run --release -p modelfleet-monitor --example detectors -- [streams] [seed]`
//!
//! Beside them stand one that always fires and one that never does: no figure alone says much. The tables are in
//! `docs/detectors.md`.

#![allow(clippy::disallowed_methods, reason = "a program has arguments")]

mod gates;
mod streams;

/// Fewest streams that a share is worth printing for.
const STREAMS: u64 = 200;

fn main() {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u64>());
    let streams = args.next().and_then(Result::ok).unwrap_or(STREAMS).max(1);
    let seed = args.next().and_then(Result::ok).unwrap_or(1);
    streams::numbers(streams, seed);
    streams::errors(streams, seed);
    gates::drift(10 * streams, seed);
    gates::labels(10 * streams, seed);
}

/// Prints one row of a table.
fn row(name: &str, cells: &[String]) {
    println!("| {name} | {} |", cells.join(" | "));
}

/// Prints a table's head.
fn head(columns: &[&str]) {
    println!("| {} |\n|{}", columns.join(" | "), "---|".repeat(columns.len()));
}
