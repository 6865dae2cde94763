//! A real agent, a real engine, and a model that never comes to an end.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::HashMap;

use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::membership::Clause;
use modelfleet_protocol::model::ModelBuild;
use modelfleet_protocol::state::Phase;
use support::broker::{Console, Mosquitto};
use support::fleet::{self, Fleet};
use support::server::{Manners, Server};
use support::*;

/// An ONNX model with the pumps' input: a loop over it that never ends.
const ENDLESS: &str = "080812003ad8010a8f010a000a037965730a08666561747572657312056c6162656c22044c6f6f702a6f0a04626f\
647932640a100a016312016422084964656e746974790a100a017812017922084964656e746974791201625a0b0a016912060a04080712005a0b\
0a016312060a04080912005a090a017812040a020801620b0a016412060a040809120062090a017912040a020801a001051201672a0a10092a01\
0142037965735a1b0a086665617475726573120f0a0d080112090a0312016e0a02080762180a056c6162656c120f0a0d080112090a0312016e0a\
02080742040a001011";

struct Plant {
    agent: Agent,
    console: Console,
    server: Server,
    _broker: Mosquitto,
    _dir: tempfile::TempDir,
}

impl Plant {
    fn new() -> Option<Plant> {
        let dir = tempfile::tempdir().unwrap();
        let broker = Mosquitto::start(dir.path())?;
        let runtime = onnxruntime()?;
        let files =
            HashMap::from([("/1.0.0".to_owned(), pump_model("1.0.0")), ("/2.0.0".to_owned(), endless())]);
        let server = Server::start(files, Manners::default());
        let console = Console::connect(&broker);
        let more = ["--onnxruntime", runtime.to_str().unwrap(), "--prediction-timeout-ms", "300"];
        let agent = Agent::start("pump-001", &dir.path().join("a"), &broker, &more);
        Some(Plant { agent, console, server, _broker: broker, _dir: dir })
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

fn endless() -> Vec<u8> {
    hex::decode(ENDLESS).unwrap()
}

#[test]
fn a_candidate_that_hangs_is_taken_back_and_the_stable_build_answers() {
    let Some(plant) = Plant::new() else { return };
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
fn an_agent_whose_only_build_hangs_ends() {
    let Some(mut plant) = Plant::new() else { return };
    plant.console.publish_plan(&plan(1, Some(plant.endless()), None));
    wait("requests to hang", || (plant.infer() == 504).then_some(()));
    for _ in 0..4 {
        assert_eq!(plant.infer(), 504);
    }
    assert!(!plant.agent.wait_end(), "it asks to be started again");
    assert!(plant.agent.logged().contains("only a new process helps"), "{}", plant.agent.logged());
}

/// Requests that a device of the fleet has counted for 1.0.0, by its newest report.
fn counted(console: &Console, id: &str) -> u64 {
    let report = console.report(&id.parse().unwrap());
    let report = report.filter(|r| r.digest == Digest::of(&pump_model("1.0.0")).0);
    report.map_or(0, |r| r.windows.iter().filter_map(|w| w.counters).map(|c| c.requests).sum())
}

/// All devices of the process share one thread, and one of them gets a build that never comes to an end.
#[test]
fn a_build_that_hangs_on_one_device_of_a_process_leaves_the_others_going() {
    let dir = tempfile::tempdir().unwrap();
    let Some(broker) = Mosquitto::anonymous(dir.path()) else { return };
    let more = ["--count", "3", "--rate", "10", "--threads", "1", "--prediction-timeout-ms", "300"];
    let Some(_fleet) = Fleet::start(dir.path(), &broker, &more) else { return };
    let console = Console::connect(&broker);
    let stable = fleet::stable();
    console.publish_plan(&stable);
    let (ill, well) = ("pump-001", ["pump-002", "pump-003"]);
    console.wait_model(&ill.parse().unwrap(), "1.0.0 to be confirmed", |m| {
        m.running.as_ref().is_some_and(|r| r.confirmed)
    });

    let path = dir.path().join("endless.onnx");
    std::fs::write(&path, endless()).unwrap();
    let mut build = pump_build("2.0.0", &endless(), format!("file://{}", path.display()));
    (build.opsets, build.outputs, build.decision) = (Default::default(), Vec::new(), None);
    let mut hung = candidate("r1", build);
    hung.membership.clauses = vec![Clause { devices: vec![ill.parse().unwrap()], ..Clause::default() }];
    console.publish_plan(&plan(2, stable.stable.clone(), Some(hung)));
    console.wait_phase(&ill.parse().unwrap(), "r1", Phase::Reverted);
    // Everybody goes on, the one that went back as well.
    for id in well.iter().chain([&ill]) {
        let before = counted(&console, id);
        wait("further predictions", || (counted(&console, id) > before + 10).then_some(()));
    }
}
