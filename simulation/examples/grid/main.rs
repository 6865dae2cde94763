//! The proof grid: whole rollouts by the shipped core and judge, and by what users have today, on the same fleets.
//!
//! `cargo run --release -p modelfleet-simulation --example grid -- PART [runs] [seed] [only=TEXT]`
//! where PART is null, large, odd, detect, rollout, rollout-large, fail, reach or today.
//!
//! Prints a Markdown table; the limits are Wilson's at 95 %.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::unwrap_used)]

mod cells;

use std::sync::atomic::{AtomicU64, Ordering};

use cells::{Cell, cells};
use modelfleet_simulation::{Outcome, Rule, Share, Simulation, Summary, Tested};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let part = args.first().map_or("detect", String::as_str);
    let runs = args.get(1).and_then(|a| a.parse().ok()).unwrap_or(200);
    let seed = args.get(2).and_then(|a| a.parse().ok()).unwrap_or(1);
    let only = args.iter().find_map(|a| a.strip_prefix("only=")).unwrap_or("");
    let mut cells = cells(part);
    cells.retain(|cell| cell.name.contains(only));
    if part == "today" {
        today(&cells, runs, seed);
        return;
    }
    println!(
        "| cell | harm shown | success | paused | undecided | held | on exposure | hours to harm shown | exposed |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let (mut shown, mut all, mut worst) = (0, 0, 0);
    for (number, cell) in cells.iter().enumerate() {
        let s = run(cell, runs, seed ^ (number as u64) << 32);
        let hours = s.detected_ms.map_or("-".to_owned(), |(median, most)| {
            format!("{} ({})", median / 3_600_000, most / 3_600_000)
        });
        let row = [s.incident, s.undecided, s.held, s.on_exposure].map(|share| percent(share.share_ppm));
        println!(
            "| {} | {} | {} | {} | {hours} | {} ({}) |",
            cell.name,
            text(&s.harm_shown),
            text(&s.succeeded),
            row.join(" | "),
            s.exposed.0,
            s.exposed.1
        );
        if s.tested == Tested::FalseRollback {
            (shown, all) = (shown + s.harm_shown.hits, all + runs);
            worst = worst.max(s.harm_shown.low_ppm);
        }
    }
    if all > 0 {
        let worst = f64::from(worst) / 1e4;
        println!(
            "\nFalse rollbacks over all cells: {}; highest lower limit {worst:.2} %.",
            text(&Share::of(shown, all))
        );
    }
}

/// `12.30 % (10.10 to 14.80)`
fn text(share: &Share) -> String {
    let limits = [share.low_ppm, share.high_ppm].map(|ppm| f64::from(ppm) / 1e4);
    format!("{} ({:.2} to {:.2})", percent(share.share_ppm), limits[0], limits[1])
}

/// `12.30 %`
fn percent(ppm: u32) -> String {
    format!("{:.2} %", f64::from(ppm) / 1e4)
}

/// Runs a cell on two threads; run `n` is the same whoever takes it.
fn run(cell: &Cell, runs: u64, seed: u64) -> Summary {
    let simulation = Simulation::new(cell.setup.clone(), &cell.scenario).unwrap();
    let next = AtomicU64::new(0);
    let work = || {
        let mut own = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= runs {
                return own;
            }
            own.push(simulation.run(seed, number, &mut |_| {}).unwrap());
        }
    };
    let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
        let threads = [scope.spawn(work), scope.spawn(work)];
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let tested = if cell.scenario.is_harmless() { Tested::FalseRollback } else { Tested::Detection };
    Summary::of(tested, cell.setup.parts.stages.len(), &outcomes)
}

/// Rolled back by each rule.
fn today(cells: &[Cell], runs: u64, seed: u64) {
    println!("| cell | threshold, limit 0 | threshold, limit 3 | pooled sequential test | judge |");
    println!("|---|---|---|---|---|");
    for (number, cell) in cells.iter().enumerate() {
        let rules = [Rule::Threshold { limit: 0 }, Rule::Threshold { limit: 3 }, Rule::Pooled, Rule::Judge]
            .map(|rule| {
                let mut cell = cell.clone();
                cell.setup.rule = rule;
                text(&run(&cell, runs, seed ^ (number as u64) << 32).harm_shown)
            });
        println!("| {} | {} |", cell.name, rules.join(" | "));
    }
}
