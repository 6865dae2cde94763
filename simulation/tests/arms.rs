//! What the judge is told of both arms, under the scenario's knobs that make them differ.
#![allow(clippy::unwrap_used, reason = "a test may end where it stands")]

use modelfleet_judge::{Arm, DeviceOutcome};
use modelfleet_protocol::draw::Target;
use modelfleet_simulation::{
    End, Objective, PerSli, Scenario, Setup, ShortReports, ShortenedArm, Simulation,
};

/// Every device of every look of one run, with the stage's place.
fn looks(setup: &Setup, scenario: &Scenario, mut told: impl FnMut(&str, &[DeviceOutcome<'_>])) -> End {
    let simulation = Simulation::new(setup.clone(), scenario).unwrap();
    simulation.run(3, 0, &mut |look| told(look.place, look.observations.devices)).unwrap().end
}

/// The last look's most known windows: past and stage of canaries, then of controls.
fn most_known(scenario: &Scenario) -> [(u64, u64); 2] {
    let setup = Setup::one_stage(20, 60, Objective::statistical("slo", 0));
    let mut last = [(0, 0); 2];
    looks(&setup, scenario, |_, devices| {
        last = [Arm::Canary, Arm::Control].map(|arm| {
            let counts = devices.iter().filter(|d| d.arm == arm).map(|d| d.counts(0));
            counts.fold((0, 0), |most, c| (c.history.known.max(most.0), c.post.known.max(most.1)))
        });
    });
    last
}

fn scenario() -> Scenario {
    let mut scenario = Scenario::default();
    scenario.fleet.base_rate = PerSli::All(0.2);
    scenario
}

#[test]
fn arms_are_alike_unless_a_scenario_says_otherwise() {
    let [canary, control] = most_known(&scenario());
    assert_eq!(canary, control);
    assert_eq!(canary.0, 600);
    assert!(canary.1 >= 60);
}

#[test]
fn a_bounded_memory_shortens_the_past_of_controls_only() {
    let mut scenario = scenario();
    scenario.fleet.memory_windows = 600;
    let [canary, control] = most_known(&scenario);
    assert_eq!(canary.0, 600, "the candidate runs from the first window on");
    assert!((530..=541).contains(&control.0), "{control:?}");
    assert_eq!(canary.1, control.1);
}

#[test]
fn short_reports_leave_windows_out_in_one_arm_only() {
    let mut scenario = scenario();
    for (merged, expected) in [(0, 32..=32), (16, 45..=60)] {
        for (arm, shortened) in [(ShortenedArm::Canaries, 0), (ShortenedArm::Controls, 1)] {
            scenario.network.short_reports = Some(ShortReports { arm, newest: 32, merged });
            let arms = most_known(&scenario);
            assert!(expected.contains(&arms[shortened].1), "{arm:?}, merged {merged}: {arms:?}");
            assert!(arms[1 - shortened].1 > arms[shortened].1, "{arm:?}, merged {merged}: {arms:?}");
        }
    }
}

/// Three stages in which many canaries of the first are away or gone when the second opens.
fn stages() -> Setup {
    let stages = vec![
        Setup::stage("first", Target::Count(500), 60),
        Setup::stage("second", Target::Count(1_000), 60),
        Setup::stage("all", Target::Ppm(1_000_000), 10),
    ];
    Setup::hourly(stages, vec![Objective::statistical("slo", 0)])
}

#[test]
fn who_was_away_before_the_stage_is_silent_in_neither_arm() {
    let mut away = scenario();
    away.fleet.devices = 3_000;
    away.fleet.offline.share = 0.1;
    away.fleet.offline.mean_windows = 168.0;
    let mut leaving = scenario();
    leaving.fleet.devices = 3_000;
    leaving.fleet.churn_per_day = 0.03;
    leaving.fleet.leavers_stay = true;
    for scenario in [away, leaving] {
        let mut left_out = [0, 0];
        let mut silent = [0.0, 0.0];
        let end = looks(&stages(), &scenario, |place, devices| {
            if !place.ends_with("second") {
                return;
            }
            let count =
                |holds: &dyn Fn(&DeviceOutcome<'_>) -> bool| devices.iter().filter(|d| holds(d)).count();
            let in_arm = |d: &DeviceOutcome<'_>, arm| d.arm == arm && (d.active || arm == Arm::Control);
            for (at, arm) in [Arm::Canary, Arm::Control].into_iter().enumerate() {
                left_out[at] = count(&|d| in_arm(d, arm) && !d.attempted).max(left_out[at]);
                let counted = count(&|d| in_arm(d, arm) && d.attempted);
                silent[at] =
                    count(&|d| in_arm(d, arm) && d.attempted && !d.reporting) as f64 / counted as f64;
            }
        });
        assert_eq!(end, End::Succeeded);
        assert!(left_out.iter().all(|&devices| devices > 5), "{left_out:?}");
        assert!((silent[0] - silent[1]).abs() < 0.03, "{silent:?}");
    }
}
