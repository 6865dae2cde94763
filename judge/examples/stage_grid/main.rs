//! The proof grid: how often the judge rolls back an unchanged model, finds a harmful one, and lets a good
//! one through.
//!
//! `cargo run --release -p modelfleet-judge --example stage_grid -- [null|detect|margin|rollout|today|all] [runs] [seed] [full] [only=TEXT]`
//!
//! Every line is one cell: settings, runs, and shares with Clopper-Pearson 95 % limits.

#![allow(clippy::disallowed_methods, reason = "a program has arguments")]

mod fast;
mod others;
mod stage;
mod world;

use modelfleet_judge::Advice;
use modelfleet_number::{beta, chance::Chance};
use others::{Rule, rolls_back};
use stage::{End, one_stage, rollout};
use world::World;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let part = args.first().map_or("all", String::as_str);
    let runs = args.get(1).and_then(|s| s.parse().ok()).unwrap_or(200);
    let seed = args.get(2).and_then(|s| s.parse().ok()).unwrap_or(1);
    let full = args.iter().any(|a| a == "full");
    let only = args.iter().find_map(|a| a.strip_prefix("only=")).unwrap_or("");
    if matches!(part, "null" | "all") {
        null_cells(runs, seed, full, only);
    }
    if matches!(part, "detect" | "all") {
        detection_cells(runs, seed);
    }
    if matches!(part, "margin" | "all") {
        margin_cells(runs, seed);
    }
    if matches!(part, "today" | "all") {
        todays_rules(runs, seed);
    }
    if matches!(part, "rollout" | "all") {
        rollout_cells(runs, seed, full);
    }
}

/// `12.3 % [10.1, 14.8]`
fn share(hits: u64, runs: u64) -> String {
    let (k, n) = (hits as f64, runs as f64);
    let low = if hits == 0 { 0.0 } else { beta::inverse(k, n - k + 1.0, 0.025) };
    let high = if hits == runs { 1.0 } else { beta::inverse(k + 1.0, n - k, 0.975) };
    format!("{:6.2} % [{:5.2}, {:5.2}]", 100.0 * k / n, 100.0 * low, 100.0 * high)
}

struct Summary {
    rolled_back: u64,
    paused: u64,
    advanced: u64,
    windows: Vec<u64>,
}

fn run_cell(runs: u64, mut one: impl FnMut(u64) -> End) -> Summary {
    let mut summary = Summary { rolled_back: 0, paused: 0, advanced: 0, windows: Vec::new() };
    for run in 0..runs {
        let end = one(run);
        match end.advice {
            Advice::RollBack => {
                summary.rolled_back += 1;
                summary.windows.push(end.window);
            }
            Advice::Pause => summary.paused += 1,
            Advice::Advance => summary.advanced += 1,
            Advice::Wait => {}
        }
    }
    summary.windows.sort_unstable();
    summary
}

fn print_cell(name: &str, runs: u64, s: &Summary) {
    let median = s.windows.get(s.windows.len() / 2).map_or("-".into(), u64::to_string);
    println!(
        "{name:<58} rolled back {}  advanced {}  paused {}  median window {median}",
        share(s.rolled_back, runs),
        share(s.advanced, runs),
        share(s.paused, runs)
    );
}

fn cell_seed(seed: u64, cell: usize, run: u64) -> u64 {
    Chance::fork(seed ^ (cell as u64) << 40, run).next_u64()
}

