//! The load generator as a process, and what it costs.
#![allow(dead_code, missing_docs, clippy::unwrap_used)] // The tests and the benchmark each use a part.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::support::broker::Mosquitto;
use super::support::*;

/// A running fleet.
pub struct Fleet {
    child: Child,
    /// Its log.
    pub log: std::path::PathBuf,
}

impl Fleet {
    pub fn start(dir: &Path, broker: &Mosquitto, more: &[&str]) -> Option<Fleet> {
        let runtime = onnxruntime()?;
        let key = dir.join("plan.key");
        fs::write(&key, hex::encode(signer().verifying_key().as_bytes())).unwrap();
        let (pumps, log) = (examples().join("pumps"), dir.join("fleet.log"));
        let mut command = Command::new(program());
        command.args(["--namespace", NAMESPACE, "--broker", &broker.url(), "--stable-spread-ms", "0"]);
        command.arg("--devices").arg(pumps.join("devices.csv"));
        command.arg("--traffic").arg(pumps.join("traffic.csv"));
        command.arg("--dir").arg(dir.join("fleet")).arg("--plan-key").arg(key);
        command.arg("--onnxruntime").arg(runtime).args(more);
        let file = fs::File::create(&log).unwrap();
        let child = command.stdout(Stdio::null()).stderr(file).spawn().unwrap();
        Some(Fleet { child, log })
    }

    /// Processor time used so far, seconds.
    pub fn cpu_seconds(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
        ticks / 100.0
    }

    pub fn resident_mib(&self) -> u64 {
        let statm = fs::read_to_string(format!("/proc/{}/statm", self.child.id())).unwrap();
        statm.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096 / 1024 / 1024
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

/// Another build can be measured, such as a release build.
fn program() -> std::path::PathBuf {
    std::env::var_os("MODELFLEET_LOAD").map_or(env!("CARGO_BIN_EXE_modelfleet-load").into(), Into::into)
}

pub fn stable() -> modelfleet_protocol::plan::Plan {
    let path = examples().join("pumps/models/pump-anomaly-1.0.0.onnx").canonicalize().unwrap();
    plan(1, Some(pump_build("1.0.0", &pump_model("1.0.0"), format!("file://{}", path.display()))), None)
}
