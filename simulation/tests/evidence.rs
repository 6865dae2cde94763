//! The shipped evidence rule as it works in a simulated rollout: what the judge is told at every look, and what of it
//! reaches the core. Each test fails where one line of the rule is changed; docs/evidence-mutants.md has the list.
#![allow(clippy::unwrap_used, reason = "a test may end where it stands")]

use modelfleet_judge::{Arm, DeviceOutcome, HardRule, JudgedBy, Looks, SilenceRule};
use modelfleet_protocol::draw::Target;
use modelfleet_protocol::selector::Selector;
use modelfleet_rollout::Stage;
use modelfleet_simulation::{
    End, Look, Objective, Outcome, Partition, PerSli, Rule, Scenario, Setup, Simulation, StratumEffect,
    StratumShare,
};

/// What the judge was told at one asking.
#[derive(Clone, Debug)]
struct Told {
    place: String,
    canaries: Vec<Seen>,
    controls: Vec<Seen>,
    looks: Looks,
    /// At the first objective.
    objective: Option<Looks>,
    stages_left: u16,
    seed: u64,
    /// Merged windows over their bound, and in all.
    breached: (usize, usize),
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    stratum: u16,
    attempted: bool,
    active: bool,
    reporting: bool,
    awaited: bool,
    settling: bool,
    failed: bool,
    known: u64,
}

fn told(look: &Look<'_>) -> Told {
    let observations = look.observations;
    let seen = |d: &DeviceOutcome<'_>| Seen {
        stratum: d.stratum,
        attempted: d.attempted,
        active: d.active,
        reporting: d.reporting,
        awaited: d.awaited,
        settling: d.settling,
        failed: d.hard_failure.is_some(),
        known: d.slos[0].post.known,
    };
    let of = |arm| observations.devices.iter().filter(|d| d.arm == arm).map(seen).collect();
    Told {
        place: look.place.to_owned(),
        canaries: of(Arm::Canary),
        controls: of(Arm::Control),
        looks: observations.looks,
        objective: observations.slos[0].looks,
        stages_left: observations.budget.stages_left,
        seed: observations.seed,
        breached: (observations.merged.iter().filter(|w| w.breached).count(), observations.merged.len()),
    }
}

/// Asks the judge at the beginning of every window; the first asking is a second after the stage opened, in the same window.
fn run(setup: Setup, scenario: &Scenario) -> (Outcome, Vec<Told>) {
    let simulation = Simulation::new(Setup { ask_always: true, ..setup }, scenario).unwrap();
    let mut all = Vec::new();
    let outcome = simulation.run(5, 0, &mut |look| all.push(told(look))).unwrap();
    (outcome, all)
}

/// Stages in which every rule has its share of the budget, and no device settles.
fn stages(stages: Vec<Stage>) -> Setup {
    let setup = Setup::hourly(stages, vec![Objective::statistical("slo", 0)]);
    Setup { settling_windows: Some(0), ..setup }
}

fn stage(canaries: u64, windows: u64) -> Stage {
    Setup::stage("canary", Target::Count(canaries), windows)
}

fn scenario(devices: u64) -> Scenario {
    let mut scenario = Scenario::default();
    scenario.fleet.devices = devices;
    scenario.fleet.base_rate = PerSli::All(0.2);
    scenario
}

fn site(name: &str) -> std::collections::BTreeMap<String, String> {
    [("site".to_owned(), name.to_owned())].into()
}

fn stratum((name, share): (&str, f64)) -> StratumShare {
    StratumShare { labels: site(name), share, rate_factor: 1.0 }
}

/// Canaries activate within the first window. It is of neither build, and the next one warms up.
#[test]
fn canaries_and_controls_count_from_the_same_window() {
    let (_, asked) = run(stages(vec![stage(5, 12)]), &scenario(60));
    for (window, told) in (1_u64..).zip(asked.iter().skip(1).take(12)) {
        let known = window.saturating_sub(2);
        assert!(
            told.canaries.iter().all(|canary| canary.active && canary.known == known),
            "{window}: {told:?}"
        );
        assert!(told.controls.iter().all(|control| control.known == known), "{window}: {told:?}");
        assert_eq!(told.looks, Looks { reached: (known * 6 / 12) as u16, planned: 6 }, "{window}");
        assert_eq!((told.canaries.len(), told.controls.len()), (5, 55));
    }
}

