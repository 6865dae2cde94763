//! The worker processes of an agent, or of a test.

use std::fs;

use modelfleet_test_support::wait::wait;
use rustix::process::{Pid, Signal, kill_process};

/// A worker process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerProcess(pub u32);

impl WorkerProcess {
    fn file(self, name: &str) -> Option<Vec<u8>> {
        fs::read(format!("/proc/{}/{name}", self.0)).ok()
    }

    /// A file of what the system says of it, as text.
    pub fn text(self, name: &str) -> String {
        String::from_utf8_lossy(&self.file(name).unwrap_or_default()).into_owned()
    }

    /// Where its open descriptors lead.
    pub fn descriptors(self) -> Vec<(String, String)> {
        let entries = fs::read_dir(format!("/proc/{}/fd", self.0)).unwrap().flatten();
        let to = |path: &std::path::Path| fs::read_link(path).unwrap_or_default().display().to_string();
        entries.map(|entry| (entry.file_name().into_string().unwrap(), to(&entry.path()))).collect()
    }

    pub fn signal(self, signal: Signal) {
        kill_process(Pid::from_raw(self.0.cast_signed()).unwrap(), signal).unwrap();
    }

    /// Whether it is there, and no remains of it.
    pub fn runs(self) -> bool {
        let state =
            |status: &str| status.rsplit_once(')').map(|(_, rest)| rest.trim_start().starts_with('Z'));
        state(&self.text("stat")) == Some(false)
    }

    pub fn wait_gone(self) {
        wait("the worker to be gone", || (!self.runs()).then_some(()));
    }
}

/// The workers that this process has started.
pub fn workers_of(parent: u32) -> Vec<WorkerProcess> {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).map(WorkerProcess);
    let child = |worker: &WorkerProcess| {
        let stat = worker.text("stat");
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        fields.split_whitespace().nth(1).and_then(|ppid| ppid.parse().ok()) == Some(parent)
    };
    let serves = |worker: &WorkerProcess| worker.text("cmdline").contains("engine-worker");
    pids.filter(|worker| child(worker) && serves(worker) && worker.runs()).collect()
}
