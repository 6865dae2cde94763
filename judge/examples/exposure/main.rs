//! False rollbacks of unchanged models where canaries and controls were watched for different times, over six looks:
//! prints the table of `MEASURED.md`.
//!
//! `cargo run --release -p modelfleet-judge --example exposure -- [RUNS]`
#![allow(clippy::disallowed_methods, reason = "a program has arguments")]
#![allow(clippy::unwrap_used)]

mod fleet;

use fleet::{FLEET, Fleet, Run};
use modelfleet_judge::{Advice, StageState};
use modelfleet_number::wilson;

const HISTORY_AND_KNOWN: [(u64, u64); 6] = [(540, 60), (100, 60), (0, 60), (600, 59), (600, 55), (540, 55)];

fn main() {
    let runs: u64 = std::env::args().nth(1).map_or(1_000, |runs| runs.parse().expect("RUNS is a number"));
    let mut all = (0, 0);
    println!("| canaries | base rate | windows of history | windows known | runs | rolled back, % (95 %) |");
    println!("|---|---|---|---|---|---|");
    for (devices, canaries, runs) in
        [(200, 5, runs), (200, 20, runs), (200, 50, runs), (3_000, 600, runs.div_ceil(7))]
    {
        for base in [0.2, 0.04, 0.002, 0.000_4] {
            for (history, known) in HISTORY_AND_KNOWN {
                let fleet =
                    Fleet { devices, canaries, base, history: (600, history), known: (known, 60), ..FLEET };
                let found = (0..runs).filter(|&run| rolled_back(fleet, run)).count() as u64;
                all = (all.0 + found, all.1 + runs);
                println!(
                    "| {canaries} of {devices} | {base} | 600, {history} | {known}, 60 | {runs} | {} |",
                    percent(found, runs)
                );
            }
        }
    }
    println!("\nOver all cells: {} of {}: {}", all.0, all.1, percent(all.0, all.1));
}

/// Rolled back at any of the six looks.
fn rolled_back(fleet: Fleet, run: u64) -> bool {
    let (mut lived, mut state) = (Run::new(fleet, run), StageState::new());
    (1..=6_u16).any(|look| {
        lived.until(10 * u64::from(look));
        let answer = lived.judged(look, &state, run);
        state = answer.state;
        answer.advice == Advice::RollBack
    })
}

fn percent(found: u64, runs: u64) -> String {
    let interval = wilson(found, runs, 0.95);
    format!(
        "{:.2} ({:.2} to {:.2})",
        100.0 * found as f64 / runs as f64,
        100.0 * interval.0,
        100.0 * interval.1
    )
}