/// The first five windows behind the warm-up are compared and decide nothing; looks wait for them, and those at silence do not.
#[test]
fn devices_settle_after_a_change_of_models() {
    let setup = Setup { settling_windows: None, ..stages(vec![stage(5, 12)]) };
    let (_, asked) = run(setup, &scenario(60));
    for (window, told) in (1_u64..).zip(asked.iter().skip(1).take(18)) {
        let known = window.saturating_sub(7);
        let all = told.canaries.iter().chain(&told.controls);
        assert!(all.clone().all(|device| device.known == known), "{window}: {told:?}");
        assert!(told.canaries.iter().all(|canary| canary.settling == (known == 0)), "{window}: {told:?}");
        assert_eq!(told.objective, Some(Looks { reached: (known * 6 / 12) as u16, planned: 6 }), "{window}");
        assert_eq!(u64::from(told.looks.reached), window.saturating_sub(2) * 6 / 12, "{window}");
    }
    // Canaries that had the candidate before the stage settle no more.
    let second = Setup::stage("second", Target::Count(40), 12);
    let setup = Setup { settling_windows: None, ..stages(vec![stage(20, 12), second]) };
    let (_, asked) = run(setup, &scenario(200));
    let asked: Vec<&Told> = asked.iter().filter(|told| told.place.ends_with("second")).collect();
    let knows = |told: &Told, known: u64| told.canaries.iter().filter(|canary| canary.known == known).count();
    assert_eq!((knows(asked[4], 3), knows(asked[4], 0)), (20, 20), "{:?}", asked[4]);
    assert_eq!((knows(asked[9], 8), knows(asked[9], 2)), (20, 20), "{:?}", asked[9]);
}

/// Labels come two days late: looks at their objective do, and at nothing else.
#[test]
fn looks_wait_for_late_labels() {
    let mut setup = stages(vec![stage(5, 12)]);
    setup.objectives[0].late_windows = 48;
    setup.parts.stages[0].max_wait_ms += 48 * setup.window_ms();
    let mut scenario = scenario(60);
    scenario.truth_delay_windows = PerSli::All(48.0);
    let (outcome, asked) = run(setup, &scenario);
    for (window, told) in (1_u64..).zip(asked.iter().skip(1)) {
        let known = window.saturating_sub(2 + 48);
        assert_eq!(told.objective.map(|looks| u64::from(looks.reached)), Some(known * 6 / 12), "{window}");
        assert_eq!(u64::from(told.looks.reached), window.saturating_sub(2) * 6 / 12, "{window}");
    }
    assert_eq!(outcome.end, End::Succeeded, "{outcome:?}");
    assert!(asked.len() > 60, "{}", asked.len());
}

/// Downloads are spread over ten windows: each control counts from where some canary does.
#[test]
fn each_control_takes_the_start_of_a_canary() {
    let mut setup = stages(vec![stage(21, 30)]);
    setup.parts.fetch.spread_ms = 10 * setup.window_ms();
    let (_, asked) = run(setup, &scenario(300));
    let last = &asked[30];
    let known = |arm: &[Seen]| arm.iter().map(|device| device.known).collect::<Vec<u64>>();
    let mut canaries = known(&last.canaries);
    canaries.sort_unstable();
    assert!(canaries[0] + 6 < canaries[20], "they start apart: {canaries:?}");
    assert!(known(&last.controls).iter().all(|known| canaries.contains(known)), "{last:?}");
    let mean = |known: &[u64]| known.iter().sum::<u64>() as f64 / known.len() as f64;
    assert!((mean(&canaries) - mean(&known(&last.controls))).abs() < 1.0);
    // Half of the canaries have reported so many windows.
    for told in &asked[11..31] {
        let mut known = known(&told.canaries);
        known.sort_unstable();
        assert_eq!(u64::from(told.looks.reached), known[10] * 6 / 30, "{known:?}");
    }
}

