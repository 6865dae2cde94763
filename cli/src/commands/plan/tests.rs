use modelfleet_protocol::draw::Target;
use modelfleet_protocol::selector::{Operator, Requirement};
use modelfleet_simulation::{Objective, PerSli, StratumShare};

use super::*;

/// By the formula alone.
const FORMULA: Effort = Effort { runs: 0, device_windows: 0, seed: 1 };

fn plan(setup: &Setup, scenario: &Scenario) -> Result<String, PolicyError> {
    sizing(setup, scenario, FORMULA, YearlyArguments { per_year: None, per_year_expected: None })
}

fn setup() -> Setup {
    let objectives = ["errors", "slow"].map(|name| Objective::statistical(name, 0)).into();
    let stages = vec![
        Setup::stage("canary", Target::Count(5), 60),
        Setup::stage("broad", Target::Ppm(500_000), 60),
        Setup::stage("full", Target::Ppm(1_000_000), 60),
    ];
    Setup::hourly(stages, objectives)
}

fn scenario(rate: f64) -> Scenario {
    let mut scenario = Scenario::default();
    scenario.fleet.base_rate = PerSli::All(rate);
    scenario
}

/// The rise under FINDS that the formula says.
fn computed(line: &str) -> f64 {
    let cell = line.split_whitespace().find_map(|cell| cell.strip_prefix('~')).unwrap();
    cell.trim_end_matches('x').parse().unwrap()
}

#[test]
fn each_stage_says_what_it_can_prove() {
    let text = plan(&setup(), &scenario(0.2)).unwrap();
    let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(line("canary").contains("each") && line("canary").contains("46%"), "{text}");
    assert!(computed(&line("canary")) > computed(&line("broad")), "{text}");
    assert!(text.contains("warning: full: no controls are left"), "{text}");
    assert!(!text.contains("warning: canary"), "{text}");
}

#[test]
fn a_stage_that_proves_nothing_is_warned_of() {
    let text = plan(&setup(), &scenario(0.000_001)).unwrap();
    assert!(text.contains("this stage cannot prove anything"), "{text}");
}

#[test]
fn a_margin_that_cannot_be_proven_is_warned_of() {
    let mut setup = setup();
    setup.parts.stages[0].margin_ppm = Some(1_100_000);
    let text = plan(&setup, &scenario(0.2)).unwrap();
    assert!(text.contains("the margin of 1.10x cannot be ruled out"), "{text}");
}

#[test]
fn objectives_that_differ_have_rows_of_their_own() {
    let mut scenario = scenario(0.2);
    scenario.fleet.base_rate = PerSli::By([("slow".to_owned(), 0.01)].into());
    let text = plan(&setup(), &scenario).unwrap();
    assert!(text.contains("errors") && text.contains("slow"), "{text}");
}

#[test]
fn what_is_true_of_several_stages_is_said_once() {
    let mut scenario = scenario(0.2);
    scenario.fleet.devices = 1;
    let text = plan(&setup(), &scenario).unwrap();
    assert!(text.contains("warning: canary, broad, full: no controls are left"), "{text}");
    assert_eq!(text.matches("warning:").count(), 1, "{text}");
}

#[test]
fn stages_are_shown_without_an_objective_too() {
    let mut setup = setup();
    setup.objectives.clear();
    let text = plan(&setup, &scenario(0.2)).unwrap();
    assert!(text.contains("canary   -           5         195"), "{text}");
    assert!(text.contains("warning: no SLO is decided by a statistical test"), "{text}");
}

#[test]
fn devices_that_a_selector_leaves_out_do_not_count() {
    let mut setup = setup();
    let north = |share: f64, value: &str| StratumShare {
        labels: [("site".to_owned(), value.to_owned())].into(),
        share,
        rate_factor: 1.0,
    };
    let mut scenario = scenario(0.2);
    scenario.fleet.strata = vec![north(1.0, "north"), north(3.0, "south")];
    let requirement =
        Requirement { key: "site".to_owned(), operator: Operator::In, values: vec!["north".to_owned()] };
    setup.parts.stages.iter_mut().for_each(|s| s.selector.match_expressions = vec![requirement.clone()]);
    let text = plan(&setup, &scenario).unwrap();
    assert!(text.contains("broad    each        25        25"), "{text}");
}

/// What a pass rules out of harm to a few devices, and to one site where the stage is spread by sites.
#[test]
fn harm_to_a_few_that_a_pass_rules_out_is_told() {
    let mut setup = setup();
    let mut scenario = scenario(0.2);
    scenario.fleet.devices = 2_000;
    let site = |name: &str| StratumShare {
        labels: [("site".to_owned(), name.to_owned())].into(),
        share: 1.0,
        rate_factor: 1.0,
    };
    scenario.fleet.strata = vec![site("north"), site("south")];
    let text = plan(&setup, &scenario).unwrap();
    let line = |text: &str| text.lines().find(|line| line.starts_with("  broad: ")).unwrap().to_owned();
    assert!(line(&text).contains("x on more than 0.4 % of the devices"), "{text}");
    assert!(!text.contains("stratum"), "{text}");
    setup.parts.stages[1].spread_by = vec!["site".to_owned()];
    let text = plan(&setup, &scenario).unwrap();
    assert!(line(&text).ends_with("x in any one stratum"), "{text}");
    setup.parts.stages[1].watch_by = setup.parts.stages[1].spread_by.split_off(0);
    let text = plan(&setup, &scenario).unwrap();
    assert!(line(&text).ends_with("x in any one of the 2 groups of watchBy"), "{text}");
}

