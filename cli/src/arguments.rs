//! The command line.

use clap::{Parser, Subcommand};

use crate::cluster::ClusterFlags;
use crate::commands::{
    abort, broker_acl, completion, dashboard, device, devices, diff, enrol, explain, failures, history, hold,
    install, judge, keygen, lineage, lint, pause, pin, plan, promote, release, report, resume, retire, retry,
    set_aside, simulate, status, trust, tune,
};
use crate::outcome::EXIT_CODES;
use crate::register::arguments::RegisterArguments;

/// Rolls machine-learning models out to fleets of devices, and rolls them back when they misbehave.
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
    /// Upload a model and create its ModelVersion.
    Register(Box<RegisterArguments>),
    /// Say what an installation lacks, or make the keys, certificates and passwords that it needs.
    Install(Box<install::InstallArguments>),
    /// Create a pair of keys for signing models.
    Keygen(keygen::KeygenArguments),
    /// Create signed device cards, which vouch for the labels of devices.
    Enrol(enrol::EnrolArguments),
    /// Create, change and sign the trust document, which says which keys count in a fleet.
    Trust(Box<trust::TrustArguments>),
    /// Print the access rules of Mosquitto for the devices of a fleet.
    BrokerAcl(broker_acl::BrokerAclArguments),
    /// Show the progress of a rollout, or wait for it to end.
    Status(status::StatusArguments),
    /// Explain the state of a rollout: verdicts and decisions with their numbers.
    Explain(explain::ExplainArguments),
    /// Pause a rollout: no more devices get the version, and devices that have it keep it.
    Pause(pause::PauseArguments),
    /// Resume a paused rollout.
    Resume(resume::ResumeArguments),
    /// Approve a stage, or start it early.
    Promote(promote::PromoteArguments),
    /// End a rollout and take the version back from every device.
    Abort(abort::AbortArguments),
    /// Start a rolled-back or aborted rollout again.
    Retry(retry::RetryArguments),
    /// Leave devices out of a rollout, for example broken ones that hold it up, or take them in again.
    SetAside(set_aside::SetAsideArguments),
    /// Let one device run a version of your choice, whatever its plan says.
    Pin(pin::PinArguments),
    /// Let one device keep what it runs, whatever its plan says.
    Hold(hold::HoldArguments),
    /// Let one device follow its plans again.
    Release(release::ReleaseArguments),
    /// Take a device that is gone for good out of the fleet, or take it back.
    Retire(retire::RetireArguments),
    /// Show fleets, rollouts, models, alarms and devices in the browser, read only.
    Dashboard(dashboard::DashboardArguments),
    /// List devices, with what they run and why they failed.
    Devices(devices::DevicesArguments),
    /// Show one device: what it runs, its newest windows, and what changed on it last.
    Device(device::DeviceArguments),
    /// Show why devices failed, by reason.
    Failures(failures::FailuresArguments),
    /// List the versions of a model with stage, digest, author and age.
    History(history::HistoryArguments),
    /// Report what a model did: accuracy, errors, latency and drift, from the history that the controller keeps.
    Report(Box<report::ReportArguments>),
    /// Work out what a threshold costs, and how many false alarms a specificity means.
    Tune(tune::TuneArguments),
    /// Compare two versions of a model: inputs, outputs, metrics, features, needs and origin.
    Diff(diff::DiffArguments),
    /// Show where versions come from, which rollouts carried them, and where they run now.
    Lineage(lineage::LineageArguments),
    /// Check files of Rollouts and ModelVersions without a server.
    Lint(lint::LintArguments),
    /// Show what each stage of a rollout can prove, before it starts.
    Plan(plan::PlanArguments),
    /// Simulate a rollout many times on the fleet that a scenario describes.
    Simulate(simulate::SimulateArguments),
    /// Judge recorded looks again.
    Judge(judge::JudgeArguments),
    /// Print a completion script for a shell.
    Completion(completion::CompletionArguments),
}