/// Unchanged model: every roll-back is false.
fn null_cells(runs: u64, seed: u64, full: bool, only: &str) {
    println!("# unchanged model, one stage, one SLO with the whole 1 %, {runs} runs a cell");
    let mut cells: Vec<(String, World, usize)> = Vec::new();
    let plain = World::plain();
    // The large fleet takes a quarter of a second a run: it is a grid of its own.
    let fleets = if full { vec![(100_000, 1_000)] } else { vec![(200, 5), (200, 20), (200, 50)] };
    for &(devices, canaries) in &fleets {
        for sigma in [0.0, 0.5, 1.0, 1.5] {
            for burst in [1.0, 5.0, 20.0] {
                for base in [0.2, 0.002] {
                    for history in [600, 60] {
                        let world = World { devices, sigma, burst, base, history, ..plain };
                        let name = format!(
                            "{canaries} of {devices} sigma {sigma} burst {burst} base {base} history {history}"
                        );
                        cells.push((name, world, canaries));
                    }
                }
            }
        }
        let odd = [
            ("rhythm 0.8", World { rhythm: 0.8, ..plain }),
            ("offline 0.4", World { offline: 0.4, ..plain }),
            ("late truth", World { late: world::DAY, ..plain }),
            ("spells of 10", World { spell: 10.0, ..plain }),
            ("wander 0.5", World { wander: 0.5, ..plain }),
            ("wander 1", World { wander: 1.0, ..plain }),
            ("starts over 12 windows", World { stagger: 12, ..plain }),
            ("starts over 12 windows, rhythm 0.8", World { stagger: 12, rhythm: 0.8, ..plain }),
            ("windows 600", World { stretch: 10, ..plain }),
            ("4 strata", World { strata: 4, ..plain }),
            ("common outage", World { outage: Some((8, false)), base: 0.02, allowance_ppm: 50_000, ..plain }),
            (
                "site outage, 4 strata",
                World { outage: Some((8, true)), strata: 4, base: 0.02, allowance_ppm: 50_000, ..plain },
            ),
        ];
        for (name, world) in odd {
            cells.push((format!("{canaries} of {devices} {name}"), World { devices, ..world }, canaries));
        }
    }
    let (mut all, mut total, mut worst) = (0, 0, 0.0_f64);
    for (i, (name, world, canaries)) in cells.iter().enumerate() {
        if !name.contains(only) {
            continue;
        }
        let s = run_cell(runs, |run| one_stage(*world, *canaries, cell_seed(seed, i, run)));
        print_cell(name, runs, &s);
        all += s.rolled_back;
        total += runs;
        let k = s.rolled_back as f64;
        let low = if s.rolled_back == 0 { 0.0 } else { beta::inverse(k, runs as f64 - k + 1.0, 0.025) };
        worst = worst.max(low);
    }
    println!("all cells together: {}; highest lower limit {:.2} %", share(all, total), worst * 100.0);
}

/// Harmful models: the detections that are promised.
fn detection_cells(runs: u64, seed: u64) {
    println!("# harmful model, one stage, sigma 1, base 0.2, history 600, {runs} runs a cell");
    let plain = World::plain();
    let cells = [
        ("5 of 5 harmed x3, burst 1 (promised 98)", World { ratio: 3.0, ..plain }, 5),
        ("5 of 5 harmed x3, burst 5 (promised 78)", World { ratio: 3.0, burst: 5.0, ..plain }, 5),
        ("5 of 5 harmed x2, burst 1 (promised 85)", World { ratio: 2.0, ..plain }, 5),
        ("2 of 5 harmed x5, burst 1 (promised 60)", World { ratio: 5.0, harmed: 2, ..plain }, 5),
        ("6 of 20 harmed x5, burst 1 (promised 95)", World { ratio: 5.0, harmed: 6, ..plain }, 20),
        ("20 of 20 harmed x3, burst 5 (promised 99)", World { ratio: 3.0, burst: 5.0, ..plain }, 20),
        ("50 of 50 harmed x1.5, burst 1", World { ratio: 1.5, ..plain }, 50),
        (
            "8 of 50 harmed x5 (one of 6 strata)",
            World { ratio: 5.0, strata: 6, only_stratum: Some(5), ..plain },
            50,
        ),
        (
            "5 of 20 harmed x5 (one of 4 strata)",
            World { ratio: 5.0, strata: 4, only_stratum: Some(3), ..plain },
            20,
        ),
        ("20 of 20 harmed x3, truth a day late", World { ratio: 3.0, late: world::DAY, ..plain }, 20),
    ];
    for (i, (name, world, canaries)) in cells.iter().enumerate() {
        let s = run_cell(runs, |run| one_stage(*world, *canaries, cell_seed(seed, 1000 + i, run)));
        print_cell(name, runs, &s);
    }
}

