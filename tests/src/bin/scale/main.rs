//! The numbers of docs/NUMBERS.md that need a large fleet at a real broker: how soon a started controller sees all of it, and
//! how soon an abort is a plan, whatever the fleet's size.
//!
//! `cargo run --release -p modelfleet-tests --bin scale -- --dir DIR --devices 100000`; the programs must be built.

mod listeners;
mod retained;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use listeners::Listeners;
use modelfleet_protocol::ids::{Digest, Namespace};
use modelfleet_test_support::broker::Broker;
use modelfleet_test_support::control_plane::ControlPlane;
use modelfleet_test_support::http;
use modelfleet_test_support::kubectl::Kubectl;
use modelfleet_test_support::part::run;
use modelfleet_test_support::place::program;
use modelfleet_test_support::wait::until;
use modelfleet_tests::artifact_server::ArtifactServer;
use modelfleet_tests::controller::ControllerSettings;
use modelfleet_tests::plant::{MODEL, NAMESPACE, install, pumps};

const LIMIT: Duration = Duration::from_mins(10);
/// About the plan without a candidate, in its envelope.
const PLAN_BYTES: usize = 1_000;
/// The plan of the model.
const STABLE: &str = "1.0.0";
const CANDIDATE: &str = "1.1.0";

/// Measures a controller beside a large fleet.
#[derive(Parser, Debug)]
struct Arguments {
    /// Folder for everything of this run.
    #[arg(long)]
    dir: PathBuf,
    /// Devices that have left their messages at the broker.
    #[arg(long, default_value_t = 100_000)]
    devices: u64,
    /// Clients that are connected and listen to the plan.
    #[arg(long, default_value_t = 0)]
    connected: u64,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let dir = &arguments.dir;
    std::fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
    let control_plane = ControlPlane::start(&dir.join("control-plane"))?;
    let kubectl = control_plane.kubectl();
    install(&kubectl)?;
    let store = ArtifactServer::start(&dir.join("store"))?;
    let key = keygen(dir)?;
    for version in [STABLE, CANDIDATE] {
        register(&kubectl, &store, &key, version)?;
    }
    let digest = digest_of(&kubectl, STABLE)?;
    let broker = Broker::start_open(&dir.join("broker"))?;
    let namespace: Namespace = NAMESPACE.parse()?;
    let now_ms = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let devices = arguments.devices;
    let fleet =
        retained::Fleet { namespace: &namespace, model: MODEL, running: (STABLE, digest), devices, now_ms };
    let started = Instant::now();
    let bytes = retained::fill(broker.port(), &fleet)?;
    println!("{devices} devices left {} MB at the broker in {:.1?}", bytes / 1_000_000, started.elapsed());

