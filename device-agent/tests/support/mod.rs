//! Real agents, and what they need around them, all on loopback.
#![allow(dead_code, missing_docs, clippy::unwrap_used)] // Each test target uses its part.

pub mod plant;
pub mod processes;
pub mod server;
pub mod small_models;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use modelfleet_protocol::ids::DeviceId;
use modelfleet_test_support::broker::Broker;
use modelfleet_test_support::part::Part;
use modelfleet_test_support::pump_plan::{MODEL, NAMESPACE, infer_body, write_plan_key};
use modelfleet_test_support::wait::{LIMIT, wait};

/// The devices that the broker knows.
pub const DEVICES: [&str; 3] = ["pump-001", "pump-002", "watch-001"];

/// A broker with the shipped access rules.
pub fn broker(dir: &Path) -> Broker {
    Broker::start(dir, NAMESPACE, &[MODEL], &DEVICES).unwrap()
}

/// ONNX Runtime's library.
pub fn onnxruntime() -> PathBuf {
    modelfleet_test_support::onnxruntime::onnxruntime().unwrap()
}

/// The agent's program: the one that was built with the test, or the one that `MODELFLEET_AGENT` names, such as that of the
/// profile that ships.
pub fn program() -> PathBuf {
    let other = std::env::var_os("MODELFLEET_AGENT").map(PathBuf::from);
    other.unwrap_or_else(|| env!("CARGO_BIN_EXE_modelfleet-agent").into())
}

/// A running agent; killed when it goes out of scope.
pub struct Agent {
    pub id: DeviceId,
    pub dir: PathBuf,
    part: Part,
}

impl Agent {
    /// Starts `modelfleet-agent run`.
    pub fn start(id: &str, dir: &Path, broker: &Broker, more: &[&str]) -> Agent {
        Agent::start_with(Command::new(program()), id, dir, broker, more)
    }

    /// Starts it so that its folder takes no writes, from root neither.
    pub fn start_read_only(id: &str, dir: &Path, broker: &Broker, more: &[&str]) -> Agent {
        let mut command = Command::new("unshare");
        let mounted = r#"mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@""#;
        command.args(["-rm", "sh", "-c", mounted]).arg(dir.join("state"));
        command.arg(program());
        Agent::start_with(command, id, dir, broker, more)
    }

    fn start_with(mut command: Command, id: &str, dir: &Path, broker: &Broker, more: &[&str]) -> Agent {
        fs::create_dir_all(dir).unwrap();
        let key = dir.join("plan.key");
        // A test may have put something else there.
        if !key.is_dir() {
            write_plan_key(&key);
        }
        command.args(["run", "--device", id, "--namespace", NAMESPACE, "--reconnect-max-s", "1"]);
        command.args(["--reconnect-spread-s", "1", "--allow-network", "private", "--files-below", "/"]);
        command.args([
            "--broker",
            &broker.plain_url(),
            "--fetch-backoff-ms",
            "200",
            "--stable-spread-ms",
            "0",
        ]);
        command.arg("--dir").arg(dir.join("state")).arg("--plan-key").arg(key);
        command.arg("--password-file").arg(broker.password_file(id)).args(more);
        command.env_remove("MODELFLEET_ONNXRUNTIME");
        let part = Part::start(id, dir, &mut command).unwrap();
        Agent { id: id.parse().unwrap(), dir: dir.to_owned(), part }
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        self.part.kill();
    }

    /// Asks it to stop, and waits; whether it ended well.
    pub fn stop(&mut self) -> bool {
        self.part.ask_to_end();
        self.wait_end()
    }

    /// Waits until it has ended by itself; whether it ended well.
    pub fn wait_end(&mut self) -> bool {
        self.part.wait_end(LIMIT).unwrap().success()
    }

    pub fn pid(&self) -> u32 {
        self.part.pid()
    }

    pub fn logged(&self) -> String {
        self.part.log()
    }

    /// The local API's address.
    pub fn api(&self) -> String {
        let path = self.dir.join("state/api-address");
        wait("the API's address", || {
            let address = fs::read_to_string(&path).ok()?;
            let address = address.trim().strip_prefix("http://")?.to_owned();
            std::net::TcpStream::connect(&address).ok().map(|_| address)
        })
    }

    /// Sends a request to the local API; status and body.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> (u16, serde_json::Value) {
        server::request(&self.api(), method, path, body)
    }

    /// Predicts until it was answered `count` times.
    pub fn predict(&self, count: usize) -> serde_json::Value {
        let body = infer_body();
        let mut last = serde_json::Value::Null;
        for _ in 0..count {
            last = wait("an answer", || {
                let (status, answer) = self.ask("POST", &format!("/v2/models/{MODEL}/infer"), &body);
                (status == 200).then_some(answer)
            });
        }
        last
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.part.kill();
        if std::thread::panicking() {
            eprintln!("log of {}:\n{}", self.id, self.logged());
        }
    }
}
