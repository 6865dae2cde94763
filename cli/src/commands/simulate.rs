//! `simulate`: how a rollout would go on a fleet as a scenario describes it, many times over.

mod shown;
mod threads;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use modelfleet_judge::record::{Record, RecordError};
use modelfleet_rollout::PolicyError;
use modelfleet_simulation::{
    Outcome as RunOutcome, Rule, Scenario, ScenarioError, Simulation, Summary, Tested,
};

use crate::outcome::Outcome;
use crate::rollout_file::{self, FileError};
use crate::rollout_setup::{self, SetupError};

/// Most threads.
const THREADS_MAX: usize = 64;

/// The command line of `simulate`.
#[derive(Debug, Args)]
#[command(
    after_help = "The shipped rollout core and judge decide; only the devices are made up. The same seed gives \
                        the same numbers, whatever the number of threads."
)]
pub struct SimulateArguments {
    /// File with the Rollout, as YAML or JSON; - is the standard input.
    #[arg(long = "filename", short = 'f', value_name = "FILE")]
    pub file: PathBuf,
    /// File with the scenario: the fleet, what the version does to it, network, outages. Default: 200 devices and a
    /// version that changes nothing.
    #[arg(long, value_name = "FILE")]
    pub scenario: Option<PathBuf>,
    /// How often it is rolled out.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub runs: u64,
    /// Seed of all chance.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Devices of the fleet, instead of the scenario's.
    #[arg(long)]
    pub devices: Option<u64>,
    /// Threads; default: one for each processor.
    #[arg(long)]
    pub threads: Option<usize>,
    /// Form of the answer.
    #[arg(long, short = 'o', visible_alias = "output", value_enum, default_value_t = Form::Table)]
    pub out: Form,
    /// Who decides: the judge, or what is used elsewhere.
    #[arg(long, value_enum, default_value_t = Decider::Judge)]
    pub rule: Decider,
    /// Write every look of the first run to this file, one a line, for `judge replay`.
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
}

/// Form of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Who decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Decider {
    /// The judge.
    Judge,
    /// A threshold, of which not one window may be above it.
    #[value(name = "threshold-0")]
    Threshold0,
    /// A threshold, of which three windows may be above it.
    #[value(name = "threshold-3")]
    Threshold3,
    /// A sequential test of all errors pooled.
    Pooled,
}

/// Why nothing was simulated.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The spec cannot be used.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The scenario cannot be used.
    #[error("scenario")]
    Scenario(#[from] ScenarioError),
    /// The rollout cannot work.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The recording cannot be written.
    #[error("write {path}")]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A look cannot be written as a line.
    #[error("record a look")]
    Record(#[from] RecordError),
    /// The answer cannot be written as JSON.
    #[error("write the answer as JSON")]
    Json(#[from] serde_json::Error),
    /// A thread ended before its time.
    #[error("a thread of the simulation ended before its time")]
    Thread,
}

/// Simulates.
///
/// # Errors
/// [`SimulateError`].
pub fn run(arguments: &SimulateArguments) -> Result<Outcome, SimulateError> {
    let rollout = rollout_file::rollout(&arguments.file)?;
    let mut setup = rollout_setup::setup(&rollout)?;
    setup.rule = match arguments.rule {
        Decider::Judge => Rule::Judge,
        Decider::Threshold0 => Rule::Threshold { limit: 0 },
        Decider::Threshold3 => Rule::Threshold { limit: 3 },
        Decider::Pooled => Rule::Pooled,
    };
    let mut scenario: Scenario = match &arguments.scenario {
        Some(path) => rollout_file::document(path)?,
        None => Scenario::default(),
    };
    scenario.fleet.devices = arguments.devices.unwrap_or(scenario.fleet.devices);
    let stages: Vec<String> = setup.parts.stages.iter().map(|stage| stage.name.clone()).collect();
    let simulation = Simulation::new(setup, &scenario)?;
    if let Some(path) = &arguments.record {
        record(&simulation, arguments.seed, path)?;
    }
    let threads = arguments.threads.or_else(|| std::thread::available_parallelism().ok().map(Into::into));
    let threads = threads.unwrap_or(1).clamp(1, THREADS_MAX);
    let outcomes = threads::run_all(&simulation, arguments.seed, arguments.runs, threads)?;
    let tested = if scenario.is_harmless() { Tested::FalseRollback } else { Tested::Detection };
    let summary = Summary::of(tested, stages.len(), &outcomes);
    let told = shown::Told { rollout: &rollout, arguments, devices: scenario.fleet.devices, stages: &stages };
    match arguments.out {
        Form::Json => println!("{}", serde_json::to_string_pretty(&told.json(&summary))?),
        Form::Table => print!("{}", told.table(&summary, outcomes.first())),
    }
    Ok(Outcome::Done)
}

/// Writes the looks of run 0.
fn record(simulation: &Simulation, seed: u64, path: &Path) -> Result<RunOutcome, SimulateError> {
    let failed = |source| SimulateError::Write { path: path.to_owned(), source };
    let mut file = BufWriter::new(File::create(path).map_err(failed)?);
    let mut problem = None;
    let outcome = simulation.run(seed, 0, &mut |look| {
        let record = Record::of(look.place, look.evidence, look.before, look.assessment);
        let written = record.to_line().map_err(SimulateError::Record);
        let written = written.and_then(|line| writeln!(file, "{line}").map_err(failed));
        problem = problem.take().or(written.err());
    })?;
    file.flush().map_err(failed)?;
    problem.map_or(Ok(outcome), Err)
}
