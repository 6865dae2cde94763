//! ONNX Runtime in processes of its own, one for each loaded build. An engine written in C++ that crashes, hangs or takes all
//! memory ends its own process: that is an outcome of the build, and neither the agent nor other models notice.
//!
//! A worker is the agent's own program, started with the hidden command `engine-worker`. It speaks with the agent over a
//! socket that only the two have, and gives up files, network and other processes before it sees a model.

mod frames;
mod messages;
mod process;
mod sandbox;
mod serving;
mod session;

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use modelfleet_protocol::state::EngineInfo;

use super::onnxruntime::NAME;
use super::{Engine, LoadError, Ports, Session};
use crate::probe::Processes;
use process::Workers;
pub use serving::{WorkerError, run};
use session::{Remote, Worker};

/// Settings of a worker.
#[derive(Args, Clone, Debug)]
pub struct WorkerArgs {
    /// The shared library of ONNX Runtime.
    #[arg(long, value_name = "FILE")]
    pub library: PathBuf,
    /// Memory that the worker may allocate, in bytes. 0: no limit.
    #[arg(long, default_value_t = 0, value_name = "BYTES")]
    pub memory_limit_bytes: u64,
}

/// How workers are started.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The agent's program.
    pub program: PathBuf,
    /// What a worker is told.
    pub worker: WorkerArgs,
}

/// Why the engine is not there.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no thread to start workers from.
    #[error("start the thread that starts worker processes")]
    Thread(#[source] std::io::Error),
    /// A worker could not open the engine, or could not be started.
    #[error("open ONNX Runtime at {library} in a worker process: {detail}")]
    Worker {
        /// The library.
        library: PathBuf,
        /// Why not.
        detail: String,
    },
}

/// ONNX Runtime in worker processes.
pub struct WorkerEngine {
    settings: Settings,
    workers: Arc<Workers>,
    info: EngineInfo,
    unconfined: Option<String>,
}

impl WorkerEngine {
    /// Asks a first worker what the engine is. It ends then.
    ///
    /// # Errors
    /// When no worker can be started, or the library cannot be opened there.
    pub fn open(settings: Settings) -> Result<WorkerEngine, OpenError> {
        let workers = Workers::new().map_err(OpenError::Thread)?;
        let described = Worker::start(&workers, &settings).and_then(|mut worker| worker.describe());
        let library = settings.worker.library.clone();
        let described = described.map_err(|detail| OpenError::Worker { library, detail })?;
        Ok(WorkerEngine { settings, workers, info: described.info, unconfined: described.unconfined })
    }

    /// Why workers keep their access to files and network; `None` if they have none.
    #[must_use]
    pub fn unconfined(&self) -> Option<&str> {
        self.unconfined.as_deref()
    }
}

impl Engine for WorkerEngine {
    fn info(&self) -> EngineInfo {
        self.info.clone()
    }

    fn is_reference(&self) -> bool {
        true
    }

    fn open_max(&self) -> Option<usize> {
        None
    }

    fn processes(&self) -> Option<Arc<dyn Processes>> {
        Some(self.workers.clone())
    }

    fn load(&self, bytes: &[u8], _: &Ports) -> Result<Box<dyn Session>, LoadError> {
        let engine = || NAME.to_owned();
        let worker = Worker::start(&self.workers, &self.settings);
        let mut worker = worker.map_err(|detail| LoadError::NotStarted { engine: engine(), detail })?;
        worker.load(bytes).map_err(|detail| LoadError::Refused { engine: engine(), detail })??;
        Ok(Box::new(Remote::of(worker)))
    }
}
