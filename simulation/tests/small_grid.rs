//! The proof grid, small: a few cells with bounds that a broken judge misses and a sound one meets (fixed seed). The
//! full grid is `examples/grid`; its numbers are in docs/judge-proof.md.
#![allow(clippy::unwrap_used, reason = "a test may end where it stands")]

use modelfleet_judge::sizing::{FleetRates, StageSize, smallest_harm_ppm};
use modelfleet_judge::{HardRule, JudgedBy, OnBreach, SilenceRule};
use modelfleet_simulation::{
    Hours, Method, Objective, Outage, PerSli, Rule, Scenario, Setup, Simulation, StratumEffect, StratumShare,
    Summary, Tested,
};

const RUNS: u64 = 150;

/// What a world changes in the plain one.
type Change = fn(&mut Scenario);

fn stage(canaries: u64) -> Setup {
    Setup::one_stage(canaries, 60, Objective::statistical("slo", 0))
}

fn scenario(sigma: f64, burst: f64, base: f64, ratio: f64) -> Scenario {
    let mut scenario = Scenario::default();
    scenario.fleet.sigma = sigma;
    scenario.fleet.burst = burst;
    scenario.fleet.base_rate = PerSli::All(base);
    scenario.effect.rate_ratio = PerSli::All(ratio);
    scenario
}

fn summary(setup: &Setup, scenario: &Scenario, seed: u64) -> Summary {
    summary_of(RUNS, setup, scenario, seed)
}

fn summary_of(runs: u64, setup: &Setup, scenario: &Scenario, seed: u64) -> Summary {
    let simulation = Simulation::new(setup.clone(), scenario).unwrap();
    let outcomes: Vec<_> = (0..runs).map(|run| simulation.run(seed, run, &mut |_| {}).unwrap()).collect();
    let tested = if scenario.is_harmless() { Tested::FalseRollback } else { Tested::Detection };
    Summary::of(tested, setup.parts.stages.len(), &outcomes)
}

#[test]
fn unchanged_models_are_let_through() {
    let (mut shown, mut runs, mut passed) = (0, 0, 0);
    for (number, (canaries, sigma, burst, base)) in [
        (5, 0.0, 1.0, 0.2),
        (5, 1.5, 5.0, 0.2),
        (20, 1.0, 20.0, 0.2),
        (20, 1.0, 1.0, 0.002),
        (50, 1.5, 1.0, 0.2),
    ]
    .into_iter()
    .enumerate()
    {
        let s = summary(&stage(canaries), &scenario(sigma, burst, base, 1.0), number as u64);
        // At a true 1 % more than seven of 150 are seen in one cell of 3 000.
        assert!(s.harm_shown.hits <= 7, "{canaries}, {sigma}, {burst}, {base}: {s:?}");
        assert!(s.succeeded.share_ppm >= 930_000, "{canaries}, {sigma}, {burst}, {base}: {s:?}");
        shown += s.harm_shown.hits;
        passed += s.succeeded.hits;
        runs += RUNS;
    }
    assert!(shown * 50 <= runs, "{shown} false rollbacks in {runs} runs");
    assert!(passed * 100 >= runs * 96, "{passed} of {runs} passed");
}

#[test]
fn harmful_models_are_found() {
    for (canaries, burst, ratio, wanted_ppm) in
        [(5, 1.0, 3.0, 980_000), (5, 5.0, 3.0, 780_000), (5, 1.0, 2.0, 850_000), (20, 5.0, 3.0, 990_000)]
    {
        let s = summary(&stage(canaries), &scenario(1.0, burst, 0.2, ratio), 11);
        assert!(s.harm_shown.high_ppm >= wanted_ppm, "{canaries} canaries, burst {burst}, {ratio}x: {s:?}");
        assert!(s.harm_shown.share_ppm >= wanted_ppm - 60_000, "{canaries}, {burst}, {ratio}x: {s:?}");
    }
}

