//! One running part: a process with a log file, in a process group of its own, ended with this value.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::wait::{WaitedTooLong, until};

/// How long a part may take to end before it is killed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a part did not start, or is gone.
#[derive(Debug, thiserror::Error)]
pub enum PartError {
    /// The program could not be started.
    #[error("start {name} ({program})")]
    Start {
        /// Name of the part.
        name: String,
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file of the part could not be written or read.
    #[error("{what} {path:?}")]
    File {
        /// What was being done.
        what: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It was not ready in time; the end of its log tells why.
    #[error("{name} is not ready; its log ends:\n{log}")]
    NotReady {
        /// Name of the part.
        name: String,
        /// The last lines of its log.
        log: String,
        /// What was waited for.
        #[source]
        source: WaitedTooLong,
    },
    /// The broker's certificate could not be made.
    #[error("make a certificate")]
    Certificate(#[source] rcgen::Error),
    /// A command ended badly.
    #[error("{what}: {message}")]
    Command {
        /// What was being done.
        what: String,
        /// What it printed.
        message: String,
    },
}

/// A running part.
#[derive(Debug)]
pub struct Part {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Part {
    /// Starts `command` with its output in `dir/name.log`.
    ///
    /// # Errors
    /// When the log cannot be made or the program not be started.
    pub fn start(name: &str, dir: &Path, command: &mut Command) -> Result<Part, PartError> {
        let log = dir.join(format!("{name}.log"));
        let failed = |source| PartError::File { what: "write", path: log.clone(), source };
        let out = File::options().create(true).append(true).open(&log).map_err(failed)?;
        let err = out.try_clone().map_err(failed)?;
        let program = command.get_program().to_string_lossy().into_owned();
        let child = ended_with_us(command)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .process_group(0)
            .spawn()
            .map_err(|source| PartError::Start { name: name.into(), program, source })?;
        Ok(Part { name: name.to_owned(), child, log })
    }

    /// Waits until `look` finds the part ready.
    ///
    /// # Errors
    /// When it has ended, or is not ready within `limit`; with the end of its log.
    pub fn ready<T>(
        &mut self,
        limit: Duration,
        mut look: impl FnMut() -> Result<T, String>,
    ) -> Result<T, PartError> {
        let name = self.name.clone();
        let child = &mut self.child;
        let result = until(format!("{name} to be ready"), limit, || match child.try_wait() {
            Ok(Some(status)) => Err(format!("it has ended: {status}")),
            _ => look(),
        });
        result.map_err(|source| PartError::NotReady { name, log: self.log_end(), source })
    }

    /// The part's log so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The last lines of its log.
    #[must_use]
    pub fn log_end(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }

    /// Where its log is.
    #[must_use]
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills it at once, as a power cut would.
    pub fn kill(&mut self) {
        self.signal("-KILL");
        let _ = self.child.wait();
    }

    /// Asks it to end; [`Part::wait_end`] tells how it did.
    pub fn ask_to_end(&self) {
        self.signal("-TERM");
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// When it still runs after `limit`.
    pub fn wait_end(&mut self, limit: Duration) -> Result<ExitStatus, WaitedTooLong> {
        let child = &mut self.child;
        until(format!("{} to end", self.name), limit, || match child.try_wait() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err("it still runs".to_owned()),
            Err(error) => Err(error.to_string()),
        })
    }

    /// Stops it without its noticing; [`Part::resume`] lets it go on.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets a frozen part go on.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    /// Asks it to end, and kills it when it does not.
    pub fn stop(&mut self) {
        if !self.is_running() {
            return;
        }
        self.ask_to_end();
        if self.wait_end(PATIENCE).is_err() {
            self.kill();
        }
    }

    fn signal(&self, signal: &str) {
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args([signal, "--", &group]).stderr(Stdio::null()).status();
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The same command, told by the kernel to end when we are gone, however we went.
fn ended_with_us(command: &Command) -> Command {
    let mut tied = Command::new("setpriv");
    tied.args(["--pdeathsig", "TERM", "--"]).arg(command.get_program()).args(command.get_args());
    if let Some(dir) = command.get_current_dir() {
        tied.current_dir(dir);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => tied.env(name, value),
            None => tied.env_remove(name),
        };
    }
    tied
}

/// Runs a command to its end and returns what it printed.
///
/// # Errors
/// When it cannot be started or ends with a failure; with what it printed on standard error.
pub fn run(what: &str, command: &mut Command) -> Result<String, PartError> {
    run_with_input(what, command, "")
}

/// The same with `input` as its standard input.
///
/// # Errors
/// As [`run`].
pub fn run_with_input(what: &str, command: &mut Command, input: &str) -> Result<String, PartError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |source| PartError::Start { name: what.to_owned(), program: program.clone(), source };
    let streams = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = streams.spawn().map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends without reading closes its input; what it prints and its end say why.
        let _ = stdin.write_all(input.as_bytes());
    }
    let out = child.wait_with_output().map_err(failed)?;
    if out.status.success() {
        return Ok(String::from_utf8_lossy(&out.stdout).into_owned());
    }
    let message = String::from_utf8_lossy(&out.stderr).trim().to_owned();
    Err(PartError::Command { what: what.to_owned(), message })
}
