//! The plant's devices: many agents in one process that replay recorded traffic, and some as processes of their
//! own that are fed over their local inference API.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use modelfleet_test_support::broker::Broker;
use modelfleet_test_support::part::{Part, PartError};
use modelfleet_test_support::place::{program, root};

/// One row of `devices.csv`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRow {
    /// Its id.
    pub id: String,
    /// Its labels, in the order of the file's columns.
    pub labels: Vec<(String, String)>,
}

/// What every agent of a plant is started with.
#[derive(Clone, Debug)]
pub struct AgentSettings {
    /// Folder for the agents' state and logs.
    pub dir: PathBuf,
    /// The fleet that they belong to.
    pub namespace: String,
    /// Where the broker is.
    pub broker_url: String,
    /// The authority that vouches for it, where it speaks TLS.
    pub broker_ca: Option<PathBuf>,
    /// Folder with a password file for each device.
    pub passwords: PathBuf,
    /// File with `id:password` lines.
    pub password_list: PathBuf,
    /// Public key whose plans they follow.
    pub plan_key: PathBuf,
    /// Public key whose models they run.
    pub artifact_key: Option<PathBuf>,
    /// The ONNX Runtime library.
    pub onnxruntime: PathBuf,
    /// Predictions a second of every device.
    pub rate: u32,
}

/// Reads `id,<label>,...` rows.
///
/// # Errors
/// When the file cannot be read.
pub fn read_devices(path: &Path) -> Result<Vec<DeviceRow>, PartError> {
    let failed = |source| PartError::File { what: "read", path: path.to_owned(), source };
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split(',').skip(1).collect();
    let row = |line: &str| {
        let mut cells = line.split(',');
        let id = cells.next().unwrap_or_default().to_owned();
        let labels = names.iter().zip(cells).map(|(n, v)| ((*n).to_owned(), v.to_owned())).collect();
        DeviceRow { id, labels }
    };
    Ok(lines.filter(|l| !l.is_empty()).map(row).collect())
}

impl AgentSettings {
    /// The settings that agents and the load generator have in common.
    fn with_settings(&self, mut command: Command) -> Command {
        command.args(["--namespace", &self.namespace, "--broker", &self.broker_url]);
        // Seconds here stand for the minutes and hours of a real fleet.
        command.args(["--reconnect-max-s", "3", "--fetch-backoff-ms", "1000", "--stable-spread-ms", "2000"]);
        command.args(["--keep-alive-s", "5", "--reconnect-spread-s", "1"]);
        // All of the plant is on this machine.
        command.args(["--allow-network", "private", "--files-below", "/"]);
        command.arg("--plan-key").arg(&self.plan_key).arg("--onnxruntime").arg(&self.onnxruntime);
        if let Some(ca) = &self.broker_ca {
            command.arg("--ca").arg(ca);
        }
        if let Some(key) = &self.artifact_key {
            command.arg("--artifact-key").arg(key);
        }
        command
    }

    /// Starts agents for these devices in one process; they replay the rows of `traffic` of their own class.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start_fleet(&self, name: &str, devices: &[DeviceRow], traffic: &Path) -> Result<Part, PartError> {
        let rows = self.dir.join(format!("{name}.csv"));
        let mut text = String::from("id");
        for (label, _) in devices.first().map(|d| d.labels.as_slice()).unwrap_or_default() {
            text.push_str(&format!(",{label}"));
        }
        for device in devices {
            text.push_str(&format!("\n{}", device.id));
            device.labels.iter().for_each(|(_, value)| text.push_str(&format!(",{value}")));
        }
        std::fs::write(&rows, text).map_err(|source| PartError::File {
            what: "write",
            path: rows.clone(),
            source,
        })?;
        let mut command = self.with_settings(Command::new(program("modelfleet-load")));
        command.arg("--devices").arg(&rows).arg("--traffic").arg(traffic);
        command.arg("--model").arg("pump-anomaly").args(["--rate", &self.rate.to_string()]);
        command.arg("--dir").arg(self.dir.join(name)).arg("--passwords").arg(&self.password_list);
        Part::start(name, &self.dir, &mut command)
    }

    /// Starts one agent as a process of its own.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_agent(&self, device: &DeviceRow) -> Result<Part, PartError> {
        let mut agent = Command::new(program("modelfleet-agent"));
        agent.arg("run");
        let mut command = self.with_settings(agent);
        command.args(["--device", &device.id]).arg("--dir").arg(self.state_dir(device));
        command.arg("--password-file").arg(self.passwords.join(&device.id));
        for (label, value) in &device.labels {
            command.arg("--label").arg(format!("{label}={value}"));
        }
        command.args(["--listen", "127.0.0.1:0"]);
        Part::start(&device.id, &self.dir, &mut command)
    }

    fn state_dir(&self, device: &DeviceRow) -> PathBuf {
        self.dir.join("agents").join(&device.id)
    }

    /// Where an agent that is a process of its own serves its local API.
    ///
    /// # Errors
    /// When it has not told within some seconds.
    pub fn api_url(&self, agent: &mut Part, device: &DeviceRow) -> Result<String, PartError> {
        let file = self.state_dir(device).join("api-address");
        agent.ready(Duration::from_secs(20), || {
            let text = std::fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
            let url = text.trim();
            if url.starts_with("http://") {
                Ok(url.to_owned())
            } else {
                Err(format!("{url:?} is no address"))
            }
        })
    }

    /// Starts the feeder that sends one device's readings and their truth to its local API.
    ///
    /// # Errors
    /// When Python cannot be started.
    pub fn start_feeder(&self, device: &DeviceRow, url: &str) -> Result<Part, PartError> {
        let mut command = Command::new("python3");
        command.arg(root().join("examples/pumps/feeder.py"));
        command.args(["--url", url, "--model", "pump-anomaly", "--rate", &self.rate.to_string()]);
        for (label, value) in &device.labels {
            command.arg(format!("--{label}")).arg(value);
        }
        command.args(["--wait", "600"]);
        Part::start(&format!("feeder-{}", device.id), &self.dir, &mut command)
    }
}

/// Settings of a plant's agents.
#[must_use]
pub fn settings(
    dir: &Path,
    namespace: &str,
    broker: &Broker,
    plan_key: PathBuf,
    artifact_key: Option<PathBuf>,
    onnxruntime: PathBuf,
) -> AgentSettings {
    AgentSettings {
        dir: dir.to_owned(),
        namespace: namespace.to_owned(),
        broker_url: broker.url(),
        broker_ca: broker.ca_file(),
        passwords: broker.passwords(),
        password_list: broker.password_list(),
        plan_key,
        artifact_key,
        onnxruntime,
        rate: 10,
    }
}