#[test]
fn harm_to_exactly_a_part_of_the_canaries_is_found() {
    for (canaries, share, wanted_ppm) in [(5, 0.4, 600_000), (20, 0.3, 950_000)] {
        let mut scenario = scenario(1.0, 1.0, 0.2, 5.0);
        (scenario.effect.affected_share, scenario.effect.exact_share) = (share, true);
        let s = summary(&stage(canaries), &scenario, 17);
        assert!(s.harm_shown.share_ppm >= wanted_ppm, "{share} of {canaries}: {s:?}");
    }
}

#[test]
fn unchanged_models_are_let_through_by_all_rules_together() {
    for (number, (offline, churn)) in [(0.0, 0.0), (0.1, 0.0), (0.0, 0.01)].into_iter().enumerate() {
        let mut setup = stage(20);
        setup.silence = SilenceRule::default();
        setup.hard = HardRule::beside([(OnBreach::RollBack, JudgedBy::Statistical)], setup.silence);
        let mut scenario = scenario(1.0, 1.0, 0.2, 1.0);
        (scenario.fleet.offline.share, scenario.fleet.offline.mean_windows) = (offline, 168.0);
        (scenario.fleet.churn_per_day, scenario.fleet.leavers_stay) = (churn, true);
        let s = summary(&setup, &scenario, number as u64);
        assert!(s.harm_shown.hits <= 7, "{offline}, {churn}: {s:?}");
        assert!(s.succeeded.share_ppm >= 930_000, "{offline}, {churn}: {s:?}");
    }
}

/// A small part of docs/methods-side-by-side.md: beside the judge, which keeps its promise on these fleets (see above), what
/// users would pick instead either takes good models back or misses bad ones.
#[test]
fn other_methods_take_good_models_back_or_miss_bad_ones() {
    // One request in 500 goes wrong: thresholds that are made for one in 20 and one in 100 see nothing of a rise to three.
    for method in [Method::Argo { failure_limit: 0 }, Method::Flagger] {
        let setup = Setup { rule: Rule::other(method), ..stage(5) };
        let bad = summary(&setup, &scenario(1.0, 1.0, 0.2, 3.0), 5);
        assert!(bad.harm_shown.high_ppm < 200_000, "{method:?}: {bad:?}");
    }
    // Devices differ, and their errors come together: not what tests of requests reckon with.
    for (method, burst) in [(Method::MannWhitney, 1.0), (Method::Msprt, 5.0)] {
        let setup = Setup { rule: Rule::other(method), ..stage(5) };
        let good = summary(&setup, &scenario(1.0, burst, 0.2, 1.0), 5);
        assert!(good.harm_shown.low_ppm > 50_000, "{method:?}: {good:?}");
    }
    // Five devices that differ so much are few for a comparison of means, without their own past.
    let setup = Setup { rule: Rule::other(Method::ConfidenceSequence), ..stage(5) };
    let bad = summary(&setup, &scenario(1.5, 5.0, 0.2, 3.0), 5);
    assert!(bad.harm_shown.high_ppm < 500_000, "{bad:?}");
}

/// The bar says when a method takes a candidate back: one that is never reached lets all through, and tells how near it came.
#[test]
fn a_method_takes_back_what_comes_above_its_bar() {
    let run = |bar: f64| {
        let setup = Setup { rule: Rule::Other { method: Method::Msprt, bar }, ..stage(20) };
        let simulation = Simulation::new(setup, &scenario(1.0, 5.0, 0.2, 1.0)).unwrap();
        (0..40).map(|run| simulation.run(5, run, &mut |_| {}).unwrap()).collect::<Vec<_>>()
    };
    let endless = run(f64::INFINITY);
    assert!(endless.iter().all(|o| o.detected_ms.is_none() && o.peak_millionths.is_some()));
    let bar = 3.0;
    let above: Vec<bool> = endless.iter().map(|o| o.peak_millionths.unwrap() > (bar * 1e6) as i64).collect();
    let taken_back: Vec<bool> = run(bar).iter().map(|o| o.detected_ms.is_some()).collect();
    assert_eq!(above, taken_back);
    assert!(above.contains(&true) && above.contains(&false));
}