#[test]
fn a_canary_that_waits_for_its_download_has_tried_nothing() {
    let mut setup = stages(vec![stage(21, 30)]);
    setup.parts.fetch.spread_ms = 10 * setup.window_ms();
    let (_, asked) = run(setup, &scenario(100));
    let waiting = |told: &Told| told.canaries.iter().filter(|canary| !canary.active).count();
    assert!(waiting(&asked[1]) > 10, "{:?}", asked[1]);
    for told in &asked[..6] {
        assert!(told.canaries.iter().all(|canary| canary.attempted == canary.active), "{told:?}");
    }
}

/// A stage counts from its own opening, not from that of the stage in which a device got the candidate.
#[test]
fn the_next_stage_counts_and_spends_anew() {
    let second = Setup::stage("second", Target::Count(40), 12);
    let last = Setup::stage("all", Target::Ppm(1_000_000), 5);
    let (outcome, asked) = run(stages(vec![stage(20, 12), second, last]), &scenario(200));
    assert_eq!(outcome.end, End::Succeeded);
    let of =
        |stage: &str| asked.iter().filter(|told| told.place.ends_with(stage)).cloned().collect::<Vec<_>>();
    let (first, second, last) = (of("canary"), of("second"), of("all"));
    assert_eq!([&first, &second, &last].map(|told| told[0].stages_left), [3, 2, 1]);
    assert!(
        first[0].seed == first[5].seed && first[0].seed != second[0].seed && second[0].seed != last[0].seed
    );
    // Half of the canaries had it before: they count from the first window of the stage and its warm-up on.
    for (window, told) in (0_u64..).zip(second.iter().take(8)) {
        let most = told.canaries.iter().map(|canary| canary.known).max().unwrap();
        assert_eq!(most, window.saturating_sub(1), "{told:?}");
        assert!(u64::from(told.looks.reached) <= window * 6 / 12, "{told:?}");
    }
    assert_eq!((second[0].looks.reached, second[0].canaries.len()), (0, 40));
}

/// Canaries hang once they have the candidate. They were heard last when the stage opened, and may be silent for three
/// windows; the looks go on by the clock.
#[test]
fn canaries_that_hang_are_silent_after_three_windows_and_do_not_hold_up_the_looks() {
    let mut scenario = scenario(100);
    scenario.effect.silent_share = 1.0;
    let (outcome, asked) = run(stages(vec![stage(20, 6)]), &scenario);
    for (window, told) in (0_u64..).zip(&asked) {
        let silent = told.canaries.iter().filter(|canary| canary.attempted && !canary.reporting).count();
        assert_eq!(silent, if window > 3 { 20 } else { 0 }, "{window}");
        assert!(told.controls.iter().all(|control| control.reporting));
        let passed = if window > 3 { window - 2 } else { 0 };
        assert_eq!(u64::from(told.looks.reached), passed, "{window}");
    }
    assert_eq!(outcome.end, End::RolledBack, "{outcome:?}");
}

