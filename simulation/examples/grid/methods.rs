//! The table of docs/methods-side-by-side.md: the judge beside what users would pick instead, in the same worlds.

use modelfleet_simulation::{Method, Outcome, Rule, Share, Summary, Tested};

use super::cells::Cell;
use super::cells::methods::worlds;
use super::{outcomes, text};

/// The methods, as the table names them.
const METHODS: [(&str, Method); 6] = [
    ("Argo Rollouts, failureLimit 0", Method::Argo { failure_limit: 0 }),
    ("Argo Rollouts, failureLimit 3", Method::Argo { failure_limit: 3 }),
    ("Flagger, threshold 5", Method::Flagger),
    ("Kayenta, Mann-Whitney", Method::MannWhitney),
    ("mSPRT, pooled", Method::Msprt),
    ("confidence sequence of devices", Method::ConfidenceSequence),
];
/// The rate of false rollbacks that methods are tuned to.
const TUNED_TO: f64 = 0.01;

/// Prints the table.
pub fn print(runs: u64, seed: u64, only: &str) {
    println!(
        "| world | method | false rollbacks | found | hours | exposed | tuned: bar | found | hours | exposed |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for (number, world) in (0..).zip(worlds()).filter(|(_, world)| world.name.contains(only)) {
        let seed = seed ^ number << 32;
        let run = |cell: &Cell, rule: Rule| {
            let mut cell = cell.clone();
            cell.setup.rule = rule;
            outcomes(&cell, runs, seed).into_iter().map(|(outcome, _)| outcome).collect::<Vec<_>>()
        };
        let shown = |outcomes: &[Outcome]| {
            let rolled_back = outcomes.iter().filter(|o| o.detected_ms.is_some()).count();
            text(&Share::of(rolled_back as u64, outcomes.len() as u64))
        };
        let (unchanged, harmful) = (run(&world.unchanged, Rule::Judge), run(&world.harmful, Rule::Judge));
        println!(
            "| {} | **the judge** | {} | {} | - | - | - | - |",
            world.name,
            shown(&unchanged),
            found(&harmful)
        );
        for (name, method) in METHODS {
            // Never taken back, so that the most that spoke against each unchanged model is known.
            let endless = run(&world.unchanged, Rule::Other { method, bar: f64::INFINITY });
            let mut peaks: Vec<f64> = endless.iter().map(peak).collect();
            let above = |bar: f64| peaks.iter().filter(|peak| **peak > bar).count() as u64;
            let false_rollbacks = text(&Share::of(above(method.bar()), runs));
            peaks.sort_by(f64::total_cmp);
            let tuned = peaks[peaks.len() - 1 - (TUNED_TO * peaks.len() as f64) as usize];
            let own = found(&run(&world.harmful, Rule::other(method)));
            let fair = found(&run(&world.harmful, Rule::Other { method, bar: tuned }));
            println!("| | {name} | {false_rollbacks} | {own} | {tuned:.4} | {fair} |");
        }
    }
}

fn peak(outcome: &Outcome) -> f64 {
    outcome.peak_millionths.map_or(f64::NEG_INFINITY, |peak| peak as f64 * 1e-6)
}

/// How often harm was found, after how many hours, and how many devices had the candidate over all runs.
fn found(outcomes: &[Outcome]) -> String {
    let s = Summary::of(Tested::Detection, 3, outcomes);
    let hours = s.detected_ms.map_or_else(
        || "-".to_owned(),
        |(median, most)| format!("{} ({})", median / 3_600_000, most / 3_600_000),
    );
    format!("{} | {hours} | {} ({})", text(&s.harm_shown), s.exposed.0, s.exposed.1)
}
