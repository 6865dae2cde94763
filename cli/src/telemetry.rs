//! ONNX Runtime reports to its maker since version 1.29, and writes an identifier of the machine to its disk. This program does
//! not let it.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;
use std::process::Command;

/// What the library looks for when it is loaded.
const OFF: &str = "ORT_DISABLE_TELEMETRY";

/// Why the library's telemetry could not be switched off.
#[derive(Debug, thiserror::Error)]
#[error("start this program again with {OFF}=1; set it yourself to do without")]
pub struct TelemetryError(#[source] io::Error);

/// Makes sure that a library that is loaded later reports nothing. Where the environment does not say so, this program is
/// started again in its own place with an environment that does: a process with threads must not change its own. Call it before
/// anything else is done.
///
/// # Errors
/// When the program cannot be started again.
pub fn switch_off() -> Result<(), TelemetryError> {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let program = std::env::current_exe().map_err(TelemetryError)?;
    match again(std::env::var_os(OFF).as_deref(), program, &name, arguments.collect()) {
        Some(command) => replace(command),
        None => Ok(()),
    }
}

/// The command that starts this program again, unless the environment says something already.
fn again(told: Option<&OsStr>, program: PathBuf, name: &OsStr, arguments: Vec<OsString>) -> Option<Command> {
    if told.is_some() {
        return None;
    }
    let mut command = Command::new(program);
    command.args(arguments).env(OFF, "1");
    called(&mut command, name);
    Some(command)
}

#[cfg(unix)]
fn called(command: &mut Command, name: &OsStr) {
    use std::os::unix::process::CommandExt as _;
    command.arg0(name);
}

#[cfg(not(unix))]
fn called(_: &mut Command, _: &OsStr) {}

#[cfg(unix)]
fn replace(mut command: Command) -> Result<(), TelemetryError> {
    use std::os::unix::process::CommandExt as _;
    Err(TelemetryError(command.exec()))
}

#[cfg(not(unix))]
fn replace(mut command: Command) -> Result<(), TelemetryError> {
    let status = command.status().map_err(TelemetryError)?;
    std::process::exit(status.code().unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_started_again_once_with_the_same_words() {
        let arguments = vec![OsString::from("register"), OsString::from("--model")];
        let again = |told| again(told, "/bin/plugin".into(), OsStr::new("plugin"), arguments.clone());
        for told in ["1", "0", ""] {
            assert!(again(Some(OsStr::new(told))).is_none(), "{told:?} is the user's choice");
        }
        let command = again(None).unwrap();
        assert_eq!(command.get_args().collect::<Vec<_>>(), ["register", "--model"]);
        assert_eq!(command.get_envs().collect::<Vec<_>>(), [(OsStr::new(OFF), Some(OsStr::new("1")))]);
    }
}
