//! `modelfleet-load`: a load generator for demos and tests.
//!
//! It runs the agent's own code for many devices in one process. It is a program of its own, so that the agent that
//! is installed on devices does not contain it.

mod arguments;
mod drive;
mod fleet;
mod passwords;
mod player;
mod question;
mod rows;

use std::time::Duration;

use anyhow::Context as _;
use clap::Parser as _;
use modelfleet_agent::{log, signal, telemetry};
use tokio_util::sync::CancellationToken;

/// Threads that answer the devices' requests to MQTT, disk and network.
const WORKER_THREADS: usize = 2;
/// Threads for disk and loading, at most; a model that hangs keeps its thread.
const BLOCKING_THREADS_MAX: usize = 128;

fn main() -> anyhow::Result<()> {
    let args = arguments::LoadArgs::parse();
    telemetry::switch_off()?;
    log::start(&args.common);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .enable_all()
        .build()
        .context("start the runtime")?;
    let outcome = runtime.block_on(async {
        let stop = CancellationToken::new();
        tokio::spawn(signal::stop_on(stop.clone()));
        fleet::run(args, stop).await.context("run the fleet")
    });
    // A prediction that never ends must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}
