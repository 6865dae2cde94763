//! A broker, a controller's pen, an artifact server and agents, all real, all on loopback.
#![allow(dead_code, missing_docs, clippy::unwrap_used)] // Each test target uses its part.

pub mod broker;
pub mod endless;
pub mod plant;
pub mod server;
pub mod wire;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use modelfleet_protocol::envelope::{PLAN_TYPE, seal};
use modelfleet_protocol::ids::{DeviceId, Digest};
use modelfleet_protocol::membership::{Bound, Clause, Membership};
use modelfleet_protocol::model::{Decision, Fallback, Format, ModelBuild, PositiveWhen, Tensor};
use modelfleet_protocol::observe::Observe;
use modelfleet_protocol::plan::{Candidate, Fetch, Mode, Order, Plan, Probation};
use modelfleet_protocol::time::Time;

pub const NAMESPACE: &str = "plant";
pub const MODEL: &str = "pump-anomaly";
/// The agent's program; tests of other packages that use this module have none.
const AGENT: Option<&str> = option_env!("CARGO_BIN_EXE_modelfleet-agent");
/// Longest that a test waits for anything.
pub const LIMIT: Duration = Duration::from_secs(40);

/// Waits until `look` gives something; fails with what was waited for.
pub fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < LIMIT, "waited {LIMIT:?} for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The folder of the device agent's package, seen from any package.
fn agent_folder() -> PathBuf {
    let mut folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|f| f.join("device-agent"));
    folders.find(|folder| folder.is_dir()).unwrap()
}

pub fn examples() -> PathBuf {
    agent_folder().join("../examples")
}

pub fn pump_model(version: &str) -> Vec<u8> {
    fs::read(examples().join(format!("pumps/models/pump-anomaly-{version}.onnx"))).unwrap()
}

/// A model of `models/make.py`.
pub fn small_model(name: &str) -> Vec<u8> {
    fs::read(agent_folder().join(format!("tests/models/{name}.onnx"))).unwrap()
}

/// ONNX Runtime's library; `None`, with a notice, where it cannot be had.
pub fn onnxruntime() -> Option<PathBuf> {
    let script = agent_folder().join("onnxruntime.sh");
    let output = Command::new("bash").arg(script).stderr(Stdio::inherit()).output().ok()?;
    let path = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    if output.status.success() && path.exists() {
        return Some(path);
    }
    skipped("ONNX Runtime is not there");
    None
}

/// Notes that a test cannot be run for want of something. Where everything should be there, it fails.
pub fn skipped(why: &str) {
    let set =
        |name: &str| std::env::var(name).is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"));
    assert!(!set("CI") && !set("MODELFLEET_TEST_ALL"), "{why}");
    eprintln!("SKIPPED: {why}");
}

fn tensor(name: &str, datatype: &str, shape: &[i64]) -> Tensor {
    Tensor { name: name.into(), datatype: datatype.into(), shape: shape.to_vec() }
}

/// A build of the pumps' model whose bytes are at `uri`.
pub fn pump_build(version: &str, bytes: &[u8], uri: String) -> ModelBuild {
    ModelBuild {
        model: MODEL.parse().unwrap(),
        version: version.parse().unwrap(),
        digest: Digest::of(bytes),
        uri,
        size_bytes: bytes.len() as u64,
        format: Format::Onnx,
        ir_version: 0,
        opsets: [("ai.onnx".to_owned(), 17), ("ai.onnx.ml".to_owned(), 3)].into(),
        engines: Vec::new(),
        memory_bytes: 0,
        device_labels: Default::default(),
        inputs: vec![tensor("features", "FP32", &[-1, 7])],
        outputs: vec![tensor("label", "INT64", &[-1, 1])],
        self_test: Vec::new(),
        profile: None,
        decision: Some(Decision {
            output: "label".into(),
            positive_when: PositiveWhen::Label(-1),
            confidence: None,
        }),
        pre_filters: Vec::new(),
        fallback: Fallback::Error,
        signatures: Vec::new(),
    }
}

pub fn signer() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

pub fn now() -> Time {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Time(since.as_millis() as u64)
}

