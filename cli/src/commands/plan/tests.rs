use modelfleet_protocol::draw::Target;
use modelfleet_simulation::{Objective, PerSli};

use super::*;

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

#[test]
fn each_stage_says_what_it_can_prove() {
    let text = plan(&setup(), &scenario(0.2)).unwrap();
    let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(line("canary").contains("each") && line("canary").contains("46%"), "{text}");
    let finds = |name| -> f64 {
        let cells: Vec<String> = line(name).split_whitespace().map(str::to_owned).collect();
        cells.iter().rev().find_map(|c| c.strip_suffix('x')?.parse().ok()).unwrap()
    };
    assert!(finds("canary") > finds("broad"), "{text}");
    assert!(text.contains("warning: full, each: no controls are left"), "{text}");
    assert!(!text.contains("warning: canary"), "{text}");
}

#[test]
fn a_stage_that_proves_nothing_is_warned_of() {
    let text = plan(&setup(), &scenario(0.000_001)).unwrap();
    assert!(text.contains("warning: canary, each: this stage can prove nothing"), "{text}");
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
