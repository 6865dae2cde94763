//! How often the watch alarms where nothing is wrong, and how soon where something is.
//!
//! `cargo run -p modelfleet-watch --example monitor_proof -- [years] [runs] [seed]`
//!
//! Twelve worlds, fleets of 200 and of 100 000 devices, one false alarm in 365 days allowed. Beside the watch stand four rules of
//! the kind that people set up. The tables are in `docs/monitor-proof.md`.

#![allow(clippy::disallowed_methods, reason = "a program has arguments")]

mod chance;
mod usual;
mod watched;
mod world;

use usual::Usual;
use watched::Watched;
use world::{Harm, Life, WORLDS, World};

const HOURS_OF_YEAR: u64 = 8_760;
const FLEETS: [u64; 2] = [200, 100_000];
/// Days without harm before it begins, and days in which it may be found.
const BEFORE_DAYS: u64 = 60;
const AFTER_DAYS: u64 = 120;

fn main() {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u64>());
    let mut next = |default| args.next().and_then(Result::ok).unwrap_or(default);
    let (years, runs, seed) = (next(20), next(10), next(1));
    println!("Alarms a year over {years} years a cell; seed {seed}.\n");
    let mut heads = vec!["world", "devices", "the watch", "95 % at most"];
    heads.extend(usual::NAMES);
    println!("| {} |\n|{}", heads.join(" | "), "---|".repeat(heads.len()));
    for world in WORLDS {
        for devices in FLEETS {
            quiet(world, devices, years, seed);
        }
    }
    println!(
        "\nDays until an alarm, median of those found, and share found in {AFTER_DAYS} days; {runs} runs a cell.\n"
    );
    let heads = ["what changes", "where", "200 devices", "100 000 devices"];
    println!("| {} |\n|{}", heads.join(" | "), "---|".repeat(heads.len()));
    for (name, place, world, harm) in harms() {
        let cells: Vec<String> =
            FLEETS.iter().map(|&devices| delay(world, devices, &harm, runs, seed)).collect();
        println!("| {name} | {place} | {} |", cells.join(" | "));
    }
}

/// Prints a row of alarms a year.
fn quiet(world: World, devices: u64, years: u64, seed: u64) {
    let mut life = Life::new(world, devices, seed);
    let (mut watched, mut usual) = (Watched::new(), Usual::new());
    for _ in 0..years * HOURS_OF_YEAR {
        let hour = life.hour(None);
        watched.take(&hour);
        usual.take(&hour);
    }
    let a_year = |count: u64| format!("{:.2}", count as f64 / years as f64);
    let most = modelfleet_number::poisson::interval(watched.alarms, 0.9).1 / years as f64;
    let mut cells = vec![a_year(watched.alarms), format!("{most:.2}")];
    cells.extend(usual.began.map(a_year));
    println!("| {} | {devices} | {} |", world.name, cells.join(" | "));
    let kept = watched.memory().to_text().len();
    eprintln!("{} at {devices}: {kept} characters are kept; alarms: {:?}", world.name, watched.about);
}

fn harms() -> Vec<(String, &'static str, World, Harm)> {
    let (plain, many) = (WORLDS[2], WORLDS[10]);
    let mut all = Vec::new();
    for shift in [0.25, 0.5, 1.0] {
        let name = format!("all features by {shift} deviations");
        all.push((name.clone(), "everywhere", plain, Harm { shift, ..Harm::default() }));
        all.push((name, "one site of ten", plain, Harm { shift, one_site: true, ..Harm::default() }));
        let name = format!("one feature of 128 by {shift} deviations");
        all.push((name, "everywhere", many, Harm { shift, one_feature: true, ..Harm::default() }));
    }
    for rate in [2.0, 3.0, 6.0, 20.0] {
        let name = format!("errors {rate} times as often");
        all.push((name.clone(), "everywhere", plain, Harm { rate, ..Harm::default() }));
        all.push((name, "one site of ten", plain, Harm { rate, one_site: true, ..Harm::default() }));
    }
    all
}

fn delay(world: World, devices: u64, harm: &Harm, runs: u64, seed: u64) -> String {
    let mut found: Vec<f64> = Vec::new();
    for run in 0..runs {
        let mut life = Life::new(world, devices, seed.wrapping_mul(1_000).wrapping_add(run + 1));
        let mut watched = Watched::new();
        (0..BEFORE_DAYS * 24).for_each(|_| watched.take(&life.hour(None)));
        let before = watched.alarms;
        if watched.alarmed() {
            continue;
        }
        let hours = (0..AFTER_DAYS * 24).find(|_| {
            watched.take(&life.hour(Some(harm)));
            watched.alarms > before
        });
        found.extend(hours.map(|hours| (hours + 1) as f64 / 24.0));
    }
    found.sort_by(f64::total_cmp);
    match found.get(found.len() / 2) {
        None => "-; 0 %".to_owned(),
        Some(median) => format!("{median:.1}; {:.0} %", 100.0 * found.len() as f64 / runs as f64),
    }
}
