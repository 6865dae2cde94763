//! `plan`: what each stage of a rollout can prove, before anything starts.

mod finds;
mod rows;
mod warnings;
pub mod yearly;

use std::panic::resume_unwind;
use std::path::PathBuf;

use clap::Args;
use clap::builder::RangedI64ValueParser;
use modelfleet_judge::sizing::{devices_to_meet, per_group};
use modelfleet_rollout::{Policy, PolicyError};
use modelfleet_simulation::{Effort, Scenario, Setup};

use finds::Finds;
use rows::Row;
use yearly::{Watched, YearlyArguments};

use crate::outcome::Outcome;
use crate::printing::{self, AnswerError};
use crate::simulation_input::{InputArguments, InputError, SimulationInput};
use crate::stage_warnings;
use crate::table::Table;
use crate::units::counted;

/// The command line of `plan`.
#[derive(Debug, Args)]
#[command(
    after_help = "Without a scenario, plan assumes 0.02 bad events per device and window, in bursts of one, and a spread \
                  between devices (sigma) of 1."
)]
pub struct PlanArguments {
    /// The rollout and the fleet.
    #[command(flatten)]
    pub input: InputArguments,
    /// Stages that are simulated for each number under FINDS; 0 takes a formula, which is faster and less exact.
    #[arg(long, default_value_t = RUNS, value_name = "N", allow_negative_numbers = true,
          value_parser = RangedI64ValueParser::<u64>::new().range(0..=RUNS_MAX))]
    pub runs: u64,
    /// Seed of the random numbers.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// A limit by device and year.
    #[command(flatten)]
    pub yearly: YearlyArguments,
}

/// Most stages that are simulated for one number.
const RUNS_MAX: i64 = 100_000;
/// Windows of devices and objectives that are simulated for one number with the default number of stages: some ten seconds
/// on one processor. A larger fleet gets fewer stages, or the formula.
const DEVICE_WINDOWS: u64 = 40_000_000;
/// The default number of stages.
const RUNS: u64 = 100;

