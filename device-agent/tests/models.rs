//! Several models on one device: real agents that are given them all at once.

#![allow(clippy::unwrap_used)]

mod support;

use modelfleet_protocol::ids::ModelName;
use modelfleet_test_support::pump_plan::plan;
use modelfleet_test_support::wait::wait;
use support::plant::Plant;
use support::*;

/// Two of them share their bytes.
const MODELS: [(&str, &str); 4] =
    [("pump-anomaly", "1.0.0"), ("fan", "1.1.0"), ("valve", "1.2.0"), ("press", "1.0.0")];

#[test]
fn a_fresh_device_loads_all_its_models_though_they_come_at_once() {
    let plant = Plant::new();
    for (model, version) in MODELS {
        let mut build = plant.build(version);
        build.model = model.parse().unwrap();
        let mut wanted = plan(1, Some(build), None);
        wanted.model = model.parse().unwrap();
        plant.console.publish_plan(&wanted);
    }
    let runtime = plant.runtime.to_str().unwrap();
    let start =
        |id: &str| Agent::start(id, &plant.dir.path().join(id), &plant.broker, &["--onnxruntime", runtime]);
    for agent in ["pump-001", "pump-002"].map(start) {
        wait("all models to answer", || {
            let state = plant.console.state(&agent.id)?;
            let runs = |(model, version): &(&str, &str)| {
                let model: ModelName = model.parse().unwrap();
                let running = state.model(&model).and_then(|m| m.running.as_ref());
                running.is_some_and(|running| running.version.to_string() == *version)
            };
            MODELS.iter().all(runs).then_some(())
        });
    }
}
