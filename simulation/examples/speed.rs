//! How long runs take: `cargo run --release -p modelfleet-simulation --example speed -- [devices] [runs] [objectives]`.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::unwrap_used)]

use std::time::Instant;

use modelfleet_simulation::{Objective, PerSli, Scenario, Setup, Summary, Tested};

fn main() {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let number = |at: usize, default| numbers.get(at).copied().unwrap_or(default);
    let (devices, runs, objectives) = (number(0, 200), number(1, 20), number(2, 1));
    let names = (0..objectives).map(|i| Objective::statistical(&format!("slo-{i}"), 250_000)).collect();
    let setup = Setup::hourly(Setup::default_stages(), names);
    let mut scenario = Scenario::default();
    scenario.fleet.devices = devices;
    scenario.fleet.base_rate = PerSli::All(0.2);
    let simulation = modelfleet_simulation::Simulation::new(setup, &scenario).unwrap();
    let began = Instant::now();
    let mut asked = 0;
    let outcomes: Vec<_> =
        (0..runs).map(|run| simulation.run(1, run, &mut |_| asked += 1).unwrap()).collect();
    let seconds = began.elapsed().as_secs_f64();
    println!("{runs} runs of {devices} devices: {seconds:.2} s, {:.1} ms a run", 1e3 * seconds / runs as f64);
    println!("the judge was asked {} times a run", asked / runs.max(1));
    println!("{:#?}", Summary::of(Tested::FalseRollback, 4, &outcomes));
    println!("{:#?}", outcomes.first());
}
