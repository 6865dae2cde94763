//! The rows of the plan: what a stage can prove about an objective.

use std::collections::{BTreeMap, BTreeSet};

use modelfleet_evidence::LookPlan;
use modelfleet_judge::sizing::{
    FleetRates, NO_CONTROLS, StageProof, StageSize, events_to_decision, few_proof, prove, remaining_bound_ppm,
};
use modelfleet_judge::{FewProof, JudgedBy, OnBreach};
use modelfleet_protocol::selector::{Labels, Selector};
use modelfleet_rollout::{Policy, Stage};
use modelfleet_simulation::{Effort, Objective, Scenario, Setup, StagePower};

use super::finds::{Finds, finds};
use super::percent;
use super::yearly::Watched;
use crate::stage_warnings::{self, HOLD_BACK};
use crate::units::span;

/// The rise that events are counted for.
const TWICE_PPM: u64 = 2_000_000;
/// Rises above this are not told apart.
const RISE_MAX_PPM: u64 = 1_000_000_000;
/// How sure the bound on the devices at risk is.
const CONFIDENCE_PPM: u32 = 950_000;

/// Of fewer devices a hold-back of 5 % keeps none.
const LEAST_TO_HOLD_BACK: u64 = 20;

/// A row.
pub(super) struct Row {
    /// Name of the stage.
    pub stage: String,
    /// Name of the objective; nothing where one row speaks for all, or there is none.
    pub objective: Option<String>,
    /// What should be known before the start; empty: nothing.
    pub warning: String,
    /// What it finds; nothing without an objective that a test decides about.
    pub finds: Option<Finds>,
    /// Which harm to a few devices or to one stratum a pass rules out.
    pub few_proof: Option<FewProof>,
    /// How many devices are watched for how long.
    pub watched: Watched,
    cells: Vec<String>,
}

impl Row {
    /// As the table shows it.
    pub fn cells(&self) -> Vec<String> {
        self.cells.clone()
    }
}

/// Objectives that a test decides about.
pub(super) fn is_gate(objective: &Objective) -> bool {
    objective.judged_by == JudgedBy::Statistical && objective.on_breach != OnBreach::Observe
}

