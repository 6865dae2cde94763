//! A real agent, a real engine, and a model that never comes to an end.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::HashMap;

use modelfleet_protocol::model::ModelBuild;
use modelfleet_protocol::state::Phase;
use modelfleet_test_support::broker::Broker;
use modelfleet_test_support::console::Console;
use modelfleet_test_support::endless_model::endless;
use modelfleet_test_support::pump_plan::*;
use modelfleet_test_support::wait::wait;
use support::server::{Manners, Server};
use support::*;

struct Plant {
    agent: Agent,
    console: Console,
    server: Server,
    _broker: Broker,
    _dir: tempfile::TempDir,
}

impl Plant {
    fn new(isolation: &str) -> Plant {
        let dir = tempfile::tempdir().unwrap();
        let broker = broker(dir.path());
        let runtime = onnxruntime();
        let files =
            HashMap::from([("/1.0.0".to_owned(), pump_model("1.0.0")), ("/2.0.0".to_owned(), endless())]);
        let server = Server::start(files, Manners::default());
        let console = Console::connect(&broker);
        let more = [
            "--onnxruntime",
            runtime.to_str().unwrap(),
            "--prediction-timeout-ms",
            "300",
            "--engine-isolation",
            isolation,
        ];
        let agent = Agent::start("pump-001", &dir.path().join("a"), &broker, &more);
        Plant { agent, console, server, _broker: broker, _dir: dir }
    }

    fn build(&self, version: &str, bytes: &[u8]) -> ModelBuild {
        pump_build(version, bytes, format!("{}/{version}", self.server.url))
    }

    fn endless(&self) -> ModelBuild {
        let mut build = self.build("2.0.0", &endless());
        (build.opsets, build.outputs, build.decision) = (Default::default(), Vec::new(), None);
        build
    }

    fn infer(&self) -> u16 {
        self.agent.ask("POST", &format!("/v2/models/{MODEL}/infer"), &infer_body()).0
    }
}

#[test]
fn a_candidate_that_hangs_is_taken_back_and_the_stable_build_answers() {
    for isolation in ["process", "none"] {
        a_candidate_hangs(&Plant::new(isolation));
    }
}

fn a_candidate_hangs(plant: &Plant) {
    let stable = plant.build("1.0.0", &pump_model("1.0.0"));
    plant.console.publish_plan(&plan(1, Some(stable.clone()), None));
    plant.agent.predict(3);
    plant.console.wait_model(&plant.agent.id, "1.0.0 to be confirmed", |m| {
        m.running.as_ref().is_some_and(|r| r.version.to_string() == "1.0.0" && r.confirmed)
    });
    plant.console.publish_plan(&plan(2, Some(stable), Some(candidate("r1", plant.endless()))));
    plant.console.wait_phase(&plant.agent.id, "r1", Phase::Activated);
    wait("an answer of the stable build", || (plant.infer() == 200).then_some(()));
    plant.console.wait_phase(&plant.agent.id, "r1", Phase::Reverted);
    assert_eq!(plant.agent.predict(10)["model_version"], "1.0.0");
}

#[test]
fn an_agent_whose_only_build_hangs_in_its_own_process_ends() {
    let mut plant = Plant::new("none");
    plant.console.publish_plan(&plan(1, Some(plant.endless()), None));
    wait("requests to hang", || (plant.infer() == 504).then_some(()));
    for _ in 0..4 {
        assert_eq!(plant.infer(), 504);
    }
    assert!(!plant.agent.wait_end(), "it asks to be started again");
    assert!(plant.agent.logged().contains("a new process is needed"), "{}", plant.agent.logged());
}

#[test]
fn an_agent_whose_only_build_hangs_in_a_worker_goes_on_with_the_fallback() {
    let plant = Plant::new("process");
    plant.console.publish_plan(&plan(1, Some(plant.endless()), None));
    wait("requests to hang", || (plant.infer() == 504).then_some(()));
    // Its workers are ended one after the other, until the build is left.
    wait("no build to answer", || (plant.infer() == 503).then_some(()));
    let (live, _) = plant.agent.ask("GET", "/v2/health/live", "");
    assert_eq!(live, 200);
}