/// Some reports are lost, so that devices were heard last before the second stage opened; its canaries hang at once, and
/// then the line is cut. That they activated is the only sign of life that they gave in the stage.
#[test]
fn to_activate_is_a_sign_of_life() {
    let mut scenario = scenario(100);
    scenario.network.report_loss = 0.5;
    scenario.fleet.strata = [("first", 1.0), ("other", 9.0)].map(stratum).into();
    let mut first = stage(3, 6);
    first.selector = Selector { match_labels: site("first"), ..Selector::default() };
    let setup = || stages(vec![first.clone(), Setup::stage("second", Target::Count(60), 30)]);
    let opened = run(setup(), &scenario).1.iter().position(|told| told.place.ends_with("second")).unwrap();
    scenario.effect.strata = vec![StratumEffect {
        labels: site("other"),
        rate_ratio: PerSli::All(1.0),
        affected_share: 0.0,
        hard_failure_share: 0.0,
        incompatible_share: 0.0,
        silent_share: 1.0,
    }];
    // In the window in which the second stage opens, both are asked about.
    let window = opened as u32 - 1;
    scenario.network.partitions =
        vec![Partition { start_window: window + 1, windows: 9, labels: Default::default() }];
    let (_, asked) = run(setup(), &scenario);
    let told: Vec<&Told> = asked.iter().filter(|told| told.place.ends_with("second")).collect();
    let active = told[2].canaries.iter().filter(|canary| canary.active).count();
    let attempted = told[2].canaries.iter().filter(|canary| canary.active && canary.attempted).count();
    let controls = told[2].controls.iter().filter(|control| !control.attempted).count();
    assert!(active > 30 && controls > 5, "{active}, {controls}");
    assert!(attempted + 5 >= active, "{attempted} of {active}");
}

#[test]
fn devices_that_cannot_run_the_build_are_in_neither_arm_and_hold_nothing_up() {
    let mut scenario = scenario(200);
    scenario.effect.incompatible_share = 0.7;
    let last = Setup::stage("all", Target::Ppm(1_000_000), 10);
    let (outcome, asked) = run(stages(vec![stage(60, 20), last]), &scenario);
    assert_eq!(outcome.end, End::Succeeded, "{outcome:?}");
    let canaries = asked[3].canaries.len();
    assert!((10..30).contains(&canaries), "{canaries} of 60");
    assert!(asked[1..].iter().flat_map(|told| &told.canaries).all(|canary| !canary.failed));
    assert_eq!(asked[3].controls.len(), 140);
    assert!(outcome.exposed < 100, "{outcome:?}");
}

#[test]
fn a_candidate_that_no_device_can_run_goes_back_at_once_and_did_no_harm() {
    let mut scenario = scenario(100);
    scenario.effect.incompatible_share = 1.0;
    let (outcome, _) = run(stages(vec![stage(20, 12)]), &scenario);
    assert_eq!(
        (outcome.end, outcome.detected_ms, outcome.exposed),
        (End::RolledBack, None, 0),
        "{outcome:?}"
    );
    assert!(outcome.duration_ms < 2 * 3_600_000, "{outcome:?}");
}

#[test]
fn a_device_on_which_the_candidate_does_not_start_was_not_exposed_to_it() {
    let mut scenario = scenario(100);
    scenario.effect.hard_failure_share = 1.0;
    let (outcome, asked) = run(stages(vec![stage(20, 12)]), &scenario);
    assert_eq!((outcome.end, outcome.exposed), (End::RolledBack, 0), "{outcome:?}");
    // The first was set aside, and the second one is tested together with it.
    let failed = |told: &Told| told.canaries.iter().filter(|canary| canary.failed).count();
    assert!(asked.iter().map(failed).any(|failed| failed > 1), "{asked:?}");
    assert!(outcome.sentence.contains("LoadRefused"), "{outcome:?}");
}

#[test]
fn a_device_that_was_set_aside_stays_a_canary_that_failed() {
    let mut scenario = scenario(200);
    scenario.effect.hard_failure_share = 0.05;
    let (_, asked) = run(stages(vec![stage(20, 12)]), &scenario);
    let failed = |told: &Told| told.canaries.iter().filter(|canary| canary.failed).count();
    assert_eq!(asked.iter().skip(3).map(failed).min(), Some(1), "long after it was set aside");
    assert!(asked.len() > 8 && asked.iter().all(|told| told.canaries.len() == 20));
}

#[test]
fn the_stage_waits_for_no_device_that_is_out_of_reach() {
    let mut scenario = scenario(100);
    scenario.network.partitions = vec![Partition { start_window: 6, windows: 4, labels: Default::default() }];
    let (_, asked) = run(stages(vec![stage(20, 30)]), &scenario);
    let awaited = |told: &Told| told.canaries.iter().filter(|canary| canary.awaited).count();
    assert_eq!([3, 9, 15].map(|at| awaited(&asked[at])), [20, 0, 20]);
}