/// One row for each objective of a stage, or one for all where they do not differ.
pub(super) fn rows(
    setup: &Setup,
    scenario: &Scenario,
    policy: &Policy,
    index: u32,
    effort: Effort,
) -> Vec<Row> {
    let stage = policy.stage(index);
    let (size, windows) = stage_size(setup, scenario, policy, index);
    let gates: Vec<&Objective> = setup.objectives.iter().filter(|o| is_gate(o)).collect();
    let share_ppb = stage_warnings::share_ppb(setup, index as usize, gates.len());
    let (strata, watched) = (strata(scenario, stage), watched(scenario, stage));
    // Windows that never count, those in which a device settles, and those whose labels are still to come, lengthen the stage.
    let late = gates.iter().map(|objective| objective.late_windows).max().unwrap_or(0);
    let known = windows.saturating_add(unjudged(setup, stage)).saturating_add(late);
    let time = span(i64::try_from(known.saturating_mul(setup.window_ms())).unwrap_or(i64::MAX));
    let row = |objective: Option<&str>,
               proof: [String; 5],
               finds: Option<Finds>,
               few_proof,
               warning: String| {
        let objective_cell = objective.unwrap_or(if gates.is_empty() { "-" } else { "each" });
        let [risk, found, rules_out, events, looks] = proof;
        let (devices, controls) = (size.canaries.to_string(), size.controls.to_string());
        let (name, objective) = (stage.name.clone(), objective.map(str::to_owned));
        let cells =
            [&name, objective_cell, &devices, &controls, &time, &looks, &risk, &found, &rules_out, &events];
        let cells = cells.map(str::to_owned).to_vec();
        let watched = Watched {
            stage: name.clone(),
            devices: size.canaries,
            time_ms: windows.saturating_mul(setup.window_ms()),
        };
        Row { stage: name, objective, warning, finds, few_proof, watched, cells }
    };
    let none = || "-".to_owned();
    if gates.is_empty() {
        let risk = remaining_bound_ppm(size.fleet, size.canaries, 0, CONFIDENCE_PPM);
        return vec![row(None, [percent(risk), none(), none(), none(), none()], None, None, String::new())];
    }
    let mut different: Vec<(&Objective, FleetRates)> = Vec::new();
    for objective in gates.iter().copied() {
        let own = scenario.fleet_rates(&objective.name);
        let delay = |o: &Objective| scenario.truth_delay_windows.of(&o.name, 0.0);
        let differs = |(other, before): &(&Objective, FleetRates)| {
            *before != own
                || delay(other) != delay(objective)
                || other.allowance_ppm != objective.allowance_ppm
        };
        if different.iter().all(differs) {
            different.push((objective, own));
        }
    }
    let for_all = different.len() == 1 && gates.len() > 1;
    let late = |objective: &Objective| late_truth(setup, scenario, stage, objective);
    let rows = different.into_iter().map(|(objective, rates)| {
        let proof = prove(&size, &rates, share_ppb, objective.allowance_ppm, stage.margin_ppm);
        let input = (setup, scenario, policy);
        let found = finds(input, index, objective, (&size, &rates), share_ppb, effort);
        let cells = proof_cells(&size, &rates, &proof, found, share_ppb);
        let few = few_proof(&size, &rates, strata, &watched);
        let could_hold_back = setup.parts.holdback_ppm == 0 && index == policy.last_stage();
        let warning = match proof.warning.as_str() {
            NO_CONTROLS if could_hold_back && size.fleet >= LEAST_TO_HOLD_BACK => {
                format!("{NO_CONTROLS}. {HOLD_BACK}")
            }
            // Simulated stages know better than the formula.
            _ if proof.smallest_harm_ppm == u64::MAX && found.is_something() => String::new(),
            _ => misses(found).unwrap_or(proof.warning),
        };
        let warning = late(objective).unwrap_or(warning);
        row((!for_all).then_some(objective.name.as_str()), cells, Some(found), few, warning)
    });
    rows.collect()
}

/// The warning about a stage of which simulated ones did not find even a huge rise.
fn misses(finds: Finds) -> Option<String> {
    let Finds::Simulated(StagePower::Misses { found }) = finds else { return None };
    Some(format!(
        "even a rise to a hundred times the rate is found in only {} of {} simulated stages: this stage has too few devices, \
         windows or events, or the SLO's allowance is above what can happen",
        found.hits, found.runs
    ))
}

/// Windows after an activation by which a device is not judged.
fn unjudged(setup: &Setup, stage: &Stage) -> u64 {
    let settling = LookPlan::of(stage, setup.window_ms()).settling(setup.settling_windows);
    setup.warmup_windows.saturating_add(settling)
}

/// The warning about a stage that ends before enough ground truth is known.
fn late_truth(setup: &Setup, scenario: &Scenario, stage: &Stage, objective: &Objective) -> Option<String> {
    let delay = scenario.truth_delay_windows.of(&objective.name, 0.0).ceil() as u64;
    let windows = delay + unjudged(setup, stage) + u64::from(stage.limits.min_windows);
    let takes_ms = windows.saturating_mul(setup.window_ms());
    let has_ms = stage.bake_ms.saturating_add(stage.max_wait_ms);
    let length = |ms: u64| span(i64::try_from(ms).unwrap_or(i64::MAX));
    (delay > 0 && takes_ms > has_ms).then(|| {
        format!(
            "enough ground truth is known only after {}, but the stage ends after {}: it will end Undecided; set labelDelay of \
             the objective to how late its labels come",
            length(takes_ms),
            length(has_ms)
        )
    })
}

