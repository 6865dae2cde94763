//! The command line.

use std::path::PathBuf;

use clap::Parser;
use modelfleet_agent::config::CommonArgs;
use modelfleet_protocol::ids::{DeviceId, ModelName};

/// Runs many device agents in one process and sends predictions to each from recorded readings.
///
/// Every device has its own connection, identity, folder and inference.
#[derive(Parser)]
#[command(name = "modelfleet-load", version)]
pub(crate) struct LoadArgs {
    /// Settings that every device shares.
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// Folder that holds one folder per device.
    #[arg(long, env = "MODELFLEET_DIR", value_name = "FOLDER")]
    pub(crate) dir: PathBuf,
    /// CSV file with one device per row: `id`, then its labels.
    #[arg(long, value_name = "CSV")]
    pub(crate) devices: PathBuf,
    /// CSV file with one reading per row: label columns, optionally `truth`, then the features. Without it, no
    /// predictions are made.
    #[arg(long, value_name = "CSV")]
    pub(crate) traffic: Option<PathBuf>,
    /// Predictions per second and device.
    #[arg(long, default_value_t = 5.0, value_name = "PER_SECOND")]
    pub(crate) rate: f64,
    /// Number of devices. If it exceeds the number of rows, rows are used again with other ids.
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<usize>,
    /// Devices to leave out, because they run elsewhere.
    #[arg(long, value_delimiter = ',', value_name = "ID")]
    pub(crate) except: Vec<DeviceId>,
    /// The model that is asked for predictions; by default every model of a device.
    #[arg(long)]
    pub(crate) model: Option<ModelName>,
    /// Values of the `truth` column that mean positive.
    #[arg(long, value_delimiter = ',', default_value = "anomaly,positive,true,1")]
    pub(crate) positive: Vec<String>,
    /// Share of positive readings to send; by default the share in the file.
    #[arg(long, value_name = "0..1")]
    pub(crate) positive_share: Option<f64>,
    /// Delay after a prediction until its ground truth is reported, in milliseconds.
    #[arg(long, default_value_t = 500, value_name = "MS")]
    pub(crate) truth_delay_ms: u64,
    /// Seed of the random numbers.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Number of threads that make predictions.
    #[arg(long, default_value_t = 2)]
    pub(crate) threads: usize,
    /// File with `id:password` lines; the broker user is the device's id.
    #[arg(long, value_name = "FILE")]
    pub(crate) passwords: Option<PathBuf>,
    /// Sync every write to disk, as the device agent does. Off by default, because a test process does not lose power.
    #[arg(long)]
    pub(crate) durable: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        LoadArgs::command().debug_assert();
    }
}
