//! `simulate`: how a rollout would go on the fleet that a scenario describes, many times over.

mod html;
mod report;
mod story;
#[cfg(test)]
mod tests;
mod threads;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::builder::RangedI64ValueParser;
use clap::{Args, ValueEnum};
use modelfleet_judge::record::RecordError;
use modelfleet_rollout::PolicyError;
use modelfleet_simulation::{Method, Rule, ScenarioError, Simulation, Summary, Tested};

use crate::outcome::Outcome;
use crate::printing::{self, AnswerError};
use crate::simulation_input::{InputArguments, InputError, SimulationInput};
use crate::units::counted;

/// Most threads.
const THREADS_MAX: i64 = 64;
/// Most runs: an hour or more, and limits of a hundredth of a percent.
const RUNS_MAX: i64 = 10_000_000;

/// The command line of `simulate`.
#[derive(Debug, Args)]
#[command(
    after_help = "The real rollout core and judge decide; only the devices are simulated. The same seed gives \
                        the same numbers, whatever the number of threads."
)]
pub struct SimulateArguments {
    /// The rollout and the fleet.
    #[command(flatten)]
    pub input: InputArguments,
    /// Number of simulated rollouts.
    #[arg(long, default_value_t = 200, value_name = "N", allow_negative_numbers = true,
          value_parser = RangedI64ValueParser::<u64>::new().range(1..=RUNS_MAX))]
    pub runs: u64,
    /// Seed of the random numbers.
    #[arg(long, default_value_t = 1, value_name = "N", allow_negative_numbers = true, value_parser = parse_seed)]
    pub seed: u64,
    /// Number of threads. Default: one per processor.
    #[arg(long, value_name = "N", allow_negative_numbers = true,
          value_parser = RangedI64ValueParser::<u64>::new().range(1..=THREADS_MAX))]
    pub threads: Option<u64>,
    /// Output format.
    #[arg(long, short, value_enum, default_value_t = Form::Table)]
    pub output: Form,
    /// What decides: the judge, or a method that other tools use, to compare with.
    #[arg(long, value_enum, default_value_t = Decider::Judge)]
    pub rule: Decider,
    /// Number above which such a method takes the version back, instead of the one of its own settings: an error rate,
    /// a normal score, the logarithm of a likelihood ratio, or half-widths of a confidence interval.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub bar: Option<f64>,
    /// Tell one run as a story instead: its times, stages, looks and verdicts. Runs are numbered from 1.
    #[arg(long, value_name = "RUN", num_args = 0..=1, require_equals = true, default_missing_value = "1",
          conflicts_with_all = ["output", "record"], value_parser = RangedI64ValueParser::<u64>::new().range(1..=RUNS_MAX))]
    pub explain: Option<u64>,
    /// Write every look of the first run to this file, one per line, for `judge replay`.
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
}

/// Form of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// A table for people.
    Table,
    /// JSON for programs.
    Json,
    /// A page with pictures, as one file that needs nothing else.
    Html,
}

/// Who decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Decider {
    /// The judge.
    Judge,
    /// Argo Rollouts: an analysis of the pooled success rate, 95 % in every window, no failure forgiven.
    Argo,
    /// Flagger: a check of the pooled success rate, 99 % in every window, rolled back at the fifth failed check.
    Flagger,
    /// Kayenta's judge: a Mann-Whitney test of both arms' error rates over time.
    MannWhitney,
    /// A mixture sequential probability ratio test of the pooled errors.
    Msprt,
    /// An asymptotic confidence sequence of the difference between devices, as GrowthBook has it.
    ConfidenceSequence,
}

impl Decider {
    /// As the simulation takes it; `None`: the judge.
    fn method(self) -> Option<Method> {
        Some(match self {
            Decider::Judge => return None,
            Decider::Argo => Method::Argo { failure_limit: 0 },
            Decider::Flagger => Method::Flagger,
            Decider::MannWhitney => Method::MannWhitney,
            Decider::Msprt => Method::Msprt,
            Decider::ConfidenceSequence => Method::ConfidenceSequence,
        })
    }
}