#[test]
fn a_device_that_was_away_since_before_the_stage_says_nothing_of_it() {
    let mut scenario = scenario(400);
    scenario.fleet.offline.share = 0.3;
    scenario.fleet.offline.mean_windows = 300.0;
    let second = Setup::stage("second", Target::Count(120), 12);
    let (_, asked) = run(stages(vec![stage(60, 12), second]), &scenario);
    let told = asked.iter().find(|told| told.place.ends_with("second")).unwrap();
    let away = |arm: &[Seen]| arm.iter().filter(|device| !device.attempted).count();
    assert!(away(&told.controls) > 40, "{}", away(&told.controls));
    let silent = |device: &&Seen| device.attempted && !device.reporting;
    assert!(told.controls.iter().filter(silent).count() < 10);
}

/// A first stage from one site makes a stratum of it: its canaries are compared with its own devices alone.
#[test]
fn devices_are_compared_with_those_that_had_the_same_chances_in_every_draw() {
    let mut scenario = scenario(200);
    scenario.fleet.strata = ["s0", "s1", "s2", "s3"].map(|name| stratum((name, 1.0))).into();
    let mut first = stage(10, 12);
    first.selector = Selector { match_labels: site("s1"), ..Selector::default() };
    let second = Setup::stage("second", Target::Count(60), 12);
    let (_, asked) = run(stages(vec![first, second]), &scenario);
    let last = asked.last().unwrap();
    assert!(last.place.ends_with("second"), "{last:?}");
    let strata = |arm: &[Seen]| {
        let mut strata: Vec<u16> = arm.iter().map(|device| device.stratum).collect();
        strata.sort_unstable();
        strata.dedup();
        strata
    };
    assert_eq!((strata(&last.canaries), strata(&last.controls)), (vec![0, 1], vec![0, 1]));
}

#[test]
fn a_merged_value_at_its_bound_is_no_breach() {
    let mut setup = stages(vec![stage(20, 12)]);
    setup.objectives[0].judged_by = JudgedBy::Plain { for_windows: 3 };
    let mut calm = scenario(100);
    calm.fleet.base_rate = PerSli::All(0.0);
    let (outcome, asked) = run(setup.clone(), &calm);
    let last = asked.last().unwrap();
    assert!(last.breached.0 == 0 && last.breached.1 > 10, "{last:?}");
    assert_eq!(outcome.end, End::Succeeded);
    let mut harmful = scenario(100);
    (harmful.fleet.base_rate, harmful.effect.rate_ratio) = (PerSli::All(0.01), PerSli::All(900.0));
    setup.objectives[0].breach_share_ppm = 500;
    let (outcome, asked) = run(setup, &harmful);
    assert!(asked.last().unwrap().breached.0 > 2);
    assert_eq!(outcome.end, End::RolledBack);
}

#[test]
fn only_shown_harm_takes_a_candidate_back() {
    let mut setup = Setup::one_stage(20, 30, Objective::statistical("slo", 0));
    (setup.silence, setup.hard) = (SilenceRule { weight: 0, ..SilenceRule::default() }, HardRule::default());
    let (outcome, _) = run(setup.clone(), &scenario(200));
    assert_eq!(outcome.end, End::Succeeded);
    let mut harmful = scenario(200);
    harmful.effect.rate_ratio = PerSli::All(6.0);
    assert_eq!(run(setup.clone(), &harmful).0.end, End::RolledBack);
    setup.objectives[0].on_breach = modelfleet_judge::OnBreach::Pause;
    let (outcome, _) = run(Setup { rule: Rule::Judge, ..setup }, &harmful);
    assert_eq!((outcome.end, outcome.detected_ms), (End::Held, None), "what pauses a rollout shows no harm");
}
