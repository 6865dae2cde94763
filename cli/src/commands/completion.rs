//! `completion`: a script for a shell.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::arguments::Arguments;
use crate::outcome::Outcome;
use crate::printing::{self, AnswerError};

/// The command line of `completion`.
#[derive(Debug, Args)]
#[command(after_help = "For kubectl-modelfleet:  source <(kubectl modelfleet completion bash)")]
pub struct CompletionArguments {
    /// The shell.
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Prints the script.
///
/// # Errors
/// When the output cannot be written.
pub fn run(arguments: &CompletionArguments) -> Result<Outcome, AnswerError> {
    let mut script = Vec::new();
    let mut command = Arguments::command().bin_name("kubectl-modelfleet");
    clap_complete::generate(arguments.shell, &mut command, "kubectl-modelfleet", &mut script);
    printing::answer(&String::from_utf8_lossy(&script))?;
    Ok(Outcome::Done)
}
