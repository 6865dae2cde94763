//! The worker's side: it opens the engine, gives up what it does not need, and answers until the agent closes the
//! connection or ends.

use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;

use tokio::signal::unix::{SignalKind, signal};

use super::frames::{FrameError, Frames};
use super::messages::{Described, Failed, Kind, Reply, Request};
use super::{WorkerArgs, sandbox};
use crate::engine::onnxruntime::OnnxRuntime;
use crate::engine::{Engine as _, LoadError, Ports, RunError, Session};

/// Why a worker ends before the agent wants it to.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The system did not let it do what a worker must.
    #[error("prepare the worker: {0}")]
    System(String),
    /// Signals cannot be caught.
    #[error("catch signals to end")]
    Signals(#[source] std::io::Error),
    /// Standard input is no connection.
    #[error("this command is for the agent itself: it speaks with its workers over their standard input")]
    Connection(#[source] std::io::Error),
    /// The connection to the agent broke, or carried something else than requests.
    #[error("speak with the agent: {0}")]
    Agent(String),
}

/// Runs a worker until the agent closes the connection.
///
/// # Errors
/// When it cannot work, or the connection breaks.
pub fn run(args: &WorkerArgs) -> Result<(), WorkerError> {
    sandbox::bind_to_agent().map_err(WorkerError::System)?;
    outlast_signals().map_err(WorkerError::Signals)?;
    let stdin = std::io::stdin().as_fd().try_clone_to_owned().map_err(WorkerError::Connection)?;
    let mut frames = Frames::over(UnixStream::from(stdin));
    let mut worker = Worker {
        engine: OnnxRuntime::start(&args.library, 1).map_err(|e| crate::log::chain(&e)),
        session: None,
    };
    sandbox::limit_memory(args.memory_limit_bytes).map_err(WorkerError::System)?;
    let unconfined = sandbox::confine().err();
    loop {
        let message = match frames.receive(usize::MAX / 2) {
            Ok(message) => message,
            Err(FrameError::Closed) => return Ok(()),
            Err(error) => return Err(WorkerError::Agent(crate::log::chain(&error))),
        };
        let request = Request::read(message).map_err(|e| WorkerError::Agent(e.to_string()))?;
        let reply = worker.answer(request, unconfined.as_deref());
        let sent = frames.send(|out| reply.write(out), &[]);
        match sent {
            Err(FrameError::Closed) => return Ok(()),
            other => other.map_err(|error| WorkerError::Agent(crate::log::chain(&error)))?,
        }
    }
}

/// Catches the signals that ask a program to end. Service managers and terminals send them to the agent and to its workers
/// alike; the agent may still have requests to answer, and ends its workers by itself.
fn outlast_signals() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _entered = runtime.enter();
    for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
        // They stay caught when this is dropped.
        drop(signal(kind)?);
    }
    Ok(())
}

struct Worker {
    /// Why it is not there, otherwise.
    engine: Result<OnnxRuntime, String>,
    session: Option<Box<dyn Session>>,
}

impl Worker {
    fn answer(&mut self, request: Request<'_>, unconfined: Option<&str>) -> Reply {
        let engine = match &mut self.engine {
            Ok(engine) => engine,
            Err(why) => return Reply::Failed(Failed::of(Kind::Open, why.clone())),
        };
        match request {
            Request::Describe => {
                engine.describe();
                Reply::Described(Described { info: engine.info(), unconfined: unconfined.map(str::to_owned) })
            }
            Request::Load(model) => match engine.load(model, &Ports::default()) {
                Ok(session) => {
                    self.session = Some(session);
                    Reply::Loaded
                }
                Err(error) => Reply::Failed(not_loaded(error)),
            },
            Request::Run(inputs) => match self.session.as_ref().map(|session| session.run(&inputs)) {
                Some(Ok(outputs)) => Reply::Answer(outputs),
                Some(Err(error)) => Reply::Failed(not_run(error)),
                None => Reply::Failed(Failed::of(Kind::Engine, "no model is loaded")),
            },
        }
    }
}

fn not_loaded(error: LoadError) -> Failed {
    match error {
        LoadError::OperatorMissing { detail, .. } => Failed::of(Kind::OperatorMissing, detail),
        LoadError::Refused { detail, .. } => Failed::of(Kind::Refused, detail),
        LoadError::Memory { detail, .. } => Failed::of(Kind::Memory, detail),
        other => Failed::of(Kind::Refused, crate::log::chain(&other)),
    }
}

fn not_run(error: RunError) -> Failed {
    let named = |kind, name, detail| Failed { kind, name, detail, bytes: 0 };
    match error {
        RunError::Input { name, reason } => named(Kind::Input, name, reason),
        RunError::Output { name, reason } => named(Kind::Output, name, reason),
        RunError::Values { detail, .. } => Failed::of(Kind::Values, detail),
        RunError::Memory { detail, .. } => Failed::of(Kind::Memory, detail),
        RunError::Large { bytes } => Failed { bytes: bytes as u64, ..Failed::of(Kind::Large, "") },
        RunError::Engine { detail, .. } | RunError::Ended { detail, .. } => Failed::of(Kind::Engine, detail),
    }
}