    let settings = ControllerSettings::prepare(&dir.join("controller"), &kubectl, &broker, None)?;
    let started = Instant::now();
    let controller = settings.launch()?;
    let port: u16 = settings.http_url().rsplit(':').next().unwrap_or_default().parse()?;
    until("a look at every device", LIMIT, || match number(port, "modelfleet_index_devices") {
        Ok(seen) if seen == devices => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    println!("process start to every device in the index: {:.2?}", started.elapsed());
    // Their reports may still be under way: the view is whole when the broker has sent all that it kept.
    until("the whole view", LIMIT, || match number(port, "modelfleet_broker_settled") {
        Ok(1) => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    println!("process start to full view: {:.2?} (lease and caches included)", started.elapsed());
    println!(
        "resident: {} MB, {} bytes a device",
        resident_mb(controller.pid())?,
        resident_mb(controller.pid())? * 1_000_000 / devices
    );
    open(dir, &kubectl, &broker)?;
    let listeners = match arguments.connected {
        0 => None,
        count => Some(listeners(&broker, count)?),
    };
    abort(&kubectl, &broker, port, listeners.as_ref())
}

/// Opens a stage of half the fleet and waits for the plan with the candidate.
fn open(dir: &Path, kubectl: &Kubectl, broker: &Broker) -> Result<()> {
    let file = dir.join("rollout.yaml");
    let spec = format!(
        "apiVersion: modelfleet.io/v1alpha1\nkind: Rollout\nmetadata: {{ name: large }}\nspec:\n  model: {MODEL}\n  \
         version: {CANDIDATE}\n  stages:\n  - {{ name: half, devices: 50%, spreadBy: [age, load], bake: 1h }}\n  \
         - {{ name: full, devices: 100%, bake: 1h }}\n"
    );
    std::fs::write(&file, spec)?;
    kubectl.apply(NAMESPACE, &file)?;
    let opened = Instant::now();
    until("the plan with the candidate", LIMIT, || plan_is(broker, |plan| !plan["candidate"].is_null()))?;
    println!("apply to plan with the candidate: {:.2?}", opened.elapsed());
    Ok(())
}

fn plan_topic() -> String {
    format!("mf/1/{NAMESPACE}/plan/{MODEL}")
}

/// Connects listeners to the plan and measures what the broker needs for a message of a plan's size.
fn listeners(broker: &Broker, count: u64) -> Result<Listeners> {
    let started = Instant::now();
    let listeners = Listeners::connect(broker.port(), &plan_topic(), count)?;
    listeners.all_heard()?;
    println!("{count} clients connected and sent the plan in {:.1?}", started.elapsed());
    let mut alone = (0..5).map(|_| listeners.broker_alone(PLAN_BYTES)).collect::<Result<Vec<_>>>()?;
    alone.sort();
    println!("the broker alone, a message of {PLAN_BYTES} bytes to all: {:.2?}, of 5: {alone:.2?}", alone[2]);
    listeners.start_anew();
    Ok(listeners)
}

/// Aborts and waits for the plan without the candidate.
fn abort(kubectl: &Kubectl, broker: &Broker, port: u16, listeners: Option<&Listeners>) -> Result<()> {
    let has = |plan: &serde_json::Value| !plan["candidate"].is_null();
    let plans = number(port, "modelfleet_plans_published_total").unwrap_or(0);
    let started = Instant::now();
    kubectl.run(&[
        "-n",
        NAMESPACE,
        "patch",
        "rollout",
        "large",
        "--type=merge",
        "-p",
        r#"{"spec":{"abort":true}}"#,
    ])?;
    let patched = started.elapsed();
    if let Some(listeners) = listeners {
        let spread = listeners.all_heard()?;
        println!("abort to the last listener: {:.2?}, {spread:.2?} after the first", started.elapsed());
    }
    until("the plan without the candidate", LIMIT, || plan_is(broker, |plan| !has(plan)))?;
    let took = started.elapsed();
    let sent = number(port, "modelfleet_plans_published_total").unwrap_or(0) - plans;
    println!(
        "abort to plan without the candidate: {took:.2?}, of which kubectl {patched:.2?}; {sent} message"
    );
    if sent != 1 {
        bail!("an abort is one message, not {sent}");
    }
    Ok(())
}

fn plan_is(broker: &Broker, wanted: impl Fn(&serde_json::Value) -> bool) -> Result<(), String> {
    use base64::Engine as _;
    let topic = plan_topic();
    let port = broker.port().to_string();
    let mut command = Command::new("mosquitto_sub");
    let out = command
        .args(["-p", &port, "-t", &topic, "-C", "1", "-W", "2"])
        .output()
        .map_err(|e| e.to_string())?;
    let envelope: serde_json::Value = serde_json::from_slice(&out.stdout).map_err(|e| e.to_string())?;
    let payload = envelope["payload"].as_str().unwrap_or_default();
    let payload = base64::engine::general_purpose::STANDARD.decode(payload).map_err(|e| e.to_string())?;
    let plan: serde_json::Value = serde_json::from_slice(&payload).map_err(|e| e.to_string())?;
    if wanted(&plan) { Ok(()) } else { Err(format!("revision {}", plan["revision"])) }
}

fn keygen(dir: &Path) -> Result<PathBuf> {
    let key = dir.join("models.key");
    let mut command = Command::new(program("kubectl-modelfleet"));
    command.args(["keygen", "--no-password", "--secret-key"]).arg(&key);
    run("make the key that signs models", command.arg("--public-key").arg(dir.join("models.pub")))?;
    Ok(key)
}

fn register(kubectl: &Kubectl, store: &ArtifactServer, key: &Path, version: &str) -> Result<()> {
    let mut command = Command::new(program("kubectl-modelfleet"));
    command.env("KUBECONFIG", kubectl.kubeconfig()).arg("register");
    command.arg(pumps().join(format!("models/{MODEL}-{version}.onnx")));
    command.args(["--name", MODEL, "--version", version, "-n", NAMESPACE, "--store", &store.url()]);
    run("register a version", command.arg("--key").arg(key))?;
    Ok(())
}

fn digest_of(kubectl: &Kubectl, version: &str) -> Result<Digest> {
    let all = kubectl.json(&["-n", NAMESPACE, "get", "modelversions"])?;
    let items = all["items"].as_array().cloned().unwrap_or_default();
    let found = items.iter().find(|v| v["spec"]["version"] == version).context("the version is not there")?;
    Ok(serde_json::from_value(found["spec"]["artifact"]["digest"].clone())?)
}

/// A number of `/metrics`.
fn number(port: u16, name: &str) -> Result<u64, String> {
    let text = http::get(port, "/metrics")?;
    let value = |line: &str| line.strip_prefix(name)?.trim().parse::<f64>().ok();
    text.lines().find_map(value).map(|v| v as u64).ok_or_else(|| format!("no {name}"))
}

fn resident_mb(process: u32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/statm"))?;
    let pages: u64 = text.split(' ').nth(1).unwrap_or_default().parse()?;
    Ok(pages * 4096 / 1_000_000)
}