fn proof_cells(
    size: &StageSize,
    rates: &FleetRates,
    proof: &StageProof,
    finds: Finds,
    share_ppb: u64,
) -> [String; 5] {
    let share_ppm = (size.canaries * 1_000_000 / size.fleet.max(1)) as u32;
    let (needed, _) = events_to_decision(TWICE_PPM, share_ppm, (share_ppb / 1_000).max(1) as u32);
    let expected =
        u128::from(size.fleet) * u128::from(size.windows) * u128::from(rates.share_ppm) / 1_000_000;
    let needed = if needed == u64::MAX { "-".to_owned() } else { needed.to_string() };
    [
        percent(proof.remaining_bound_ppm),
        finds.cell(),
        times(proof.margin_ppm),
        format!("{expected}/{needed}"),
        size.looks.to_string(),
    ]
}

/// The stage as the planner takes it, and the windows that it judges.
fn stage_size(setup: &Setup, scenario: &Scenario, policy: &Policy, index: u32) -> (StageSize, u64) {
    let stage = policy.stage(index);
    let fleet = eligible(scenario, &stage.selector);
    // Devices that are in stay in: a stage is never smaller than one before it.
    let canaries = (0..=index).map(|i| policy.share(i).of(fleet)).max().unwrap_or(0);
    let looks = LookPlan::of(stage, setup.window_ms());
    let windows = looks.windows();
    let offline = &scenario.fleet.offline;
    let offline_ppm = if offline.works_on { 0 } else { (offline.share * 1e6) as u32 };
    let size = StageSize {
        fleet,
        canaries,
        controls: fleet - canaries,
        windows: windows.saturating_sub(setup.warmup_windows).max(1),
        reporting_ppm: 1_000_000 - offline_ppm,
        looks: looks.planned(),
        gates: setup.objectives.iter().filter(|o| o.on_breach != OnBreach::Observe).count() as u16,
    };
    (size, windows)
}

/// Strata that the judge tells apart in a stage: as many as the labels of its `spreadBy` have values together.
fn strata(scenario: &Scenario, stage: &Stage) -> u64 {
    let fitting = scenario.fleet.strata.iter().filter(|stratum| stage.selector.matches(&stratum.labels));
    let values = fitting.map(|stratum| {
        let of = |label: &String| stratum.labels.get(label);
        stage.spread_by.iter().map(of).collect::<Vec<_>>()
    });
    values.collect::<BTreeSet<_>>().len().max(1) as u64
}

/// The share of the devices in each group that the stage's `watchBy` makes.
fn watched(scenario: &Scenario, stage: &Stage) -> Vec<f64> {
    let fitting: Vec<_> =
        scenario.fleet.strata.iter().filter(|stratum| stage.selector.matches(&stratum.labels)).collect();
    let all: f64 = fitting.iter().map(|stratum| stratum.share).sum();
    let mut groups: BTreeMap<(&str, &str), f64> = BTreeMap::new();
    for (stratum, key) in
        fitting.iter().flat_map(|stratum| stage.watch_by.iter().map(move |key| (stratum, key)))
    {
        if let Some(value) = stratum.labels.get(key) {
            *groups.entry((key, value)).or_default() += stratum.share / all;
        }
    }
    groups.into_values().collect()
}

/// Devices of the scenario that a stage can draw from.
fn eligible(scenario: &Scenario, selector: &Selector) -> u64 {
    let fleet = &scenario.fleet;
    if fleet.strata.is_empty() {
        return if selector.matches(&Labels::new()) { fleet.devices } else { 0 };
    }
    let all: f64 = fleet.strata.iter().map(|stratum| stratum.share).sum();
    let fitting = fleet.strata.iter().filter(|stratum| selector.matches(&stratum.labels));
    let share = fitting.map(|stratum| stratum.share).sum::<f64>() / all;
    (fleet.devices as f64 * share).round() as u64
}

fn times(ppm: u64) -> String {
    match ppm {
        u64::MAX => "nothing".to_owned(),
        RISE_MAX_PPM.. => format!("over {}x", RISE_MAX_PPM / 1_000_000),
        ppm => format!("{:.2}x", ppm as f64 / 1e6),
    }
}
