use super::*;

const ROLLOUT: &str = "apiVersion: modelfleet.io/v1alpha1\nkind: Rollout\nmetadata: {name: pump}\n\
                       spec: {model: pump, version: 1.0.0, slos: [{name: errors, metric: ErrorRate, threshold: 1%}]";

/// The input of a rollout with more in its spec, and a scenario.
fn input(
    more: &str,
    scenario: &str,
    flags: impl Fn(&mut InputArguments),
) -> Result<SimulationInput, InputError> {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let file = write("rollout.yaml", &format!("{ROLLOUT}{more}}}\n"));
    let scenario = Some(write("scenario.yaml", scenario));
    let mut arguments =
        InputArguments { file, scenario, devices: None, base_rate: None, sigma: None, burst: None };
    flags(&mut arguments);
    SimulationInput::of(&arguments)
}

fn message(scenario: &str, flags: impl Fn(&mut InputArguments)) -> String {
    crate::printing::with_causes(&input("", scenario, flags).unwrap_err())
}

#[test]
fn a_flag_counts_instead_of_the_scenario() {
    let input = input("", "fleet: {devices: 50, sigma: 0.5}", |a| a.devices = Some(7)).unwrap();
    assert_eq!((input.scenario.fleet.devices, input.scenario.fleet.sigma), (7, 0.5));
}

#[test]
fn what_cannot_be_used_is_said_with_its_place() {
    let keep = |_: &mut InputArguments| {};
    let said_of = message("fleet: {sigma: 9}", keep);
    assert!(said_of.contains("scenario.yaml: fleet.sigma: must be from 0 to 5"), "{said_of}");
    let said_of = message("fleet: {sigma: 9, strata: [{labels: {a: b}, share: 0}]}", keep);
    assert!(said_of.contains("fleet.strata[0].share: must be above 0"), "{said_of}");
    assert!(said_of.contains("; fleet.sigma: must be from 0 to 5"), "{said_of}");
    let said_of = message("fleet: {baseRate: [1]}", keep);
    assert!(
        said_of.contains("fleet.baseRate: invalid type: sequence, expected a number for all SLOs"),
        "{said_of}"
    );
    let said_of = message("fleet: {devces: 5}", keep);
    assert!(said_of.contains("scenario.yaml") && said_of.contains("unknown field `devces`"), "{said_of}");
    assert_eq!(message("", |a| a.devices = Some(0)), "--devices must be from 1 to 10000000");
    assert_eq!(message("", |a| a.sigma = Some(-1.0)), "--sigma must be from 0 to 5");
    assert_eq!(message("", |a| a.base_rate = Some(f64::NAN)), "--base-rate must be from 0 to 1000000");
    assert_eq!(message("", |a| a.burst = Some(0.0)), "--burst must be from 1 to 1000000");
    let both = message("", |a| (a.file, a.scenario) = ("-".into(), Some("-".into())));
    assert!(both.contains("standard input"), "{both}");
}

#[test]
fn it_is_noted_where_rollout_and_scenario_speak_of_different_things() {
    let notes = |more: &str, scenario: &str| input(more, scenario, |_| {}).unwrap().notes();
    assert_eq!(notes("", "fleet: {baseRate: {errors: 0.1}}"), [""; 0]);
    assert_eq!(notes("", "fleet: {baseRate: 0.1}"), [""; 0]);
    let misspelt = notes("", "fleet: {baseRate: {erors: 0.1}}");
    assert!(
        misspelt[0].contains("names erors") && misspelt[0].contains("its SLOs are: errors"),
        "{misspelt:?}"
    );
    assert!(
        misspelt[1].starts_with("assuming 0.02 bad events per device and window for errors"),
        "{misspelt:?}"
    );
    let north = ", selector: {matchLabels: {site: north}}";
    let rates = "baseRate: {errors: 0.1}";
    let empty = notes(north, &format!("fleet: {{{rates}, strata: [{{labels: {{site: south}}, share: 1}}]}}"));
    assert!(empty[0].contains("the selector of canary, early-adopter, broad, full"), "{empty:?}");
    assert_eq!(
        notes(north, &format!("fleet: {{{rates}, strata: [{{labels: {{site: north}}, share: 1}}]}}")),
        [""; 0]
    );
}

#[test]
fn it_is_noted_where_a_scenario_speaks_of_devices_that_it_does_not_have() {
    let rates = "baseRate: {errors: 0.1}";
    let strata = "strata: [{labels: {site: south}, share: 1}]";
    let effect = |site: &str| format!("effect: {{strata: [{{labels: {{site: {site}}}, rateRatio: 2}}]}}");
    let notes = |scenario: &str| input("", scenario, |_| {}).unwrap().notes();
    assert_eq!(notes(&format!("fleet: {{{rates}, {strata}}}\n{}", effect("south"))), [""; 0]);
    let none = notes(&format!("fleet: {{{rates}, {strata}}}\n{}", effect("north")));
    assert!(
        none[0].starts_with("the scenario's effect.strata[0] is for devices with site=north"),
        "{none:?}"
    );
}

#[test]
fn the_example_of_the_page_is_a_scenario_with_the_fields_that_the_page_names() {
    let page = include_str!("../../../docs/scenarios.md");
    let example = page.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let read = input("", example, |_| {}).unwrap().scenario;
    assert_eq!((read.fleet.devices, read.fleet.strata.len()), (400, 3));
    assert_eq!((read.fleet.autocorrelation.per_window, read.effect.onset_windows), (0.95, 48));
    let written = serde_json::to_value(Scenario::default()).unwrap();
    for part in ["fleet", "effect"] {
        for field in written[part].as_object().unwrap().keys() {
            assert!(page.contains(&format!("`{field}")), "docs/scenarios.md says nothing of {part}.{field}");
        }
    }
}
