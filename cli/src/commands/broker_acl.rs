//! `broker-acl`: the access rules of Mosquitto for the devices of a fleet.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;
use modelfleet_protocol::broker_rights::mosquitto_block;
use modelfleet_protocol::ids::{DeviceId, ModelName, Namespace};

use crate::cluster::ClusterFlags;
use crate::outcome::Outcome;
use crate::printing::{self, AnswerError};

/// Columns of a list of devices that may hold the ids.
const ID_COLUMNS: [&str; 2] = ["id", "device"];

/// The command line of `broker-acl`.
#[derive(Debug, Args)]
#[command(
    after_help = "Prints a block of rules for each device: it may write its presence, its state, and one report and one \
                        held plan for each --model, and read the fleet's plans and trust document and its own override. \
                        Every level of what \
                        it may write is given, so that a stolen login can retain one message of each kind and no more.\n\n\
                        Make the file anew when a device or a model is added, and send Mosquitto the signal HUP. The user \
                        name of a device at the broker, or the common name of its certificate, must be its id."
)]
pub struct BrokerAclArguments {
    /// Ids of devices.
    #[arg(value_name = "DEVICE", required_unless_present = "devices")]
    pub ids: Vec<DeviceId>,

    /// File with more devices: one id on each line, or CSV with a column `id` or `device`.
    #[arg(long, value_name = "FILE")]
    pub devices: Option<PathBuf>,

    /// A model that the devices may report on. Give the option once for each model.
    #[arg(long = "model", value_name = "MODEL", required = true)]
    pub models: Vec<ModelName>,
}

/// Why there are no rules.
#[derive(Debug, thiserror::Error)]
pub enum BrokerAclError {
    /// No namespace was given.
    #[error("print access rules: name the fleet with --namespace")]
    NoNamespace,
    /// The namespace is no name.
    #[error("print access rules: --namespace {0}")]
    Namespace(String, #[source] modelfleet_protocol::ids::IdError),
    /// The list cannot be read.
    #[error("read the list of devices {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: csv::Error,
    },
    /// A line of the list names no device.
    #[error("read the list of devices {path}, line {line}: {text:?}")]
    Device {
        /// Which file.
        path: PathBuf,
        /// Which line.
        line: u64,
        /// What stands there.
        text: String,
        /// Why it is no id.
        #[source]
        source: modelfleet_protocol::ids::IdError,
    },
    /// The list has no device.
    #[error("read the list of devices {0}: it names no device")]
    Empty(PathBuf),
    /// The answer could not be written.
    #[error("print the access rules")]
    Print(#[from] AnswerError),
}

/// Prints the rules.
///
/// # Errors
/// When the namespace is missing, or the list cannot be read.
pub fn run(cluster: &ClusterFlags, arguments: &BrokerAclArguments) -> Result<Outcome, BrokerAclError> {
    // A list of devices stands for no cluster, so the namespace of the current context would be a guess.
    let name = cluster.namespace.as_ref().ok_or(BrokerAclError::NoNamespace)?;
    let namespace: Namespace =
        name.parse().map_err(|source| BrokerAclError::Namespace(name.clone(), source))?;
    let mut devices: BTreeSet<DeviceId> = arguments.ids.iter().cloned().collect();
    if let Some(path) = &arguments.devices {
        devices.extend(listed(path)?);
    }
    let models: BTreeSet<ModelName> = arguments.models.iter().cloned().collect();
    let models: Vec<ModelName> = models.into_iter().collect();
    let mut text =
        "# What each device may write and read. Made by `kubectl modelfleet broker-acl`.\n".to_owned();
    for device in &devices {
        text.push('\n');
        text.push_str(&mosquitto_block(&namespace, device, &models));
    }
    printing::answer(&text)?;
    Ok(Outcome::Done)
}

/// The devices of a file: those of the column that is named so in its first line, or else those of its only column.
fn listed(path: &Path) -> Result<Vec<DeviceId>, BrokerAclError> {
    let unreadable = |source| BrokerAclError::Read { path: path.to_owned(), source };
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .trim(csv::Trim::All)
        .comment(Some(b'#'))
        .from_path(path)
        .map_err(unreadable)?;
    let mut column = 0;
    let mut devices = Vec::new();
    for (number, record) in reader.records().enumerate() {
        let record = record.map_err(unreadable)?;
        let header = record.iter().position(|cell| ID_COLUMNS.contains(&cell));
        if let (0, Some(found)) = (number, header) {
            column = found;
            continue;
        }
        let text = record.get(column).unwrap_or_default();
        let line = record.position().map_or(0, csv::Position::line);
        let refused =
            |source| BrokerAclError::Device { path: path.to_owned(), line, text: text.to_owned(), source };
        devices.push(text.parse().map_err(refused)?);
    }
    if devices.is_empty() {
        return Err(BrokerAclError::Empty(path.to_owned()));
    }
    Ok(devices)
}