/// Worlds that differ from the plain one in how rates change and in who lies; docs/judge-proof.md has all of them.
#[test]
fn unchanged_models_are_let_through_and_harm_is_found_in_other_worlds() {
    let (mut shown, mut runs) = (0, 0);
    let worlds: [(&str, Change); 5] = [
        ("autocorrelated", |s| {
            (s.fleet.autocorrelation.per_window, s.fleet.autocorrelation.sigma) = (0.95, 1.0);
        }),
        ("weeks, season and trend", |s| {
            (s.fleet.weekly_rhythm, s.fleet.season.height, s.fleet.trend_per_week) = (0.8, 0.5, 1.1);
        }),
        ("heavy tail", |s| (s.fleet.sigma, s.fleet.rate_tail) = (0.0, 1.2)),
        ("liars", |s| (s.fleet.liars.always_good, s.fleet.liars.always_bad) = (0.05, 0.02)),
        ("harm at night", |s| s.effect.hours = Some(Hours { from: 20, to: 8 })),
    ];
    for (number, (name, change)) in worlds.into_iter().enumerate() {
        let world = |ratio: f64| {
            let mut scenario = scenario(1.0, 1.0, 0.2, ratio);
            scenario.fleet.history_windows = 100;
            change(&mut scenario);
            scenario
        };
        let good = summary_of(60, &stage(20), &world(1.0), number as u64);
        // At a true 1 % more than four of 60 are seen in one cell of 2 500.
        assert!(good.harm_shown.hits <= 4, "{name}: {good:?}");
        assert!(good.succeeded.share_ppm >= 900_000, "{name}: {good:?}");
        (shown, runs) = (shown + good.harm_shown.hits, runs + 60);
        let bad = summary_of(30, &stage(20), &world(3.0), number as u64);
        assert!(bad.harm_shown.share_ppm >= 850_000, "{name}: {bad:?}");
    }
    assert!(shown * 50 <= runs, "{shown} false rollbacks in {runs} runs");
}

#[test]
fn the_default_stages_let_a_good_model_through() {
    let setup = Setup::hourly(Setup::default_stages(), vec![Objective::statistical("slo", 0)]);
    let simulation = Simulation::new(setup, &scenario(1.0, 5.0, 0.2, 1.0)).unwrap();
    let outcomes: Vec<_> = (0..20).map(|run| simulation.run(3, run, &mut |_| {}).unwrap()).collect();
    let s = Summary::of(Tested::FalseRollback, 4, &outcomes);
    assert!(s.succeeded.hits >= 19, "{s:?}");
}

/// What the plan says is found in four of five rollouts is, with an allowance that harm has to break.
#[test]
fn what_the_plan_claims_beside_an_allowance_is_found() {
    // 0.02 events a window, of devices that are all alike.
    let habits = FleetRates { share_ppm: 19_801, sigma_milli: 0, dispersion_milli: 0, past_windows: 600 };
    for (canaries, allowance_ppm) in [(20, 0), (20, 50_000), (20, 150_000), (60, 50_000)] {
        let shape = StageSize {
            fleet: 200,
            canaries,
            controls: 200 - canaries,
            windows: 60,
            reporting_ppm: 1_000_000,
            looks: 6,
            gates: 1,
        };
        let ratio = smallest_harm_ppm(&shape, &habits, 10_000_000, allowance_ppm, 800_000) as f64 * 1e-6;
        let mut setup = stage(canaries);
        setup.objectives[0].allowance_ppm = allowance_ppm;
        let s = summary(&setup, &scenario(0.0, 1.0, 0.02, ratio), 23);
        let found = f64::from(s.harm_shown.share_ppm) * 1e-6;
        assert!((0.65..0.97).contains(&found), "{canaries}, {allowance_ppm}, {ratio}x: {found}");
    }
}

/// Changing models costs a device windows whatever the model, behind the window of warm-up; controls do not pay.
fn with_swap_cost(mut scenario: Scenario, windows: u32) -> Scenario {
    scenario.effect.swap_cost_windows = 1 + windows;
    scenario
}

