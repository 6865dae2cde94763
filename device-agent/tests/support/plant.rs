//! A plant: a broker, a console, models to fetch, and an agent for a pump.

use std::collections::HashMap;
use std::path::PathBuf;

use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::model::ModelBuild;

use modelfleet_test_support::broker::Broker;
use modelfleet_test_support::console::Console;
use modelfleet_test_support::pump_plan::{plan, pump_build, pump_model};

use super::server::{Manners, Server};
use super::{Agent, broker, onnxruntime};

/// A broker, a console, an artifact server with the pumps' models, and ONNX Runtime.
pub struct Plant {
    pub dir: tempfile::TempDir,
    pub broker: Broker,
    pub console: Console,
    pub server: Option<Server>,
    pub runtime: PathBuf,
}

impl Plant {
    pub fn new() -> Plant {
        let dir = tempfile::tempdir().unwrap();
        let broker = broker(dir.path());
        let runtime = onnxruntime();
        let versions = ["1.0.0", "1.1.0", "1.2.0", "1.5.0"];
        let files = versions.map(|v| (format!("/{v}.onnx"), pump_model(v)));
        let server = Some(Server::start(HashMap::from(files), Manners::default()));
        let console = Console::connect(&broker);
        Plant { dir, broker, console, server, runtime }
    }

    pub fn build(&self, version: &str) -> ModelBuild {
        let url = &self.server.as_ref().unwrap().url;
        pump_build(version, &pump_model(version), format!("{url}/{version}.onnx"))
    }

    pub fn agent(&self) -> Agent {
        self.agent_with(&[])
    }

    pub fn agent_with(&self, more: &[&str]) -> Agent {
        let runtime = self.runtime.to_str().unwrap();
        let more: Vec<&str> = ["--onnxruntime", runtime].iter().chain(more).copied().collect();
        Agent::start("pump-001", &self.dir.path().join("pump-001"), &self.broker, &more)
    }

    /// The agent with 1.0.0 as its confirmed stable build.
    pub fn with_stable(&self) -> Agent {
        let agent = self.agent();
        self.console.publish_plan(&plan(1, Some(self.build("1.0.0")), None));
        agent.predict(3);
        self.console.wait_model(&agent.id, "1.0.0 to be confirmed", |m| {
            m.running.as_ref().is_some_and(|r| r.version.to_string() == "1.0.0" && r.confirmed)
        });
        agent
    }
}

pub fn running(model: &modelfleet_protocol::state::ModelState) -> Option<Digest> {
    model.running.as_ref().map(|running| running.digest)
}
