//! The proof grid: whole rollouts by the shipped core and judge, and by what users would pick instead, on the same fleets.
//!
//! `cargo run --release -p modelfleet-simulation --example grid -- PART [runs] [seed] [only=TEXT] [why]`
//! where PART is null, null-rules, large, odd, odd-rules, detect, margin, rollout, rollout-large, rollout-largest, whole,
//! silence, uneven, site, site-silence, worlds, few, broken, cure, rare, swap, swap-harm, swap-long, late-labels, fail, reach or
//! methods. Cells of large fleets are run less often than asked.
//! With `why` a line on standard error says how the first runs of each cell that waited for a person ended.
//!
//! Prints a Markdown table; the limits are Wilson's at 95 %.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::unwrap_used)]

mod cells;
mod methods;

use std::sync::atomic::{AtomicU64, Ordering};

use cells::{Cell, cells};
use modelfleet_simulation::{End, Outcome, Share, Simulation, Summary, Tested};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let part = args.first().map_or("detect", String::as_str);
    let runs = args.get(1).and_then(|a| a.parse().ok()).unwrap_or(200);
    let seed = args.get(2).and_then(|a| a.parse().ok()).unwrap_or(1);
    let why = args.iter().any(|a| a == "why");
    let only = args.iter().find_map(|a| a.strip_prefix("only=")).unwrap_or("");
    if part == "methods" {
        methods::print(runs, seed, only);
        return;
    }
    // Numbered before some are picked: a cell is the same whoever runs beside it.
    let cells = (0..).zip(cells(part)).filter(|(_, cell)| cell.name.contains(only));
    let cells: Vec<(u64, Cell)> = cells.collect();
    println!(
        "| cell | harm shown | success | paused | undecided | held | on exposure | hours to harm shown | exposed |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let (mut shown, mut all) = (0, 0);
    let mut unchanged: Vec<Share> = Vec::new();
    for (number, cell) in &cells {
        let runs = (runs / cell.runs_part).max(1);
        let outcomes = outcomes(cell, runs, seed ^ number << 32);
        if why {
            let held = outcomes.iter().filter(|(o, _)| matches!(o.end, End::Held | End::Unfinished));
            held.take(3)
                .for_each(|(o, last)| eprintln!("{}: stage {}: {} [{last}]", cell.name, o.stage, o.sentence));
        }
        let s = summary(cell, &outcomes);
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
            unchanged.push(s.harm_shown);
        }
    }
    let highest = unchanged.iter().max_by_key(|cell| (cell.share_ppm, cell.high_ppm));
    if let (Some(highest), Some(low_ppm)) = (highest, unchanged.iter().map(|cell| cell.low_ppm).max()) {
        println!(
            "\nFalse rollbacks over all cells: {}; highest estimate of a cell {}; highest lower limit of a cell {:.2} %.",
            text(&Share::of(shown, all)),
            text(highest),
            f64::from(low_ppm) / 1e4
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

/// Runs a cell on two threads, each run with what the judge said last; run `n` is the same whoever takes it.
fn outcomes(cell: &Cell, runs: u64, seed: u64) -> Vec<(Outcome, String)> {
    let simulation = Simulation::new(cell.setup.clone(), &cell.scenario).unwrap();
    let next = AtomicU64::new(0);
    let work = || {
        let mut own = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= runs {
                return own;
            }
            let mut last = String::new();
            let outcome =
                simulation.run(seed, number, &mut |look| last.clone_from(&look.assessment.sentence));
            own.push((outcome.unwrap(), last));
        }
    };
    std::thread::scope(|scope| {
        let threads = [scope.spawn(work), scope.spawn(work)];
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

fn summary(cell: &Cell, outcomes: &[(Outcome, String)]) -> Summary {
    let outcomes: Vec<Outcome> = outcomes.iter().map(|(outcome, _)| outcome.clone()).collect();
    let tested = if cell.scenario.is_harmless() { Tested::FalseRollback } else { Tested::Detection };
    Summary::of(tested, cell.setup.parts.stages.len(), &outcomes)
}