/// A plan with short windows.
pub fn plan(revision: u64, stable: Option<ModelBuild>, candidate: Option<Candidate>) -> Plan {
    let issued = now();
    Plan {
        namespace: NAMESPACE.parse().unwrap(),
        model: MODEL.parse().unwrap(),
        order: Order { epoch: 1, revision, issued, expires: issued.after_ms(3_600_000) },
        stable,
        stable_for: vec![],
        candidate,
        rejected: Vec::new(),
        fetch: None,
        observe: Observe { window_ms: 1_000, ..Observe::default() },
    }
}

/// Everybody gets this build, and is confirmed after three answers.
pub fn candidate(rollout: &str, build: ModelBuild) -> Candidate {
    let clause = Clause { other_below: Bound::ALL, ..Clause::default() };
    Candidate {
        rollout: rollout.into(),
        build,
        membership: Membership { clauses: vec![clause], ..Membership::default() },
        admit: true,
        mode: Mode::Live,
        probation: Probation { timeout_ms: 60_000, min_predictions: 3, max_errors: 5 },
        fetch: Fetch::default(),
    }
}

pub fn sealed(plan: &Plan) -> Vec<u8> {
    seal(&signer(), PLAN_TYPE, &serde_json::to_vec(plan).unwrap())
}

/// A running agent; killed when it goes out of scope.
pub struct Agent {
    pub id: DeviceId,
    pub dir: PathBuf,
    pub log: PathBuf,
    child: Child,
}

impl Agent {
    /// Starts `modelfleet-agent run`.
    pub fn start(id: &str, dir: &Path, broker: &broker::Mosquitto, more: &[&str]) -> Agent {
        Agent::start_with(Command::new(AGENT.unwrap()), id, dir, broker, more)
    }

    /// Starts it so that its folder takes no writes, from root neither.
    pub fn start_read_only(id: &str, dir: &Path, broker: &broker::Mosquitto, more: &[&str]) -> Agent {
        let mut command = Command::new("unshare");
        let mounted = r#"mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@""#;
        command.args(["-rm", "sh", "-c", mounted]).arg(dir.join("state"));
        command.arg(AGENT.unwrap());
        Agent::start_with(command, id, dir, broker, more)
    }

    fn start_with(
        mut command: Command,
        id: &str,
        dir: &Path,
        broker: &broker::Mosquitto,
        more: &[&str],
    ) -> Agent {
        fs::create_dir_all(dir).unwrap();
        let (key, password) = (dir.join("plan.key"), dir.join("password"));
        // A test may have put something else there.
        if !key.is_dir() {
            fs::write(&key, hex::encode(signer().verifying_key().as_bytes())).unwrap();
        }
        fs::write(&password, broker::PASSWORD).unwrap();
        let log = dir.join("log");
        let file = fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        command.args(["run", "--device", id, "--namespace", NAMESPACE, "--reconnect-max-s", "1"]);
        command.args(["--reconnect-spread-s", "1"]);
        command.args(["--broker", &broker.url(), "--fetch-backoff-ms", "200", "--stable-spread-ms", "0"]);
        command.arg("--dir").arg(dir.join("state")).arg("--plan-key").arg(key);
        command.arg("--password-file").arg(password).args(more);
        command.env_remove("MODELFLEET_ONNXRUNTIME");
        let child = command.stdout(Stdio::null()).stderr(file).spawn().unwrap();
        Agent { id: id.parse().unwrap(), dir: dir.to_owned(), log, child }
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop, and waits; whether it ended well.
    pub fn stop(&mut self) -> bool {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        self.wait_end()
    }

    /// Waits until it has ended by itself; whether it ended well.
    pub fn wait_end(&mut self) -> bool {
        wait("the agent to end", || self.child.try_wait().unwrap()).success()
    }

    pub fn logged(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
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

pub fn infer_body() -> String {
    let row = "0.111092,0.390019,3.51076,-0.062161,58782.1,13805.7,339.849";
    format!(r#"{{"inputs":[{{"name":"features","shape":[1,7],"datatype":"FP32","data":[{row}]}}]}}"#)
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("log of {}:\n{}", self.id, self.logged());
        }
    }
}
