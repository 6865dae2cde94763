//! Worker processes: how they are started, what they use, and how they end.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use super::{Settings, WorkerArgs};
use crate::probe::{Processes, cpu_nanos_of, resident_bytes_of};

/// How long a worker that was killed, or that has closed its connection, may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(2);
/// How often this is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// A request to start a process, and where its outcome goes.
type Start = (Command, mpsc::Sender<io::Result<Child>>);

/// The workers of one agent.
pub struct Workers {
    starts: Mutex<mpsc::Sender<Start>>,
    /// Ids of those that run.
    running: Mutex<Vec<u32>>,
    /// Those that were killed, until they are gone.
    leaving: Mutex<Vec<Child>>,
    /// Processor time of those that have ended, nanoseconds.
    spent_nanos: AtomicU64,
}

impl Workers {
    /// No workers yet.
    ///
    /// # Errors
    /// When there is no thread to start them from.
    pub fn new() -> io::Result<Arc<Workers>> {
        let (starts, requests) = mpsc::channel::<Start>();
        // The system ends a worker when the thread that has started it ends. This one lives as long as the process.
        std::thread::Builder::new().name("workers".into()).spawn(move || {
            for (mut command, reply) in requests {
                // Who asked may have given up.
                let _ = reply.send(command.spawn());
            }
        })?;
        let (running, leaving) = Default::default();
        Ok(Arc::new(Workers { starts: Mutex::new(starts), running, leaving, spent_nanos: AtomicU64::new(0) }))
    }

    /// Starts a worker, and returns it with the agent's end of the connection to it.
    pub(super) fn start(self: &Arc<Workers>, settings: &Settings) -> io::Result<(Process, UnixStream)> {
        self.collect();
        let (own, its) = UnixStream::pair()?;
        let mut command = Command::new(&settings.program);
        let WorkerArgs { library, memory_limit_bytes } = &settings.worker;
        command.arg("engine-worker").arg("--library").arg(library);
        command.arg("--memory-limit-bytes").arg(memory_limit_bytes.to_string());
        // Addresses, passwords and whatever else the environment holds are no business of a model.
        command.env_clear();
        command.envs(std::env::var_os("LD_LIBRARY_PATH").map(|path| ("LD_LIBRARY_PATH", path)));
        // The library would write an identifier of the device to its disk, and report to its maker over the network.
        command.env(crate::telemetry::OFF, "1");
        command.current_dir(Path::new("/"));
        // Every other descriptor of the agent is closed when a program is started.
        command.stdin(OwnedFd::from(its)).stdout(Stdio::null()).stderr(Stdio::inherit());
        let (reply, outcome) = mpsc::channel();
        let lost = || io::Error::other("the thread that starts workers has ended");
        lock(&self.starts).send((command, reply)).map_err(|_| lost())?;
        let child = outcome.recv().map_err(|_| lost())??;
        lock(&self.running).push(child.id());
        Ok((Process { child: Some(child), of: self.clone() }, own))
    }

    /// Asks how those have ended that were killed, so that the system can forget them.
    fn collect(&self) {
        lock(&self.leaving).retain_mut(|child| matches!(child.try_wait(), Ok(None)));
    }
}

impl Processes for Workers {
    fn memory_bytes(&self) -> u64 {
        self.collect();
        lock(&self.running).iter().map(|&pid| resident_bytes_of(pid)).sum()
    }

    fn cpu_nanos(&self) -> u64 {
        let now: u64 = lock(&self.running).iter().map(|&pid| cpu_nanos_of(pid)).sum();
        now.saturating_add(self.spent_nanos.load(Ordering::Relaxed))
    }
}

/// A worker. It is ended on drop.
pub(super) struct Process {
    child: Option<Child>,
    of: Arc<Workers>,
}

impl Process {
    pub(super) fn memory_bytes(&self) -> u64 {
        self.child.as_ref().map_or(0, |child| resident_bytes_of(child.id()))
    }

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> Option<String> {
        let status = self.child.as_mut()?.try_wait().ok().flatten()?;
        Some(told(status))
    }

    /// Ends it. Says how it ended if it did so by itself, as one that has closed its connection does within a moment.
    pub(super) fn end(mut self, closed: bool) -> Option<String> {
        let by_itself = if closed { self.wait() } else { None };
        self.kill();
        if by_itself.is_none() {
            self.wait();
        }
        by_itself.map(told)
    }

    /// Waits until it is gone, for a while.
    fn wait(&mut self) -> Option<ExitStatus> {
        let child = self.child.as_mut()?;
        let until = Instant::now() + GONE_WITHIN;
        loop {
            match child.try_wait() {
                Ok(None) if Instant::now() < until => std::thread::sleep(LOOK_EVERY),
                status => return status.ok().flatten(),
            }
        }
    }

    fn kill(&mut self) {
        let Some(child) = &mut self.child else { return };
        let spent = cpu_nanos_of(child.id());
        // One that has ended by itself keeps the status that it ended with.
        let _ = child.kill();
        let pid = child.id();
        let mut running = lock(&self.of.running);
        if running.contains(&pid) {
            running.retain(|&other| other != pid);
            self.of.spent_nanos.fetch_add(spent, Ordering::Relaxed);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        // No caller waits for its end: it is looked at later.
        if let Some(child) = self.child.take() {
            lock(&self.of.leaving).push(child);
        }
        self.of.collect();
    }
}

/// How a process ended, in words.
fn told(status: ExitStatus) -> String {
    let name = |signal| match signal {
        4 => " (SIGILL)",
        6 => " (SIGABRT)",
        7 => " (SIGBUS)",
        8 => " (SIGFPE)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV)",
        31 => " (SIGSYS)",
        _ => "",
    };
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("it was ended by signal {signal}{}", name(signal)),
        (None, Some(code)) => format!("it ended with status {code}"),
        (None, None) => "it ended".to_owned(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
