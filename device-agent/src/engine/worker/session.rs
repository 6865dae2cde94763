//! A worker and the model in it, as the agent sees them.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, TryLockError};
use std::time::Duration;

use super::Settings;
use super::frames::{FrameError, Frames};
use super::messages::{DESCRIBE, Described, Failed, Kind, LOAD, RUN, Reply, write_tensors};
use super::process::{Process, Workers};
use crate::engine::onnxruntime::NAME;
use crate::engine::{LoadError, RunError, Session};
use crate::tensor::{ANSWER_BYTES_MAX, NamedTensor};

/// Longest time until a worker has opened its engine and said what it is. The first one reads a large library from flash.
const DESCRIBED_WITHIN: Duration = Duration::from_secs(60);
/// Longest time for a load, or for a prediction of the self-test.
const LOADED_WITHIN: Duration = Duration::from_secs(120);
/// Each megabyte of a model adds this to it.
const LOADED_WITHIN_PER_MEBIBYTE: Duration = Duration::from_secs(1);
/// Longest reply besides the elements of an answer, bytes.
const REPLY_SPARE_BYTES: usize = 1024 * 1024;

/// A worker process and the connection to it.
pub(super) struct Worker {
    /// `None` once it has ended.
    process: Option<Process>,
    frames: Frames,
}

impl Worker {
    pub(super) fn start(workers: &Arc<Workers>, settings: &Settings) -> Result<Worker, String> {
        let started = workers.start(settings);
        let (process, stream) =
            started.map_err(|e| format!("its worker process could not be started: {e}"))?;
        Ok(Worker { process: Some(process), frames: Frames::over(stream) })
    }

    /// What its engine is.
    pub(super) fn describe(&mut self) -> Result<Described, String> {
        match self.ask(DESCRIBED_WITHIN, |out| out.push(DESCRIBE), &[])? {
            Reply::Described(described) => Ok(described),
            Reply::Failed(failed) => Err(failed.detail),
            _ => Err(self.end_because("it sent the reply to another request")),
        }
    }

    /// Loads a model; the outer error is that of the worker.
    pub(super) fn load(&mut self, model: &[u8]) -> Result<Result<(), LoadError>, String> {
        let mebibytes = u32::try_from(model.len() >> 20).unwrap_or(u32::MAX);
        let within = LOADED_WITHIN + LOADED_WITHIN_PER_MEBIBYTE.saturating_mul(mebibytes);
        match self.ask(within, |out| out.push(LOAD), model)? {
            Reply::Loaded => Ok(Ok(())),
            Reply::Failed(failed) => Ok(Err(not_loaded(failed))),
            _ => Err(self.end_because("it sent the reply to another request")),
        }
    }

    fn run(&mut self, inputs: &[NamedTensor], within: Duration) -> Result<Vec<NamedTensor>, RunError> {
        let run = |out: &mut Vec<u8>| {
            out.push(RUN);
            write_tensors(inputs, out);
        };
        let ended = |detail| RunError::Ended { engine: NAME, detail };
        match self.ask(within, run, &[]).map_err(ended)? {
            Reply::Answer(outputs) => Ok(outputs),
            Reply::Failed(failed) => Err(not_run(failed)),
            _ => Err(ended(self.end_because("it sent the reply to another request"))),
        }
    }

    /// One request and its reply. After an error the worker has ended.
    fn ask(
        &mut self,
        within: Duration,
        write: impl FnOnce(&mut Vec<u8>),
        more: &[u8],
    ) -> Result<Reply, String> {
        if self.process.is_none() {
            return Err("its worker process has ended".to_owned());
        }
        let received = self.frames.set_time_limit(Some(within)).and_then(|()| {
            self.frames.send(write, more)?;
            self.frames.receive(ANSWER_BYTES_MAX + REPLY_SPARE_BYTES)
        });
        let trouble = match received.map(Reply::read) {
            Ok(Ok(reply)) => return Ok(reply),
            Ok(Err(malformed)) => malformed.to_string(),
            Err(FrameError::Closed) => {
                let ended = self.process.take().and_then(|process| process.end(true));
                let how = ended.unwrap_or_else(|| "it closed its connection".to_owned());
                return Err(format!("its worker process failed: {how}"));
            }
            Err(error) => crate::log::chain(&error),
        };
        Err(self.end_because(&trouble))
    }

    fn end_because(&mut self, trouble: &str) -> String {
        self.process.take().map(|process| process.end(false));
        format!("its worker process was ended by the agent: {trouble}")
    }

    /// Whether it has ended, and how.
    fn ended(&mut self) -> Option<String> {
        match &mut self.process {
            None => Some("its worker process has ended".to_owned()),
            Some(process) => process.ended().map(|how| format!("its worker process failed: {how}")),
        }
    }
}

/// A model that is loaded in a worker of its own.
pub(super) struct Remote {
    worker: Mutex<Worker>,
    /// How the worker ended.
    ended: OnceLock<String>,
}

impl Remote {
    pub(super) fn of(worker: Worker) -> Remote {
        Remote { worker: Mutex::new(worker), ended: OnceLock::new() }
    }
}

impl Session for Remote {
    fn run(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, RunError> {
        self.run_within(inputs, LOADED_WITHIN)
    }

    fn run_within(&self, inputs: &[NamedTensor], within: Duration) -> Result<Vec<NamedTensor>, RunError> {
        let outcome = self.worker.lock().unwrap_or_else(PoisonError::into_inner).run(inputs, within);
        if let Err(RunError::Ended { detail, .. }) = &outcome {
            self.ended.get_or_init(|| detail.clone());
        }
        outcome
    }

    fn ended(&self) -> Option<String> {
        if self.ended.get().is_none() {
            let mut worker = match self.worker.try_lock() {
                Ok(worker) => worker,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                // It is at work; the request that waits for the answer finds out.
                Err(TryLockError::WouldBlock) => return None,
            };
            let how = worker.ended()?;
            self.ended.get_or_init(|| how);
        }
        self.ended.get().cloned()
    }

    fn memory_bytes(&self) -> u64 {
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        worker.process.as_ref().map_or(0, Process::memory_bytes)
    }
}

fn not_loaded(failed: Failed) -> LoadError {
    let (engine, detail) = (NAME.to_owned(), failed.detail);
    match failed.kind {
        Kind::OperatorMissing => LoadError::OperatorMissing { engine, detail },
        Kind::Memory => LoadError::Memory { engine, detail },
        Kind::Open => LoadError::NotStarted { engine, detail },
        _ => LoadError::Refused { engine, detail },
    }
}

fn not_run(failed: Failed) -> RunError {
    let Failed { kind, name, detail, bytes } = failed;
    let engine = NAME;
    match kind {
        Kind::Input => RunError::Input { name, reason: detail },
        Kind::Output => RunError::Output { name, reason: detail },
        Kind::Values => RunError::Values { engine, detail },
        Kind::Memory => RunError::Memory { engine, detail },
        Kind::Large => RunError::Large { bytes: usize::try_from(bytes).unwrap_or(usize::MAX) },
        Kind::Open | Kind::OperatorMissing | Kind::Refused | Kind::Engine => {
            RunError::Engine { engine, detail }
        }
    }
}
