//! A Rollout that the API server would take is planned or refused.
#![no_main]
use libfuzzer_sys::fuzz_target;
use modelfleet_cli::commands::plan;
use modelfleet_cli::{rollout_file, rollout_setup};
use modelfleet_simulation::Scenario;

fuzz_target!(|text: &str| {
    if let Ok(rollout) = rollout_file::rollout_of(text)
        && let Ok(setup) = rollout_setup::setup(&rollout)
    {
        let _ = plan::sizing(&setup, &Scenario::default());
    }
});
