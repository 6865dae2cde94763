//! A scenario whose numbers are good can be planned for.
#![no_main]
use libfuzzer_sys::fuzz_target;
use modelfleet_cli::commands::plan;
use modelfleet_cli::{rollout_file, rollout_setup, yaml_file};
use modelfleet_simulation::Scenario;

const ROLLOUT: &str = "apiVersion: modelfleet.io/v1alpha1\nkind: Rollout\nmetadata: {name: pump}\n\
                       spec: {model: pump, version: 1.0.0, selector: {matchLabels: {age: old}}}\n";

fuzz_target!(|text: &str| {
    let Ok(scenario) = yaml_file::document_of::<Scenario>(text) else { return };
    if scenario.check().is_ok() {
        let rollout = rollout_file::rollout_of(ROLLOUT).expect("a good rollout");
        let setup = rollout_setup::setup(&rollout).expect("a good rollout");
        let _ = plan::sizing(&setup, &scenario);
    }
});
