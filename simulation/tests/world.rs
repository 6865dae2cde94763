//! The simulation is deterministic, keeps the core's promises, and finds what it is told to do.
#![allow(clippy::unwrap_used, reason = "a test may end where it stands")]

use modelfleet_protocol::draw::Target;
use modelfleet_rollout::EventKind;
use modelfleet_simulation::{
    Effect, End, Happened, Objective, Outage, Outcome, Partition, PerSli, Scenario, Setup, Simulation,
    StoryLine, StratumEffect, StratumShare,
};

fn scenario() -> Scenario {
    let mut scenario = Scenario::default();
    scenario.fleet.base_rate = PerSli::All(0.2);
    scenario
}

/// Two stages of 60 windows and the rest.
fn setup() -> Setup {
    let stages = vec![
        Setup::stage("canary", Target::Count(5), 60),
        Setup::stage("early", Target::Ppm(100_000), 60),
        Setup::stage("full", Target::Ppm(1_000_000), 10),
    ];
    Setup::hourly(stages, vec![Objective::statistical("errors", 0)])
}

fn runs(setup: &Setup, scenario: &Scenario, runs: u64) -> Vec<Outcome> {
    let simulation = Simulation::new(setup.clone(), scenario).unwrap();
    (0..runs).map(|run| simulation.run(7, run, &mut |_| {}).unwrap()).collect()
}

fn count(outcomes: &[Outcome], holds: fn(&Outcome) -> bool) -> usize {
    outcomes.iter().filter(|o| holds(o)).count()
}

#[test]
fn the_same_seed_gives_the_same_outcome() {
    let (setup, scenario) = (setup(), scenario());
    let forward = runs(&setup, &scenario, 6);
    let simulation = Simulation::new(setup, &scenario).unwrap();
    let mut backward: Vec<_> = (0..6).rev().map(|run| simulation.run(7, run, &mut |_| {}).unwrap()).collect();
    backward.reverse();
    assert_eq!(forward, backward);
    let simulation_told: Vec<_> = (0..6).map(|run| simulation.tell(7, run).unwrap()).collect();
    assert!(simulation_told.iter().map(|(outcome, _)| outcome).eq(&forward), "telling changes nothing");
    assert!(
        simulation_told.iter().all(|(_, story)| story.len() > 4 && story.is_sorted_by_key(|line| line.at_ms))
    );
    let looks = |seed| {
        let mut said = Vec::new();
        simulation.run(seed, 0, &mut |look| said.push(look.assessment.statistics.clone())).unwrap();
        said
    };
    assert_eq!(looks(7), looks(7));
    assert_ne!(looks(7), looks(8));
}

#[test]
fn asking_seldom_changes_nothing_in_small_stages() {
    let mut scenario = scenario();
    scenario.fleet.offline.share = 0.2;
    scenario.fleet.devices = 90;
    scenario.outages = vec![Outage {
        start_window: 70,
        windows: 10,
        labels: Default::default(),
        severity: 0.9,
        spares_candidate: false,
    }];
    for ratio in [1.0, 4.0] {
        scenario.effect.rate_ratio = PerSli::All(ratio);
        let seldom = setup();
        let always = Setup { ask_always: true, ..setup() };
        let without_spent = |outcomes: Vec<Outcome>| -> Vec<_> {
            outcomes.into_iter().map(|o| (o.end, o.stage, o.detected_ms, o.duration_ms, o.exposed)).collect()
        };
        assert_eq!(
            without_spent(runs(&seldom, &scenario, 8)),
            without_spent(runs(&always, &scenario, 8)),
            "ratio {ratio}"
        );
    }
}

#[test]
fn a_good_model_gets_through_and_a_bad_one_does_not_spread() {
    let good = runs(&setup(), &scenario(), 40);
    assert!(count(&good, |o| o.end == End::Succeeded) >= 38, "{good:?}");
    let mut harmful = scenario();
    harmful.effect.rate_ratio = PerSli::All(4.0);
    let bad = runs(&setup(), &harmful, 20);
    assert!(count(&bad, |o| o.end == End::RolledBack && o.detected_ms.is_some()) >= 19, "{bad:?}");
    assert!(count(&bad, |o| o.exposed == 5) >= 15, "{bad:?}");
}

#[test]
fn a_model_that_does_not_start_is_taken_back_at_its_second_failure() {
    let mut scenario = scenario();
    scenario.effect.hard_failure_share = 0.8;
    let outcomes = runs(&setup(), &scenario, 20);
    // Failures come one by one, and each failed device is set aside at once: they are tested together all the same.
    // Where chance gives a canary only one device that fails, the first of the next stage is the second one.
    assert_eq!(count(&outcomes, |o| o.end == End::RolledBack && o.exposed <= 6), 20, "{outcomes:?}");
    let soon = |o: &Outcome| o.stage == 0 && o.detected_ms.is_some_and(|ms| ms <= 2 * 3_600_000);
    assert_eq!(count(&outcomes, soon), 19, "{outcomes:?}");
}

