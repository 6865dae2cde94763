//! `kubectl modelfleet`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use modelfleet_cli::arguments::{Arguments, Command};
use modelfleet_cli::commands::{
    abort, broker_acl, completion, dashboard, device, devices, diff, enrol, explain, failures, history, hold,
    install, judge, keygen, lineage, lint, pause, pin, plan, promote, release, report, resume, retire, retry,
    set_aside, simulate, status, trust, tune,
};
use modelfleet_cli::outcome::Outcome;
use modelfleet_cli::printing::AnswerError;
use modelfleet_cli::{printing, register, telemetry, tls};

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // The usual code for a wrong command line is 2, which here says "rolled back".
            let outcome = if error.use_stderr() { Outcome::Failed } else { Outcome::Done };
            // If the output is closed, there is no place left to report that.
            let _ = error.print();
            return outcome.into();
        }
    };
    match run(arguments) {
        Ok(outcome) => outcome.into(),
        Err(error) => {
            let mut answers = error.chain().filter_map(|cause| cause.downcast_ref::<AnswerError>());
            if !answers.any(AnswerError::is_reader_gone) {
                printing::error(&printing::with_causes(error.as_ref()));
            }
            Outcome::Failed.into()
        }
    }
}

fn run(arguments: Arguments) -> Result<Outcome> {
    if let Command::Register(_) = &arguments.command {
        telemetry::switch_off()?;
    }
    tls::use_ring();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let cluster = &arguments.cluster;
    runtime.block_on(async {
        Ok(match arguments.command {
            Command::Register(arguments) => register::run(cluster, &arguments).await?,
            Command::Install(arguments) => install::run(cluster, &arguments).await?,
            Command::Keygen(arguments) => keygen::run(&arguments)?,
            Command::Enrol(arguments) => enrol::run(cluster, &arguments)?,
            Command::Trust(arguments) => trust::run(cluster, &arguments).await?,
            Command::BrokerAcl(arguments) => broker_acl::run(cluster, &arguments)?,
            Command::Status(arguments) => status::run(cluster, &arguments).await?,
            Command::Explain(arguments) => explain::run(cluster, &arguments).await?,
            Command::Pause(arguments) => pause::run(cluster, &arguments).await?,
            Command::Resume(arguments) => resume::run(cluster, &arguments).await?,
            Command::Promote(arguments) => promote::run(cluster, &arguments).await?,
            Command::Abort(arguments) => abort::run(cluster, &arguments).await?,
            Command::Retry(arguments) => retry::run(cluster, &arguments).await?,
            Command::Pin(arguments) => pin::run(cluster, &arguments).await?,
            Command::Hold(arguments) => hold::run(cluster, &arguments).await?,
            Command::Release(arguments) => release::run(cluster, &arguments).await?,
            Command::Retire(arguments) => retire::run(cluster, &arguments).await?,
            Command::SetAside(arguments) => set_aside::run(cluster, &arguments).await?,
            Command::Dashboard(arguments) => dashboard::run(cluster, &arguments).await?,
            Command::Devices(arguments) => devices::run(cluster, &arguments).await?,
            Command::Device(arguments) => device::run(cluster, &arguments).await?,
            Command::Failures(arguments) => failures::run(cluster, &arguments).await?,
            Command::History(arguments) => history::run(cluster, &arguments).await?,
            Command::Report(arguments) => report::run(cluster, &arguments).await?,
            Command::Tune(arguments) => tune::run(&arguments)?,
            Command::Diff(arguments) => diff::run(cluster, &arguments).await?,
            Command::Lineage(arguments) => lineage::run(cluster, &arguments).await?,
            Command::Lint(arguments) => lint::run(&arguments)?,
            Command::Plan(arguments) => plan::run(&arguments)?,
            Command::Simulate(arguments) => simulate::run(&arguments)?,
            Command::Judge(arguments) => judge::run(&arguments)?,
            Command::Completion(arguments) => completion::run(&arguments)?,
        })
    })
}
