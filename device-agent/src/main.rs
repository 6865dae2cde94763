//! `modelfleet-agent`: arguments, log, runtime, run.

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser as _;
use modelfleet_agent::config::{
    Cli, Command, CommonArgs, RunArgs, can_be_read, go_without, labels, own_card,
};
use modelfleet_agent::device::Device;
use modelfleet_agent::host::{Host, Isolation};
use modelfleet_agent::mqtt::{Credentials, read_password};
use modelfleet_agent::probe::Probe;
use modelfleet_agent::serve::Problem;
use modelfleet_agent::store::Store;
use modelfleet_agent::{api, inherited, log, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// Threads for disk, loading and predictions of the local API, started on demand. The limit is high, because a model that
/// hangs keeps some of them until the process ends.
const BLOCKING_THREADS_MAX: usize = 128;
/// How often the agent checks whether settings that could not be read can be read again.
const SETTINGS_EVERY: Duration = Duration::from_secs(10);
/// Longest time for the device and its API to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

fn main() -> anyhow::Result<()> {
    let args = match Cli::parse().command {
        Command::Run(args) => *args,
        #[cfg(feature = "onnxruntime")]
        Command::EngineWorker(args) => {
            return modelfleet_agent::engine::worker::run(&args).context("run a model for the agent");
        }
    };
    inherited::keep_descriptors();
    // State, models and temporary files are the agent's alone.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    log::start(&args.common);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .enable_all()
        .build()
        .context("start the runtime")?;
    let outcome = runtime.block_on(async {
        let stop = CancellationToken::new();
        tokio::spawn(signal::stop_on(stop.clone()));
        run(args, stop).await
    });
    // A prediction that never ends must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

async fn run(mut args: RunArgs, stop: CancellationToken) -> anyhow::Result<()> {
    let store = Store::open(&args.dir, true).context("open the device's folder")?;
    let others = args.password_file.iter().chain(&args.common.trust_root).cloned().collect();
    let files: (_, Vec<PathBuf>) = (args.common.plan_key.clone(), others);
    // A device that has installed models keeps answering without a file that is missing.
    let without = if store.is_lived_in() { go_without(&mut args) } else { None };
    if let Some(told) = &without {
        error!(device = %args.device, "{told}");
    }
    let credentials = match (&args.password_file, args.username) {
        (Some(path), username) => Some(Credentials {
            username: username.unwrap_or_else(|| args.device.to_string()),
            password: read_password(path).with_context(|| format!("read password {}", path.display()))?,
        }),
        (None, Some(username)) => Some(Credentials { username, password: String::new() }),
        (None, None) => None,
    };
    warn_of_open_connection(&args.common, credentials.is_some());
    let isolation = Isolation::of(args.engine_isolation, args.engine_memory_limit_mib);
    let host = Host::new(&args.common, 1, &isolation).context("set up the device")?;
    let limit = args.memory_limit_mib.saturating_mul(1024 * 1024);
    let labels = labels(&args.label)?;
    let mut parts = host.parts(args.device.clone(), labels, store, credentials, Probe::shared_by(1), limit);
    let card = args.card.as_deref().map(|path| own_card(path, &args.common.namespace, &args.device));
    match card.transpose() {
        Ok(Some(card)) => {
            (parts.identity.card, parts.identity.labels) = (Some(card.text), card.labels);
        }
        Ok(None) => {}
        // A device that has installed models keeps answering; without its card it is told, and left out, at the controller.
        Err(wrong) => {
            error!(device = %args.device, error = modelfleet_agent::log::chain(&wrong), "no device card")
        }
    }
    let (models, device) = Device::start(parts, stop.clone());
    models.set_problem(Problem::Settings, without.clone());
    info!(device = %args.device, namespace = %args.common.namespace, "agent started");
    let time_limit = Duration::from_millis(args.common.prediction_timeout_ms);
    let access = api::AccessRules::at(&args.listen, &args.allow_host, &args.allow_origin);
    let api = api::serve(&args.listen, &args.dir, Arc::clone(&models), time_limit, access, stop.clone());
    // If one of the two ends, the other is stopped.
    let device = async {
        let ended = device.await.context("run the device");
        stop.cancel();
        ended
    };
    let api = async {
        let ended = api.await.context("run the local API");
        stop.cancel();
        ended
    };
    let both = async {
        let (device, api) = tokio::join!(device, api);
        device.and(api)
    };
    let back = Cell::new(false);
    let wait = async {
        settings_back(&files.0, &files.1).await;
        back.set(true);
        stop.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        outcome = both => {
            anyhow::ensure!(!back.get(), "the settings can be read again; the agent must be started again");
            outcome
        }
        () = wait, if without.is_some() => Ok(()),
        () = overdue(&stop) => anyhow::bail!("the agent did not stop within {} s", STOP_TIMEOUT.as_secs()),
    }
}

fn warn_of_open_connection(settings: &CommonArgs, has_password: bool) {
    if settings.broker.is_open() && has_password {
        warn!("the password for the broker crosses the network in the clear; use mqtts:// and --ca");
    }
    if !settings.broker.tls && settings.client_cert.is_some() {
        warn!("the client certificate is not used, because the broker's address is not mqtts://");
    }
}

/// Waits until the settings that could not be read can be read.
async fn settings_back(plan_keys: &[PathBuf], others: &[PathBuf]) {
    while !can_be_read(plan_keys, others) {
        tokio::time::sleep(SETTINGS_EVERY).await;
    }
}

/// Waits until the stop has taken too long. Everything that was decided is on the disk by then.
async fn overdue(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(STOP_TIMEOUT).await;
}