#[test]
fn harm_in_one_stratum_is_found_when_the_canary_is_spread() {
    let strata = ["young", "old"].map(|age| StratumShare {
        labels: [("age".to_owned(), age.to_owned())].into(),
        share: if age == "old" { 1.0 } else { 3.0 },
        rate_factor: 1.0,
    });
    let mut scenario = scenario();
    scenario.effect.strata = vec![StratumEffect {
        labels: strata[1].labels.clone(),
        rate_ratio: PerSli::All(5.0),
        affected_share: 1.0,
        hard_failure_share: 0.0,
        incompatible_share: 0.0,
        silent_share: 0.0,
    }];
    scenario.fleet.strata = strata.into();
    let mut setup = setup();
    for stage in &mut setup.parts.stages {
        stage.spread_by = vec!["age".to_owned()];
    }
    let outcomes = runs(&setup, &scenario, 20);
    // One of five canaries is old: that may leave the canary undecided, but nobody passes the second stage.
    assert_eq!(count(&outcomes, |o| o.end == End::Succeeded || o.exposed > 20), 0, "{outcomes:?}");
    assert!(count(&outcomes, |o| o.end == End::RolledBack) >= 8, "{outcomes:?}");
}

#[test]
fn an_outage_common_to_all_pauses_and_does_not_roll_back() {
    let mut scenario = scenario();
    scenario.fleet.base_rate = PerSli::All(0.02);
    scenario.outages = vec![Outage {
        start_window: 20,
        windows: 8,
        labels: Default::default(),
        severity: 0.9,
        spares_candidate: false,
    }];
    let mut setup = setup();
    setup.objectives[0].allowance_ppm = 50_000;
    let outcomes = runs(&setup, &scenario, 30);
    assert_eq!(count(&outcomes, |o| o.incident), 30);
    assert_eq!(count(&outcomes, |o| o.detected_ms.is_some()), 0);
    assert!(count(&outcomes, |o| o.end == End::Succeeded) >= 28, "goes on when the outage is over");
}

/// Production is bad in most windows, and the candidate mends that: it gets through at once, also past small canaries.
#[test]
fn the_fix_gets_through_while_production_burns() {
    for (canaries, severity) in [(1, 0.9), (5, 0.7), (20, 0.5)] {
        let mut scenario = scenario();
        scenario.fleet.base_rate = PerSli::All(0.02);
        scenario.outages = vec![Outage {
            start_window: 0,
            windows: 10_000,
            labels: Default::default(),
            severity,
            spares_candidate: true,
        }];
        let mut setup = setup();
        setup.objectives[0].allowance_ppm = 50_000;
        setup.parts.stages[0].target = Target::Count(canaries);
        let outcomes = runs(&setup, &scenario, 20);
        assert_eq!(count(&outcomes, |o| o.incident), 0, "{canaries}: {outcomes:?}");
        assert!(count(&outcomes, |o| o.end == End::Succeeded) >= 19, "{canaries}: {outcomes:?}");
    }
}

/// One of two sites that are no strata is cut off for a day: where it has most of the canaries, the stage waits for it by its
/// name and goes on by itself; no good model is taken back, and one that silences its devices is found all the same.
#[test]
fn a_site_that_is_cut_off_is_waited_for_and_not_held_against_the_model() {
    let mut scenario = scenario();
    let labels = |name: &str| [("site".to_owned(), name.to_owned())].into();
    scenario.fleet.strata = ["north", "south"]
        .map(|name| StratumShare { labels: labels(name), share: 1.0, rate_factor: 1.0 })
        .into();
    scenario.network.partitions = vec![Partition { start_window: 20, windows: 24, labels: labels("north") }];
    let outcomes = runs(&setup(), &scenario, 20);
    assert_eq!(count(&outcomes, |o| o.detected_ms.is_some()), 0, "{outcomes:?}");
    assert!(count(&outcomes, |o| o.end == End::Succeeded) >= 19, "{outcomes:?}");
    let simulation = Simulation::new(setup(), &scenario).unwrap();
    let waits = outcomes.iter().position(|o| o.incident).unwrap() as u64;
    let (_, story) = simulation.tell(7, waits).unwrap();
    let told = |line: &&StoryLine| matches!(&line.happened, Happened::Event { kind: EventKind::Paused, message } if message.contains("Site north is cut off: "));
    assert!(story.iter().any(|line| told(&line)), "{story:?}");
    scenario.effect.silent_share = 1.0;
    let silenced = runs(&setup(), &scenario, 20);
    assert_eq!(count(&silenced, |o| o.detected_ms.is_some()), 20, "{silenced:?}");
}

#[test]
fn silence_is_found() {
    let mut scenario = scenario();
    scenario.effect = Effect { silent_share: 0.8, ..Effect::default() };
    let outcomes = runs(&setup(), &scenario, 20);
    assert_eq!(count(&outcomes, |o| o.end == End::Succeeded), 0, "{outcomes:?}");
}