/// A model exactly as bad as the margin that the user set: it must not advance in more than 5 % of runs.
fn margin_cells(runs: u64, seed: u64) {
    println!(
        "# harm equal to the user's margin, one stage, {runs} runs a cell: advanced must be 5 % at most"
    );
    let plain = World::plain();
    for (i, (canaries, ratio)) in
        [(5, 1.5), (5, 3.0), (20, 1.25), (20, 1.5), (50, 1.25), (100, 1.25)].into_iter().enumerate()
    {
        for (j, (sigma, burst)) in [(0.0, 1.0), (1.0, 1.0), (1.5, 1.0), (1.0, 5.0)].into_iter().enumerate() {
            let world = World { sigma, burst, ratio, ..plain };
            let margin = world.ratio_of_windows();
            let world = World { margin_ppm: Some((margin * 1e6) as u64), ..world };
            let s = run_cell(runs, |run| one_stage(world, canaries, cell_seed(seed, 4000 + 10 * i + j, run)));
            print_cell(
                &format!("{canaries} of 200, margin {margin:.2}, sigma {sigma}, burst {burst}"),
                runs,
                &s,
            );
        }
    }
}

/// False and true alarms of today's rules beside the judge's, on the same fleets.
fn todays_rules(runs: u64, seed: u64) {
    println!(
        "# rolled back by: threshold, limit 0 | threshold, limit 3 | pooled sequential test | judge; {runs} runs a cell"
    );
    let plain = World::plain();
    let unchanged = [
        ("sigma 0", World { sigma: 0.0, ..plain }),
        ("sigma 1", plain),
        ("sigma 1.5", World { sigma: 1.5, ..plain }),
        ("sigma 1, burst 5", World { burst: 5.0, ..plain }),
        ("sigma 1, burst 20", World { burst: 20.0, ..plain }),
        ("sigma 1, base 0.02", World { base: 0.02, ..plain }),
        ("sigma 1, rhythm 0.8", World { rhythm: 0.8, ..plain }),
        ("sigma 1, common outage", World { outage: Some((8, false)), ..plain }),
    ];
    let harmed =
        [("x3", World { ratio: 3.0, ..plain }), ("x3, burst 5", World { ratio: 3.0, burst: 5.0, ..plain })];
    let cells = unchanged.iter().map(|c| ("unchanged", c)).chain(harmed.iter().map(|c| ("harmful", c)));
    for (cell, (kind, (name, world))) in cells.enumerate() {
        for canaries in [5, 20] {
            let rules = [Rule::Threshold { limit: 0 }, Rule::Threshold { limit: 3 }, Rule::Pooled];
            let mut hits = rules
                .map(|rule| {
                    (0..runs)
                        .filter(|&run| rolls_back(rule, *world, canaries, cell_seed(seed, 3000 + cell, run)))
                        .count() as u64
                })
                .to_vec();
            let judge = run_cell(runs, |run| one_stage(*world, canaries, cell_seed(seed, 3000 + cell, run)));
            hits.push(judge.rolled_back);
            let row: Vec<String> = hits.iter().map(|&h| share(h, runs)).collect();
            println!("{:<46} {}", format!("{kind}: {canaries} of 200, {name}"), row.join(" | "));
        }
    }
}

/// Whole rollouts over the default stages.
fn rollout_cells(runs: u64, seed: u64, full: bool) {
    println!("# unchanged model over the default stages, one SLO, {runs} runs a cell");
    let plain = World::plain();
    let fleets = if full { vec![100_000] } else { vec![200] };
    let mut cell = 2000;
    for devices in fleets {
        for (sigma, burst, base) in [
            (0.0, 1.0, 0.2),
            (1.0, 1.0, 0.2),
            (1.5, 1.0, 0.2),
            (1.0, 5.0, 0.2),
            (1.0, 20.0, 0.2),
            (1.0, 1.0, 0.02),
            (1.0, 1.0, 0.002),
            (1.5, 20.0, 0.002),
        ] {
            cell += 1;
            let world = World { devices, sigma, burst, base, ..plain };
            let mut stages = [0_u64; 5];
            let s = run_cell(runs, |run| {
                let end = rollout(world, cell_seed(seed, cell, run));
                stages[if end.end.advice == Advice::Advance { 4 } else { end.stage }] += 1;
                end.end
            });
            print_cell(&format!("{devices} devices sigma {sigma} burst {burst} base {base}"), runs, &s);
            println!(
                "    held or rolled back in canary {}, early {}, broad {}, full {}",
                stages[0], stages[1], stages[2], stages[3]
            );
        }
    }
}
