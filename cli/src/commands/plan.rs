//! `plan`: what each stage of a rollout can prove, before anything starts.

mod habits;

use std::path::PathBuf;

use clap::Args;
use modelfleet_judge::plan::{
    Habits, StageProof, StageShape, devices_to_meet, events_to_decision, per_group, prove,
};
use modelfleet_judge::{Budget, EvidenceKind, OnBreach, Spending};
use modelfleet_rollout::{Policy, PolicyError};
use modelfleet_simulation::{Scenario, ScenarioError, Setup};

use crate::outcome::Outcome;
use crate::rollout_file::{self, FileError};
use crate::rollout_setup::{self, SetupError};
use crate::table::Table;
use crate::units::span;

/// Looks that a stage plans.
const LOOKS_MAX: u64 = 6;
/// The rise that events are counted for.
const TWICE_PPM: u64 = 2_000_000;

/// The command line of `plan`.
#[derive(Debug, Args)]
#[command(
    after_help = "Where nothing is said about the fleet, it is taken to have 0.02 bad events a device and window, in \
                  bursts of one, with a spread between devices (sigma) of 1."
)]
pub struct PlanArguments {
    /// File with the Rollout, as YAML or JSON; - is the standard input.
    #[arg(long = "filename", short = 'f', value_name = "FILE")]
    pub file: PathBuf,
    /// File with a scenario: how the fleet behaves.
    #[arg(long, value_name = "FILE")]
    pub scenario: Option<PathBuf>,
    /// Devices of the fleet, instead of the scenario's.
    #[arg(long)]
    pub devices: Option<u64>,
    /// Bad events of a device and window, for all objectives, instead of the scenario's.
    #[arg(long)]
    pub base_rate: Option<f64>,
    /// Spread between devices: standard deviation of the logarithm of their rates, instead of the scenario's.
    #[arg(long)]
    pub sigma: Option<f64>,
    /// Bad events that come together, instead of the scenario's.
    #[arg(long)]
    pub burst: Option<f64>,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The spec cannot be used.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// What is said about the fleet cannot be used.
    #[error("scenario")]
    Scenario(#[from] ScenarioError),
    /// The rollout cannot work.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

/// Prints what each stage can prove.
///
/// # Errors
/// [`PlanError`].
pub fn run(arguments: &PlanArguments) -> Result<Outcome, PlanError> {
    let rollout = rollout_file::rollout(&arguments.file)?;
    let setup = rollout_setup::setup(&rollout)?;
    let mut scenario: Scenario = match &arguments.scenario {
        Some(path) => rollout_file::document(path)?,
        None => Scenario::default(),
    };
    let fleet = &mut scenario.fleet;
    fleet.devices = arguments.devices.unwrap_or(fleet.devices);
    fleet.sigma = arguments.sigma.unwrap_or(fleet.sigma);
    fleet.burst = arguments.burst.unwrap_or(fleet.burst);
    if let Some(rate) = arguments.base_rate {
        fleet.base_rate = modelfleet_simulation::PerSli::All(rate);
    }
    scenario.check()?;
    print!("{}", plan(&setup, &scenario)?);
    Ok(Outcome::Done)
}

/// The plan as text.
///
/// # Errors
/// When the rollout cannot work.
pub fn plan(setup: &Setup, scenario: &Scenario) -> Result<String, PolicyError> {
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
    let mut warnings = Vec::new();
    for index in 0..policy.stage_count() {
        for row in rows(setup, scenario, &policy, index) {
            if !row.proof.warning.is_empty() {
                warnings
                    .push(format!("warning: {}, {}: {}\n", row.cells[0], row.cells[1], row.proof.warning));
            }
            table.row(row.cells);
        }
    }
    let mut text = format!(
        "{} devices; error budget {}\n\n",
        scenario.fleet.devices,
        percent(u64::from(setup.parts.error_budget_ppm,))
    );
    text.push_str(&table.render());
    text.push_str(LEGEND);
    text.push_str(&rules_of_thumb(setup, scenario));
    if !warnings.is_empty() {
        text.push('\n');
        warnings.iter().for_each(|warning| text.push_str(warning));
    }
    Ok(text)
}

const LEGEND: &str = "
AT RISK AFTER  if no device fails hard: at most this share of the rest would (95 %)
FINDS          rise of the rate of bad windows on all canaries that is found in four of five rollouts
RULES OUT      rise that a pass rules out (95 %); without a margin of your own this is the stage's margin
EVENTS/2x      bad windows expected in the stage, of those that a doubled rate takes to be shown
";

struct Row {
    cells: Vec<String>,
    proof: StageProof,
}

/// One row for each objective, or one for all where they do not differ.
fn rows(setup: &Setup, scenario: &Scenario, policy: &Policy, index: u32) -> Vec<Row> {
    let stage = policy.stage(index);
    let devices = scenario.fleet.devices;
    let canaries = policy.target(index).of(devices);
    let windows = stage.bake_ms.div_ceil(setup.window_ms()).max(u64::from(stage.limits.min_windows)).max(1);
    let offline_ppm = (scenario.fleet.offline.share * 1e6) as u32;
    let shape = StageShape {
        fleet: devices,
        canaries,
        controls: devices - canaries,
        windows: windows.saturating_sub(setup.warmup_windows).max(1),
        reporting_ppm: if scenario.fleet.offline.works_on { 1_000_000 } else { 1_000_000 - offline_ppm },
        looks: windows.min(LOOKS_MAX) as u16,
    };
    let watched = setup.objectives.iter().filter(|o| o.evidence == EvidenceKind::Statistical);
    let gates = watched.filter(|o| o.on_breach != OnBreach::Observe);
    let weights = gates.clone().count() as u64 + u64::from(setup.hard.weight + setup.silence.weight);
    let stages_left = u16::try_from(policy.stage_count() - index).unwrap_or(u16::MAX);
    // As if every stage before had spent its share.
    let total_ppm = setup.parts.error_budget_ppm;
    let spent_ppb = u64::from(total_ppm) * 1_000 / u64::from(policy.stage_count()) * u64::from(index);
    let stage_ppb = Budget { total_ppm, spent_ppb, stages_left }.stage_ppb();
    let mut rows: Vec<(Row, Habits)> = Vec::new();
    for objective in gates {
        let habits = habits::habits(scenario, &objective.name);
        if rows.iter().any(|(_, before)| *before == habits) {
            continue;
        }
        let share_ppb = Spending::of(stage_ppb, 1, weights).share_ppb;
        let proof = prove(&shape, &habits, share_ppb, stage.margin_ppm);
        let share_ppm = (canaries * 1_000_000 / devices.max(1)) as u32;
        let (needed, _) = events_to_decision(TWICE_PPM, share_ppm, (share_ppb / 1_000).max(1) as u32);
        let expected =
            u128::from(devices) * u128::from(shape.windows) * u128::from(habits.share_ppm) / 1_000_000;
        let needed = if needed == u64::MAX { "-".to_owned() } else { needed.to_string() };
        let cells = vec![
            stage.name.clone(),
            objective.name.clone(),
            canaries.to_string(),
            shape.controls.to_string(),
            span(i64::try_from(windows * setup.window_ms()).unwrap_or(i64::MAX)),
            shape.looks.to_string(),
            percent(proof.remaining_bound_ppm),
            times(proof.smallest_harm_ppm),
            times(proof.smallest_margin_ppm),
            format!("{expected}/{needed}"),
        ];
        rows.push((Row { cells, proof }, habits));
    }
    if let [(row, _)] = &mut rows[..]
        && weights > 1 + u64::from(setup.hard.weight + setup.silence.weight)
    {
        row.cells[1] = "each".to_owned();
    }
    rows.into_iter().map(|(row, _)| row).collect()
}

/// What does not depend on the stages.
fn rules_of_thumb(setup: &Setup, scenario: &Scenario) -> String {
    let met = |share_ppm| devices_to_meet(share_ppm, 950_000);
    let mut text = format!(
        "\nto meet a failure with 95 % probability: {} devices where 10 % fail, {} where 5 %, {} where 1 %\n",
        met(100_000),
        met(50_000),
        met(10_000)
    );
    if let Some(objective) = setup.objectives.first() {
        let share_ppm = habits::habits(scenario, &objective.name).share_ppm;
        let windows = per_group(share_ppm, 250_000, 50_000, 800_000);
        text.push_str(&format!(
            "two proportions at 5 % and 80 % power, if all devices were alike: {windows} device-windows a side see \
             {} bad windows become {}\n",
            percent(share_ppm),
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

fn times(ppm: u64) -> String {
    match ppm {
        u64::MAX => "nothing".to_owned(),
        ppm => format!("{:.2}x", ppm as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests;