#[test]
fn a_last_stage_for_all_is_told_how_to_keep_controls() {
    let mut setup = setup();
    let text = plan(&setup, &scenario(0.2)).unwrap();
    let warning = text.lines().find(|line| line.starts_with("warning: full")).unwrap();
    for words in ["compared with their own past", "less than twice the usual", "time of day", "holdback: 5%"]
    {
        assert!(warning.contains(words), "{warning}");
    }
    setup.parts.holdback_ppm = 50_000;
    let text = plan(&setup, &scenario(0.2)).unwrap();
    assert!(!text.contains("warning: full") && text.contains("full     each        190       10"), "{text}");
}

/// What a pass rules out in a stage without controls is what the judge asks there: twice as much, for the hour of the day.
#[test]
fn a_stage_without_controls_rules_out_what_the_judge_does() {
    let text = plan(&setup(), &scenario(0.02)).unwrap();
    let line = text.lines().find(|line| line.starts_with("full")).unwrap();
    let cells: Vec<&str> = line.split_whitespace().collect();
    let rules_out: f64 = cells[cells.len() - 2].trim_end_matches('x').parse().unwrap();
    assert!((2.0..3.0).contains(&rules_out), "{text}");
}

#[test]
fn a_truth_that_comes_after_the_stage_is_warned_of() {
    let mut scenario = scenario(0.2);
    scenario.truth_delay_windows = PerSli::By([("slow".to_owned(), 130.0)].into());
    let text = plan(&setup(), &scenario).unwrap();
    let warning = "warning: canary (slow), broad (slow), full (slow): enough ground truth is known only after 5 days 21 hours";
    assert!(text.contains(warning), "{text}");
    scenario.truth_delay_windows = PerSli::By([("slow".to_owned(), 30.0)].into());
    assert!(!plan(&setup(), &scenario).unwrap().contains("truth"));
}

/// A rise within the allowance is reported, not rolled back: the table does not claim to find it.
#[test]
fn a_rise_within_the_allowance_is_not_claimed() {
    let finds = |allowance_ppm: u32| -> f64 {
        let mut setup = setup();
        setup.objectives = vec![Objective::statistical("errors", allowance_ppm)];
        let text = plan(&setup, &scenario(0.02)).unwrap();
        computed(text.lines().find(|line| line.starts_with("broad")).unwrap())
    };
    assert!(finds(100_000) > finds(0) + 0.15, "{} {}", finds(0), finds(100_000));
    assert!(finds(300_000) > finds(100_000) + 0.5, "{} {}", finds(100_000), finds(300_000));
    let mut setup = setup();
    setup.objectives = vec![Objective::statistical("errors", 999_999)];
    let text = plan(&setup, &scenario(0.02)).unwrap();
    assert!(text.contains("no rise can exceed the allowance of 99.9999 % here"), "{text}");
}

#[test]
fn a_canary_that_can_never_be_shown_to_do_harm_is_warned_of_with_a_size_that_can() {
    let mut setup = setup();
    let mut scenario = scenario(0.2);
    scenario.fleet.devices = 80;
    for (canaries, warned) in [(1, true), (2, true), (3, false)] {
        setup.parts.stages[0].target = Target::Count(canaries);
        let text = plan(&setup, &scenario).unwrap();
        let never = format!("warning: canary: harm to {canaries} of 80 devices can never be proven");
        assert_eq!(text.contains(&never), warned, "{text}");
        assert_eq!(text.contains("give this stage 3 devices or more"), warned, "{text}");
    }
}

#[test]
fn a_probation_that_requests_cannot_fill_is_warned_of() {
    let mut setup = setup();
    setup.parts.probation.min_predictions = 10;
    let mut scenario = scenario(0.2);
    assert!(!plan(&setup, &scenario).unwrap().contains("probation"));
    scenario.fleet.predictions_per_window = 5;
    let text = plan(&setup, &scenario).unwrap();
    let message = "warning: probation.timeout is 10 minutes, but it takes 2 hours until a device has answered 10 requests at 5 per window of 1 hour";
    assert!(text.contains(message), "{text}");
}

/// What a plan says that a stage finds, simulated stages with other seeds find, in four of five.
#[test]
fn simulated_stages_say_what_is_found_with_its_limits() {
    let mut setup = setup();
    setup.parts.stages.remove(1);
    let mut scenario = scenario(0.2);
    scenario.fleet.devices = 60;
    let none = YearlyArguments { per_year: None, per_year_expected: None };
    let effort = Effort { runs: 60, device_windows: u64::MAX, seed: 1 };
    let text = sizing(&setup, &scenario, effort, none).unwrap();
    let line = text.lines().find(|line| line.starts_with("canary")).unwrap();
    let number = |text: &str| -> f64 { text.trim_matches(['(', ')', 'x']).parse().unwrap() };
    let cells: Vec<&str> = line.split_whitespace().collect();
    let at = cells.iter().position(|cell| cell.starts_with('(')).unwrap();
    let (low, high) = cells[at].split_once('-').unwrap();
    let (low, found, high) = (number(low), number(cells[at - 1]), number(high));
    assert!(1.0 < low && low < found && found < high && high < 6.0, "{text}");
    assert!(text.contains("FINDS was simulated"), "{text}");
    // Without controls a rise pauses: that is told as well.
    let full = text.lines().find(|line| line.starts_with("full")).unwrap();
    assert!(full.contains("x (") || full.contains("nothing"), "{text}");
}

#[test]
fn a_fleet_too_large_to_simulate_is_computed_and_says_so() {
    let mut scenario = scenario(0.2);
    scenario.fleet.devices = 1_000_000;
    let effort = Effort { runs: 200, device_windows: 40_000_000, seed: 1 };
    let none = YearlyArguments { per_year: None, per_year_expected: None };
    let text = sizing(&setup(), &scenario, effort, none).unwrap();
    assert!(text.contains("~") && text.contains("result of a formula"), "{text}");
}
