//! The command line.

use clap::{Parser, Subcommand};

use crate::cluster::ClusterFlags;
use crate::commands::{
    abort, completion, explain, history, judge, keygen, lint, pause, plan, promote, resume, retry, simulate,
    status,
};
use crate::outcome::EXIT_CODES;
use crate::register::arguments::RegisterArguments;

/// Moves machine-learning models onto fleets of devices, and takes them back when they misbehave.
#[derive(Debug, Parser)]
#[command(name = "kubectl-modelfleet", bin_name = "kubectl modelfleet", version, after_help = EXIT_CODES)]
pub struct Arguments {
    /// Which API server, and which namespace of it.
    #[command(flatten)]
    pub cluster: ClusterFlags,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Upload a model and make it known as a ModelVersion.
    Register(Box<RegisterArguments>),
    /// Make a key that signs models.
    Keygen(keygen::KeygenArguments),
    /// Show where a rollout stands, or wait for its end.
    Status(status::StatusArguments),
    /// Say why a rollout stands where it stands: verdicts and decisions with their numbers.
    Explain(explain::ExplainArguments),
    /// Let a rollout stand still: no further device gets the version, those that have it keep it.
    Pause(pause::PauseArguments),
    /// Let a paused rollout go on.
    Resume(resume::ResumeArguments),
    /// Approve a stage, or let it begin before its time.
    Promote(promote::PromoteArguments),
    /// End a rollout and take the version back from every device.
    Abort(abort::AbortArguments),
    /// Start a rolled back or aborted rollout again.
    Retry(retry::RetryArguments),
    /// List the versions of a model: stage, digest, who and when.
    History(history::HistoryArguments),
    /// Check files with Rollouts and ModelVersions without a server.
    Lint(lint::LintArguments),
    /// Say what each stage of a rollout can prove, before it starts.
    Plan(plan::PlanArguments),
    /// Roll out many times on a fleet that a scenario describes, and count.
    Simulate(simulate::SimulateArguments),
    /// Judge recorded looks again.
    Judge(judge::JudgeArguments),
    /// Print a script that completes this command in a shell.
    Completion(completion::CompletionArguments),
}