#[test]
fn the_cost_of_changing_models_takes_no_unchanged_model_back() {
    let (mut shown, mut runs) = (0, 0);
    for (number, (canaries, base, windows)) in
        [(5, 0.02, 1), (5, 0.002, 5), (20, 0.02, 2), (20, 0.2, 5), (60, 0.02, 5)].into_iter().enumerate()
    {
        let scenario = with_swap_cost(scenario(1.0, 1.0, base, 1.0), windows);
        let s = summary(&stage(canaries), &scenario, 31 + number as u64);
        assert!(s.harm_shown.hits <= 7, "{canaries}, {base}, {windows}: {s:?}");
        assert!(s.succeeded.share_ppm >= 930_000, "{canaries}, {base}, {windows}: {s:?}");
        shown += s.harm_shown.hits;
        runs += RUNS;
    }
    assert!(shown * 50 <= runs, "{shown} false rollbacks in {runs} runs");
}

#[test]
fn harm_that_lasts_is_found_whatever_the_change_of_models_costs() {
    for (canaries, base, windows) in [(20, 0.02, 5), (5, 0.2, 2)] {
        let s = summary(&stage(canaries), &with_swap_cost(scenario(1.0, 1.0, base, 3.0), windows), 37);
        assert!(s.harm_shown.share_ppm >= 930_000, "{canaries}, {base}, {windows}: {s:?}");
    }
}

/// A cost that outlasts the settling time holds the stage up, and is not taken for harm.
#[test]
fn a_longer_cost_of_changing_models_is_told_and_takes_nothing_back() {
    let simulation = Simulation::new(stage(5), &with_swap_cost(scenario(1.0, 1.0, 0.02, 1.0), 8)).unwrap();
    let (mut back, mut told) = (0, 0);
    for run in 0..50 {
        let mut said = false;
        let outcome = simulation.run(41, run, &mut |look| {
            said |= look.assessment.sentence.contains("observe.warmupWindows: 9 would leave them out");
        });
        back += u32::from(outcome.unwrap().detected_ms.is_some());
        told += u32::from(said);
    }
    assert!(back <= 2, "{back} of 50 taken back");
    assert!(told >= 45, "{told} of 50 told");
}

/// The rollout is told how late labels come: its looks and its deadlines wait for them, in the last stage too.
#[test]
fn late_labels_let_a_good_model_through() {
    let mut objective = Objective::statistical("slo", 0);
    objective.late_windows = 72;
    let mut setup = Setup::hourly(Setup::default_stages(), vec![objective]);
    let delay_ms = 72 * setup.window_ms();
    setup.parts.stages.iter_mut().for_each(|stage| stage.max_wait_ms += delay_ms);
    let mut scenario = scenario(1.0, 1.0, 0.2, 1.0);
    scenario.truth_delay_windows = PerSli::All(72.0);
    let simulation = Simulation::new(setup, &scenario).unwrap();
    let outcomes: Vec<_> = (0..20).map(|run| simulation.run(43, run, &mut |_| {}).unwrap()).collect();
    let s = Summary::of(Tested::FalseRollback, 4, &outcomes);
    assert!(s.succeeded.hits >= 19, "{s:?}");
}

/// `kinds` kinds of devices by site, the first of them so large a share of the fleet and with the first rate, the others
/// with the second.
fn kinds(scenario: &mut Scenario, kinds: usize, share: f64, ratios: [f64; 2]) {
    let rest = (1.0 - share) / (kinds - 1) as f64;
    let labels = |i: usize| [("site".to_owned(), format!("s{i}"))].into();
    let kind = |i: usize| StratumShare {
        labels: labels(i),
        share: if i == 0 { share } else { rest },
        rate_factor: 1.0,
    };
    let effect = |i: usize| StratumEffect {
        labels: labels(i),
        rate_ratio: PerSli::All(ratios[usize::from(i > 0)]),
        affected_share: 1.0,
        hard_failure_share: 0.0,
        incompatible_share: 0.0,
        silent_share: 0.0,
    };
    scenario.fleet.strata = (0..kinds).map(kind).collect();
    scenario.effect.strata = (0..kinds).map(effect).collect();
}

fn some(setup: Setup, scenario: &Scenario, runs: u64) -> Summary {
    let stages = setup.parts.stages.len();
    let simulation = Simulation::new(setup, scenario).unwrap();
    let outcomes: Vec<_> = (0..runs).map(|run| simulation.run(41, run, &mut |_| {}).unwrap()).collect();
    Summary::of(Tested::Detection, stages, &outcomes)
}

