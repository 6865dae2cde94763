//! The planner against the simulator, on random rollouts and fleets.
//!
//! `cargo run --release -p modelfleet-simulation --example planner -- [rollouts] [runs] [first] [devices at most]`
//!
//! For each of them the planner names the smallest rise that the first stage finds in four rollouts of five, by simulated
//! stages and by the formula. Then whole rollouts with that rise are simulated under another seed, and those that show
//! the harm in the first stage are counted. Prints a Markdown table.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::unwrap_used)]

mod rollouts;

use modelfleet_evidence::LookPlan;
use modelfleet_judge::sizing::{StageSize, smallest_harm_ppm};
use modelfleet_judge::{Budget, JudgedBy, Spending};
use modelfleet_rollout::Policy;
use modelfleet_simulation::{Effort, PerSli, Scenario, Setup, Share, Simulation, StagePower, stage_power};
use rollouts::{Planned, planned};

const SLO: &str = "slo-0";

fn main() {
    let number = |at: usize, otherwise: u64| {
        std::env::args().nth(at).and_then(|text| text.parse().ok()).unwrap_or(otherwise)
    };
    let (rollouts, runs, first, devices) = (number(1, 200), number(2, 800), number(3, 0), number(4, 2_000));
    println!("| rollout | planned by simulated stages | limits | seen | planned by the formula | seen |");
    println!("|---|---|---|---|---|---|");
    let (mut apart, mut apart_formula, mut never) = (Vec::new(), Vec::new(), [0, 0]);
    for index in first..first + rollouts {
        let Planned { setup, scenario, name } = planned(index, devices as f64);
        let policy = Policy::new(setup.parts.clone()).unwrap();
        let formula = formula_ppm(&setup, &scenario, &policy);
        let effort = Effort { runs, device_windows: u64::MAX, seed: 1 };
        let guess = formula.unwrap_or(3_000_000);
        let power = stage_power(&setup, &scenario, &policy, 0, SLO, guess, effort);
        let (ratio, limits) = match power {
            StagePower::Finds { ratio_ppm, limits_ppm: (low, high), .. } => {
                (Some(ratio_ppm), format!("{} to {}", times(low), times(high)))
            }
            StagePower::Misses { found } => (None, format!("{} at 100x", text(&found))),
            StagePower::Unknown => (None, "-".to_owned()),
        };
        let by_stages = ratio.map(|ratio| (ratio, seen(&setup, &scenario, ratio, runs)));
        let by_formula = formula.map(|ratio| (ratio, seen(&setup, &scenario, ratio, runs / 4)));
        never[0] += u64::from(by_stages.is_none());
        never[1] += u64::from(by_formula.is_none());
        let points = |seen: Share| f64::from(seen.share_ppm) * 1e-4 - 80.0;
        apart.extend(by_stages.map(|(_, seen)| points(seen)));
        apart_formula.extend(by_formula.map(|(_, seen)| points(seen)));
        let cell = |found: &Option<(u64, Share)>| match found {
            Some((ratio, seen)) => format!("{} | {}", times(*ratio), text(seen)),
            None => "nothing | -".to_owned(),
        };
        let (stages, formula) = (cell(&by_stages), cell(&by_formula));
        let (ratio, seen) = stages.split_once(" | ").unwrap();
        println!("| {index}: {name} | {ratio} | {limits} | {seen} | {formula} |");
    }
    println!("\nsimulated stages: {}; nothing found: {}", spread(apart), never[0]);
    println!("formula: {}; nothing found: {}", spread(apart_formula), never[1]);
}

/// The rise of the rate of events that the formula says.
fn formula_ppm(setup: &Setup, scenario: &Scenario, policy: &Policy) -> Option<u64> {
    let stage = policy.stage(0);
    let looks = LookPlan::of(stage, setup.window_ms());
    let fleet = scenario.fleet.devices;
    let canaries = policy.target(0).of(fleet);
    let gates = setup.objectives.iter().filter(|o| o.judged_by == JudgedBy::Statistical).count() as u16;
    let off = if scenario.fleet.offline.works_on { 0.0 } else { scenario.fleet.offline.share };
    let size = StageSize {
        fleet,
        canaries,
        controls: fleet - canaries,
        windows: looks.windows().saturating_sub(setup.warmup_windows).max(1),
        reporting_ppm: 1_000_000 - (off * 1e6) as u32,
        looks: looks.planned(),
        gates,
    };
    let budget = Budget {
        total_ppm: setup.parts.error_budget_ppm,
        spent_ppb: 0,
        stages_left: policy.stage_count() as u16,
    };
    let weights = u64::from(gates) + u64::from(setup.hard.weight + setup.silence.weight);
    let share_ppb = Spending::of(budget.stage_ppb(), 1, weights).share_ppb;
    let rise = smallest_harm_ppm(
        &size,
        &scenario.fleet_rates(SLO),
        share_ppb,
        setup.objectives[0].allowance_ppm,
        800_000,
    );
    scenario.rise_of_events_ppm(SLO, rise)
}

/// Whole rollouts that show the harm in their first stage.
fn seen(setup: &Setup, scenario: &Scenario, ratio_ppm: u64, runs: u64) -> Share {
    let mut scenario = scenario.clone();
    scenario.effect.rate_ratio = PerSli::By([(SLO.to_owned(), ratio_ppm as f64 * 1e-6)].into());
    let simulation = Simulation::new(setup.clone(), &scenario).unwrap();
    let found = (0..runs).filter(|run| {
        let outcome = simulation.run(20_261, *run, &mut |_| {}).unwrap();
        outcome.stage == 0 && outcome.detected_ms.is_some()
    });
    Share::of(found.count() as u64, runs)
}

/// How far apart, in points: within five, and the furthest both ways.
fn spread(mut points: Vec<f64>) -> String {
    points.sort_by(f64::total_cmp);
    let within = |most: f64| points.iter().filter(|apart| apart.abs() <= most).count();
    format!(
        "{} compared, {:+.2} points apart on average, {} within 5 points, {} within 10; furthest {:.1} and {:+.1}",
        points.len(),
        points.iter().sum::<f64>() / points.len().max(1) as f64,
        within(5.0),
        within(10.0),
        points.first().copied().unwrap_or(0.0),
        points.last().copied().unwrap_or(0.0)
    )
}

fn times(ppm: u64) -> String {
    format!("{:.2}x", ppm as f64 * 1e-6)
}

fn text(share: &Share) -> String {
    let [at, low, high] = [share.share_ppm, share.low_ppm, share.high_ppm].map(|ppm| f64::from(ppm) / 1e4);
    format!("{at:.1} % ({low:.1} to {high:.1})")
}
