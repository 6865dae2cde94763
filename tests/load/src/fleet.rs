//! Many devices in one process: each with its own connection, identity, folder and inference. Engines and
//! loaded models are shared by digest.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use modelfleet_agent::device::Device;
use modelfleet_agent::host::{Host, HostError, Isolation};
use modelfleet_agent::log::chain;
use modelfleet_agent::mqtt::Credentials;
use modelfleet_agent::probe::Probe;
use modelfleet_agent::store::{Store, StoreError};
use modelfleet_protocol::ids::DeviceId;
use modelfleet_protocol::selector::Labels;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::arguments::LoadArgs;
use crate::drive::{Driver, Played};
use crate::passwords::{PasswordsError, read_passwords};
use crate::rows::{DeviceRow, RowsError, Traffic, read_devices};

/// How often a summary is logged.
const SUMMARY_EVERY: Duration = Duration::from_secs(10);
/// Time between the starts of two devices.
const START_SPREAD: Duration = Duration::from_millis(1);
/// Default of `--reconnect-spread-s` here: shorter than on devices, because people watch the demo.
const RECONNECT_SPREAD_S: u64 = 1;
/// Bytes that are kept of a model's predictions on one device for their ground truth.
const TRUTH_BYTES: usize = 64 * 1024;
/// Open files per device: its connection, its lock, and some to spare.
const FILES_PER_DEVICE: u64 = 6;

/// Why the load generator does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FleetError {
    /// The CSV files.
    #[error("read the fleet")]
    Rows(#[from] RowsError),
    /// What all devices share.
    #[error("set up the host")]
    Host(#[from] HostError),
    /// The password file.
    #[error("read the passwords")]
    Passwords(#[from] PasswordsError),
    /// A device's folder.
    #[error("open the folder of {device}")]
    Store {
        /// The device.
        device: DeviceId,
        /// Why not.
        #[source]
        source: StoreError,
    },
    /// A device without a password.
    #[error("the password file has no line for {0}")]
    Password(DeviceId),
    /// A rate that is no rate.
    #[error("--rate {0} is not possible; it must be above 0 and at most 10000")]
    Rate(f64),
    /// No thread could be started.
    #[error("start a thread")]
    Thread(#[source] std::io::Error),
}

/// Runs the devices until `stop`.
///
/// # Errors
/// When the settings are of no use. A device that fails later is logged and leaves the others alone.
pub(crate) async fn run(mut args: LoadArgs, stop: CancellationToken) -> Result<(), FleetError> {
    if !(args.rate.is_finite() && args.rate > 0.0 && args.rate <= 10_000.0) {
        return Err(FleetError::Rate(args.rate));
    }
    let rows = read_devices(&args.devices)?;
    let rows = chosen(rows, &args);
    let traffic = args.traffic.as_ref().map(|path| Traffic::read(path, &rows, &args.positive)).transpose()?;
    let known = args.passwords.as_ref().map(|path| read_passwords(path)).transpose()?;
    raise_file_limit(rows.len());
    args.common.reconnect_spread_s.get_or_insert(RECONNECT_SPREAD_S);
    let host = Host::new(&args.common, args.threads, &Isolation::None)?;
    let mut played = Vec::new();
    let mut tasks = JoinSet::new();
    for (index, row) in rows.iter().enumerate() {
        let credentials = match &known {
            None => None,
            Some(known) => {
                let password = known.get(row.account.as_str());
                let password = password.ok_or_else(|| FleetError::Password(row.id.clone()))?;
                Some(Credentials { username: row.account.clone(), password: password.clone() })
            }
        };
        let dir: PathBuf = args.dir.join(row.id.as_str());
        let failed = |source| FleetError::Store { device: row.id.clone(), source };
        let store = Store::open(&dir, args.durable).map_err(failed)?;
        let probe = Probe::shared_by(rows.len());
        let mut parts = host.parts(row.id.clone(), row.labels.clone(), store, credentials, probe, 0);
        // The truth comes soon here, and hundreds of devices share the memory.
        parts.truth_limits.bytes = TRUTH_BYTES;
        let (models, device) = Device::start(parts, stop.clone());
        played.push(Played { id: row.id.clone(), labels: row.labels.clone(), models });
        let (id, wait) =
            (row.id.clone(), START_SPREAD.saturating_mul(u32::try_from(index).unwrap_or(u32::MAX)));
        tasks.spawn(async move {
            tokio::time::sleep(wait).await;
            if let Err(cause) = device.await {
                error!(device = %id, error = %chain(&cause), "device stopped");
            }
        });
    }
    info!(devices = rows.len(), predicts = traffic.is_some(), "devices started");
    let threads = match traffic {
        Some(traffic) => Driver::start(&args, traffic, played, stop.clone()).map_err(FleetError::Thread)?,
        None => Driver::default(),
    };
    summaries(&host, &threads, &stop).await;
    while tasks.join_next().await.is_some() {}
    threads.join();
    Ok(())
}

/// Logs summaries until `stop`.
async fn summaries(host: &Host, driver: &Driver, stop: &CancellationToken) {
    let mut probe = Probe::shared_by(1);
    let (mut then, mut before) = (Instant::now(), 0);
    loop {
        tokio::select! {
            () = tokio::time::sleep(SUMMARY_EVERY) => {}
            () = stop.cancelled() => return,
        }
        let total = driver.predictions.load(Ordering::Relaxed);
        let seconds = then.elapsed().as_secs_f64().max(0.001);
        let usage = probe.usage();
        info!(
            connected = host.connected(),
            predictions = total,
            predictions_per_second = ((total - before) as f64 / seconds).round(),
            failed = driver.failed.load(Ordering::Relaxed),
            cpu_percent = usage.cpu_ppm / 10_000,
            memory_mib = usage.memory_bytes / (1024 * 1024),
            "fleet"
        );
        (then, before) = (Instant::now(), total);
    }
}

/// The devices to run: without those that run elsewhere, as many as requested.
fn chosen(rows: Vec<DeviceRow>, args: &LoadArgs) -> Vec<DeviceRow> {
    let rows: Vec<DeviceRow> = rows.into_iter().filter(|row| !args.except.contains(&row.id)).collect();
    let count = args.count.unwrap_or(rows.len());
    let again = |index: usize| {
        let row = rows.get(index % rows.len().max(1))?;
        let round = index / rows.len();
        let id = if round == 0 { row.id.clone() } else { format!("{}-{round}", row.id).parse().ok()? };
        Some(DeviceRow { account: id.to_string(), id, labels: row.labels.clone() })
    };
    (0..count).map_while(again).collect()
}

/// Every device holds a connection and a lock, so the usual limit of 1024 open files is too low.
fn raise_file_limit(devices: usize) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let needed = 256 + FILES_PER_DEVICE * u64::try_from(devices).unwrap_or(u64::MAX / 16);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= needed) {
        return;
    }
    let current = Some(maximum.map_or(needed, |most| most.min(needed)));
    if setrlimit(Resource::Nofile, Rlimit { current, maximum }).is_err() || current < Some(needed) {
        warn!(needed, allowed = ?current, "the limit of open files is low; some devices may not connect");
    }
}

/// The values of the label columns, by which a device's readings are found.
pub(crate) fn class_of(labels: &Labels, columns: &[String]) -> Vec<String> {
    columns.iter().map(|column| labels.get(column).cloned().unwrap_or_default()).collect()
}