#[test]
fn nothing_panics_on_odd_fleets() {
    let mut scenario = Scenario::default();
    for devices in [1, 2, 5] {
        scenario.fleet.devices = devices;
        scenario.fleet.history_windows = 0;
        scenario.fleet.offline.share = 0.9;
        scenario.network.report_delay_windows = 100;
        scenario.truth_delay_windows = PerSli::All(1_000.0);
        runs(&setup(), &scenario, 2);
    }
    scenario.fleet.sigma = f64::NAN;
    assert!(Simulation::new(setup(), &scenario).is_err());
}

/// Half of the canaries have something worse, so that the canary stage stays undecided.
#[test]
fn an_undecided_stage_that_goes_back_is_undecided() {
    let mut setup = setup();
    setup.parts.on_undecided = modelfleet_rollout::OnUndecided::RollBack;
    let mut scenario = scenario();
    scenario.effect.rate_ratio = PerSli::All(1.5);
    let outcomes = runs(&setup, &scenario, 20);
    let went_back = |o: &&Outcome| o.end == End::RolledBack && o.detected_ms.is_none();
    assert!(outcomes.iter().filter(went_back).count() > 0, "{outcomes:?}");
    assert!(outcomes.iter().filter(went_back).all(|o| o.undecided), "{outcomes:?}");
}

#[test]
fn a_rollout_for_nobody_says_so() {
    let mut setup = setup();
    for stage in &mut setup.parts.stages {
        stage.selector.match_labels = [("site".to_owned(), "nowhere".to_owned())].into();
    }
    let outcome = runs(&setup, &scenario(), 1).remove(0);
    assert_eq!((outcome.end, outcome.exposed), (End::RolledBack, 0));
    assert!(
        outcome.sentence.contains("no device matched the selector of stage canary"),
        "{}",
        outcome.sentence
    );
}

#[test]
fn a_number_for_each_objective_is_read_or_refused_with_what_is_allowed() {
    let read = |text: &str| serde_json::from_str::<PerSli>(text);
    assert_eq!(read("3").unwrap(), PerSli::All(3.0));
    assert_eq!(read("-0.5").unwrap(), PerSli::All(-0.5));
    assert_eq!(read(r#"{"errors": 2}"#).unwrap(), PerSli::By([("errors".to_owned(), 2.0)].into()));
    for wrong in ["[1]", "\"much\"", "null", "true"] {
        let said = read(wrong).unwrap_err().to_string();
        assert!(said.contains("expected a number for all SLOs such as 0.02"), "{wrong}: {said}");
    }
}

/// Contact is lost with all devices that have the candidate: whether others are left or not, no other device gets it.
#[test]
fn a_candidate_that_silences_its_devices_pauses() {
    for (devices, target) in [(40, Target::Count(5)), (12, Target::Ppm(1_000_000))] {
        let stages =
            vec![Setup::stage("canary", target, 60), Setup::stage("full", Target::Ppm(1_000_000), 60)];
        let mut setup = Setup::hourly(stages, vec![Objective::statistical("slo", 0)]);
        setup.silence.weight = 0;
        let mut scenario = Scenario::default();
        scenario.fleet.devices = devices;
        scenario.effect.silent_share = 1.0;
        let simulation = Simulation::new(setup, &scenario).unwrap();
        let outcome = simulation.run(1, 0, &mut |_| {}).unwrap();
        assert!(outcome.paused && outcome.end == End::Held, "{devices}: {outcome:?}");
        assert!(outcome.sentence.contains("contact is lost"), "{devices}: {outcome:?}");
    }
}

/// Switched off for ten hours a night, a fleet does not lose contact each night in its last stage for all, where no device is left
/// to compare with: the devices of the stages before tell that it is a night. With one stage alone the first night is not known.
#[test]
fn nights_pause_no_stage_once_they_are_known() {
    let mut scenario = scenario();
    scenario.fleet.offline.share = 10.0 / 24.0;
    scenario.fleet.offline.pattern = modelfleet_simulation::OfflinePattern::Night;
    scenario.fleet.offline.works_on = false;
    let stages = vec![
        Setup::stage("canary", Target::Ppm(200_000), 3 * 24),
        Setup::stage("full", Target::Ppm(1_000_000), 5 * 24),
    ];
    let pauses = |stages: Vec<_>| {
        let setup = Setup::hourly(stages, vec![Objective::statistical("errors", 0)]);
        let (outcome, story) = Simulation::new(setup, &scenario).unwrap().tell(7, 0).unwrap();
        assert_eq!(outcome.end, End::Succeeded, "{outcome:?}");
        let lost = |line: &&StoryLine| matches!(&line.happened, Happened::Event { kind: EventKind::Paused, message } if message.contains("contact is lost"));
        story.iter().filter(lost).count()
    };
    assert_eq!(pauses(stages.clone()), 0);
    assert_eq!(pauses(stages[1..].to_vec()), 1, "its first night");
}
