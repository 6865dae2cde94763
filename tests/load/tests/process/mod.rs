//! The load generator as a process, and what it costs.
#![allow(dead_code, missing_docs, clippy::unwrap_used)] // The tests and the benchmark each use a part.

use std::fs;
use std::path::Path;
use std::process::Command;

use modelfleet_protocol::plan::Plan;
use modelfleet_test_support::broker::Broker;
use modelfleet_test_support::onnxruntime::onnxruntime;
use modelfleet_test_support::part::Part;
use modelfleet_test_support::pump_plan::{NAMESPACE, examples, local_build, plan, write_plan_key};

/// A running fleet.
pub struct Fleet {
    part: Part,
}

impl Fleet {
    pub fn start(dir: &Path, broker: &Broker, more: &[&str]) -> Fleet {
        let (key, pumps) = (dir.join("plan.key"), examples().join("pumps"));
        write_plan_key(&key);
        let mut command = Command::new(program());
        command.args(["--namespace", NAMESPACE, "--broker", &broker.url(), "--stable-spread-ms", "0"]);
        command.args(["--allow-network", "private", "--files-below", "/"]);
        command.arg("--devices").arg(pumps.join("devices.csv"));
        command.arg("--traffic").arg(pumps.join("traffic.csv"));
        command.arg("--dir").arg(dir.join("fleet")).arg("--plan-key").arg(key);
        command.arg("--onnxruntime").arg(onnxruntime().unwrap()).args(more);
        Fleet { part: Part::start("fleet", dir, &mut command).unwrap() }
    }

    pub fn logged(&self) -> String {
        self.part.log()
    }

    /// Processor time used so far, seconds.
    pub fn cpu_seconds(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.part.pid())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
        ticks / 100.0
    }

    pub fn resident_mib(&self) -> u64 {
        let statm = fs::read_to_string(format!("/proc/{}/statm", self.part.pid())).unwrap();
        statm.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096 / 1024 / 1024
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.part.kill();
        if std::thread::panicking() {
            eprintln!("{}", self.logged());
        }
    }
}

/// Another build can be measured, such as a release build.
fn program() -> std::path::PathBuf {
    std::env::var_os("MODELFLEET_LOAD").map_or(env!("CARGO_BIN_EXE_modelfleet-load").into(), Into::into)
}

pub fn stable() -> Plan {
    plan(1, Some(local_build("1.0.0")), None)
}