/// Why nothing was computed.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// There is nothing to try.
    #[error(transparent)]
    SimulationInput(#[from] InputError),
    /// The rollout cannot work.
    #[error("plan the rollout in {path}")]
    Policy {
        /// Where.
        path: PathBuf,
        /// Why.
        source: PolicyError,
    },
    /// The answer cannot be written.
    #[error("write the answer")]
    Answer(#[from] AnswerError),
}

/// Prints what each stage can prove.
///
/// # Errors
/// [`PlanError`].
pub fn run(arguments: &PlanArguments) -> Result<Outcome, PlanError> {
    let input = SimulationInput::of(&arguments.input)?;
    input.notes().iter().for_each(|note| printing::note(note));
    let device_windows = DEVICE_WINDOWS.saturating_mul(arguments.runs.div_ceil(RUNS).max(1));
    let effort = Effort { runs: arguments.runs, device_windows, seed: arguments.seed };
    if arguments.runs > 0 {
        printing::note(
            "simulating the stages, which takes up to some minutes; --runs 0 takes a formula and answers at once",
        );
    }
    let text = sizing(&input.setup, &input.scenario, effort, arguments.yearly);
    let path = || arguments.input.file.clone();
    printing::answer(&text.map_err(|source| PlanError::Policy { path: path(), source })?)?;
    Ok(Outcome::Done)
}

/// What each stage can prove, as text.
///
/// # Errors
/// When the rollout cannot work.
pub fn sizing(
    setup: &Setup,
    scenario: &Scenario,
    effort: Effort,
    yearly: YearlyArguments,
) -> Result<String, PolicyError> {
    let policy = Policy::new(setup.parts.clone())?;
    let header = [
        "STAGE",
        "OBJECTIVE",
        "DEVICES",
        "CONTROLS",
        "TIME",
        "LOOKS",
        "AT RISK AFTER",
        "FINDS",
        "RULES OUT",
        "EVENTS/2x",
    ];
    let mut table = Table::new(&header);
    // A stage is a matter of seconds, and there are at most eight.
    let all: Vec<Vec<Row>> = std::thread::scope(|scope| {
        let stage = |index| {
            let policy = &policy;
            scope.spawn(move || rows::rows(setup, scenario, policy, index, effort))
        };
        let threads: Vec<_> = (0..policy.stage_count()).map(stage).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    all.iter().flatten().for_each(|row| table.row(row.cells()));
    let devices = i64::try_from(scenario.fleet.devices).unwrap_or(i64::MAX);
    let budget = percent(u64::from(setup.parts.error_budget_ppm));
    let mut text = format!("{}, error budget {budget}\n\n", counted(devices, "device"));
    text.push_str(&table.render());
    text.push_str(LEGEND);
    text.push_str(&also_ruled_out(&all));
    let found: Vec<Finds> = all.iter().flatten().filter_map(|row| row.finds).collect();
    text.push_str(&finds::notes(&found));
    text.push_str(&rules_of_thumb(setup, scenario));
    let watched: Vec<Watched> =
        all.iter().filter_map(|rows| rows.first()).map(|row| row.watched.clone()).collect();
    text.push_str(&yearly::sentences(yearly, &watched));
    text.push_str(&yearly::of_objectives(yearly, &setup.objectives, &watched));
    let mut warnings = warnings::warnings(&all, setup);
    let stages = &setup.parts.stages;
    let bakes = stages.iter().enumerate().filter_map(|(index, stage)| {
        let text = stage_warnings::no_bake(stages, index, setup.window_ms())?;
        Some(format!("{}: bake is 0s: {text}", stage.name))
    });
    warnings.extend(bakes);
    let grows =
        stages.iter().filter_map(|stage| Some(format!("{}: {}", stage.name, stage_warnings::grows(stage)?)));
    warnings.extend(grows);
    warnings.extend(stage_warnings::slow_probation(setup, u64::from(scenario.fleet.predictions_per_window)));
    if !warnings.is_empty() {
        text.push('\n');
        warnings.iter().for_each(|warning| text.push_str(&format!("warning: {warning}\n")));
    }
    Ok(text)
}

const LEGEND: &str = "
AT RISK AFTER  if no device of the stage fails, at most this share of the remaining devices would (95 % confidence)
FINDS          the smallest rise in the rate of bad events that is detected in four rollouts of five, if all devices of
               the stage have it; without controls: that pauses the rollout
RULES OUT      the rise that is ruled out when the stage passes (95 % confidence): the stage's margin, or without one the
               smallest margin that the judge can rule out; nothing: too few events, the verdict is Exposed
EVENTS/2x      bad windows expected in the stage / bad windows needed to detect a doubled rate
";

/// What a pass rules out of harm to a few devices, or to one stratum.
fn also_ruled_out(all: &[Vec<Row>]) -> String {
    let line = |row: &Row| {
        let proof = row.few_proof.as_ref()?.in_words();
        let objective = row.objective.as_ref().map_or_else(String::new, |name| format!(", {name}"));
        Some(format!("  {}{objective}: {proof}\n", row.stage))
    };
    let lines: String = all.iter().flatten().filter_map(line).collect();
    if lines.is_empty() { lines } else { format!("{ALSO}{lines}") }
}

const ALSO: &str = "
RULES OUT speaks of all devices. Harm to a few is ruled out as follows when a stage passes in which no device got far worse
than before (95 % confidence):
";

/// What does not depend on the stages.
fn rules_of_thumb(setup: &Setup, scenario: &Scenario) -> String {
    let met = |share_ppm| devices_to_meet(share_ppm, 950_000);
    let mut text = format!(
        "\nDevices needed to see at least one failure (95 % probability): {} if 10 % of all devices fail, {} if 5 %, {} if 1 %\n",
        met(100_000),
        met(50_000),
        met(10_000)
    );
    if let Some(objective) = setup.objectives.iter().find(|objective| rows::is_gate(objective)) {
        let share_ppm = scenario.fleet_rates(&objective.name).share_ppm;
        let windows = per_group(share_ppm, 250_000, 50_000, 800_000);
        text.push_str(&format!(
            "Windows needed on each side to see {} bad windows of {} become {}: {windows} (test of two proportions, 5 % \
             level, 80 % power, if all devices were alike)\n",
            percent(share_ppm),
            objective.name,
            percent(share_ppm + share_ppm / 4)
        ));
    }
    text
}

/// Millionths as a percent, to two digits that count.
fn percent(ppm: u64) -> String {
    let value = ppm as f64 / 1e4;
    if value >= 10.0 || ppm == 0 { format!("{value:.0}%") } else { format!("{value:.2}%") }
}

#[cfg(test)]
mod tests;