/// Why nothing was simulated.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// The input cannot be used.
    #[error(transparent)]
    SimulationInput(#[from] InputError),
    /// The scenario cannot be used.
    #[error("simulate the scenario")]
    Scenario(#[from] ScenarioError),
    /// The rollout cannot work.
    #[error("simulate the rollout")]
    Policy(#[from] PolicyError),
    /// A bar without a method that has one.
    #[error(
        "--bar must be a number, and needs a --rule other than judge: the judge's error budget is in the rollout"
    )]
    Bar,
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
    /// The answer cannot be written.
    #[error("write the answer")]
    Answer(#[from] AnswerError),
    /// A thread ended before its time.
    #[error("a thread of the simulation panicked")]
    Thread,
}

/// Simulates.
///
/// # Errors
/// [`SimulateError`].
pub fn run(arguments: &SimulateArguments) -> Result<Outcome, SimulateError> {
    let input = SimulationInput::of(&arguments.input)?;
    input.notes().iter().for_each(|note| printing::note(note));
    let SimulationInput { rollout, mut setup, scenario } = input;
    setup.rule = rule(arguments)?;
    let stages: Vec<String> = setup.parts.stages.iter().map(|stage| stage.name.clone()).collect();
    let simulation = Simulation::new(setup, &scenario)?;
    if let Some(number) = arguments.explain {
        printing::answer(&story::text(&rollout, &simulation, arguments.seed, number)?)?;
        return Ok(Outcome::Done);
    }
    if let Some(path) = &arguments.record {
        let looks = counted(record(&simulation, arguments.seed, path)?, "look");
        let path = path.display();
        printing::note(&format!(
            "wrote {looks} of the first run; judge them again with: kubectl modelfleet judge replay {path}"
        ));
    }
    let processors = || std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let threads = arguments.threads.unwrap_or_else(processors).min(THREADS_MAX.unsigned_abs());
    let outcomes = threads::run_all(&simulation, arguments.seed, arguments.runs, threads)?;
    let tested = if scenario.is_harmless() { Tested::FalseRollback } else { Tested::Detection };
    let summary = Summary::of(tested, stages.len(), &outcomes);
    let devices = scenario.fleet.devices;
    let report =
        report::Report { rollout: &rollout, arguments, devices, stages: &stages, outcomes: &outcomes };
    printing::answer(&match arguments.output {
        Form::Json => serde_json::to_string_pretty(&report.json(&summary))? + "\n",
        Form::Table => report.table(&summary),
        Form::Html => html::page(&report, &summary),
    })?;
    Ok(Outcome::Done)
}

/// What decides.
fn rule(arguments: &SimulateArguments) -> Result<Rule, SimulateError> {
    match (arguments.rule.method(), arguments.bar) {
        (None, None) => Ok(Rule::Judge),
        (Some(method), None) => Ok(Rule::other(method)),
        (Some(method), Some(bar)) if bar.is_finite() => Ok(Rule::Other { method, bar }),
        (_, Some(_)) => Err(SimulateError::Bar),
    }
}

/// Writes the looks of run 0 and gives their number.
fn record(simulation: &Simulation, seed: u64, path: &Path) -> Result<i64, SimulateError> {
    let failed = |source| SimulateError::Write { path: path.to_owned(), source };
    let mut file = BufWriter::new(File::create(path).map_err(failed)?);
    let (mut looks, mut problem) = (0, None);
    simulation.run(seed, 0, &mut |look| {
        let record = look.record();
        let written = record.to_line().map_err(SimulateError::Record);
        let written = written.and_then(|line| writeln!(file, "{line}").map_err(failed));
        problem = problem.take().or(written.err());
        looks += 1;
    })?;
    file.flush().map_err(failed)?;
    problem.map_or(Ok(looks), Err)
}

fn parse_seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("must be a whole number from 0 to {}", u64::MAX))
}