#[test]
fn harm_to_a_few_and_to_one_stratum_is_found() {
    // Before a quarter of the budget was theirs, none of these was found, and all of the first passed.
    for (canaries, number, share, ratios, spread, watched) in [
        (400, 2, 0.03, [20.0, 0.3], false, false),
        (200, 20, 0.05, [5.0, 0.5], true, false),
        (200, 20, 0.05, [5.0, 0.5], false, true),
    ] {
        let mut scenario = scenario(1.0, 1.0, 0.2, 1.0);
        scenario.fleet.devices = 2_000;
        kinds(&mut scenario, number, share, ratios);
        let mut setup = stage(canaries);
        if spread {
            setup.parts.stages[0].spread_by = vec!["site".to_owned()];
        }
        if watched {
            setup.parts.stages[0].watch_by = vec!["site".to_owned()];
        }
        let s = some(setup, &scenario, 10);
        assert!(s.harm_shown.hits >= 9 && s.succeeded.hits == 0, "{ratios:?}: {s:?}");
    }
}

#[test]
fn broken_devices_hold_up_no_good_model_and_hide_no_harm() {
    let mut scenario = scenario(1.0, 1.0, 0.2, 1.0);
    scenario.fleet.broken.share = 0.02;
    let unchanged = summary(&stage(20), &scenario, 5);
    assert!(unchanged.succeeded.share_ppm >= 940_000, "{unchanged:?}");
    scenario.effect.rate_ratio = PerSli::All(3.0);
    let harmful = summary(&stage(5), &scenario, 5);
    assert!(harmful.succeeded.hits <= 2 && harmful.harm_shown.share_ppm >= 850_000, "{harmful:?}");
}

#[test]
fn devices_that_are_often_switched_off_hold_up_no_good_model() {
    let mut scenario = scenario(1.0, 1.0, 0.2, 1.0);
    scenario.fleet.offline.share = 0.5;
    scenario.fleet.offline.pattern = modelfleet_simulation::OfflinePattern::Chronic;
    scenario.fleet.offline.works_on = false;
    let s = summary(&stage(50), &scenario, 5);
    // Half of these waited for a person while such arms were not compared.
    assert!(s.succeeded.share_ppm >= 940_000, "{s:?}");
}

#[test]
fn the_fix_passes_while_production_burns() {
    let mut scenario = scenario(1.0, 1.0, 0.02, 1.0);
    let burning = |spares_candidate| Outage {
        start_window: 0,
        windows: 100_000,
        labels: Default::default(),
        severity: 0.8,
        spares_candidate,
    };
    let setup = Setup::hourly(Setup::default_stages(), vec![Objective::statistical("slo", 50_000)]);
    scenario.outages = vec![burning(true)];
    let cured = some(setup.clone(), &scenario, 10);
    assert_eq!((cured.succeeded.hits, cured.incident.hits), (10, 0), "{cured:?}");
    // The default stages take five weeks; this is an emergency, and half of that is enough.
    assert!(cured.duration_ms.1 <= 18 * 86_400_000, "{:?}", cured.duration_ms);
    scenario.outages = vec![burning(false)];
    let common = some(setup, &scenario, 10);
    assert_eq!((common.succeeded.hits, common.incident.hits), (0, 10), "{common:?}");
}

#[test]
fn rare_events_pass_on_exposure_and_are_told_so() {
    let setup = Setup::hourly(Setup::default_stages(), vec![Objective::statistical("slo", 0)]);
    let s = some(setup.clone(), &scenario(1.0, 1.0, 1e-5, 3.0), 10);
    assert_eq!((s.succeeded.hits, s.on_exposure.hits), (10, 10), "{s:?}");
    // Asked for more windows than the canaries live through, the rollout waits.
    let mut asked = setup;
    asked.objectives[0].min_exposure = 1_000_000;
    let s = some(asked, &scenario(1.0, 1.0, 1e-5, 3.0), 10);
    assert_eq!((s.succeeded.hits, s.held.hits), (0, 10), "{s:?}");
}
