//! What the API server takes, and what surprises people later.

use modelfleet_crds::rollout::{JudgedBy as JudgedByField, RelativeTo, Stage, UndecidedPolicy};
use modelfleet_crds::text::DurationText;
use modelfleet_crds::{ModelVersion, Rollout};
use modelfleet_judge::{JudgedBy, OnBreach};
use modelfleet_protocol::metric::Needs;
use modelfleet_simulation::Objective;
use serde_json::Value;

use crate::promotion_scope;
use crate::rollout_setup;
use crate::schema::Problem;
use crate::stage_warnings;
use crate::units::span;

/// Waiting time after baking when a stage names none.
const LEAST_WAIT_MS: i64 = 86_400_000;

/// Warnings about an object that the API server takes.
pub(super) fn warnings(kind: &str, object: Value) -> Vec<Problem> {
    match kind {
        "Rollout" => serde_json::from_value(object).map(|rollout| of_rollout(&rollout)).unwrap_or_default(),
        _ => serde_json::from_value(object).map(|version| of_version(&version)).unwrap_or_default(),
    }
}

fn problem(field: impl Into<String>, message: impl Into<String>) -> Problem {
    Problem { field: field.into(), message: message.into() }
}

fn milliseconds(text: &DurationText) -> i64 {
    text.milliseconds().ok().and_then(|ms| i64::try_from(ms).ok()).unwrap_or(0)
}

fn of_rollout(rollout: &Rollout) -> Vec<Problem> {
    let spec = &rollout.spec;
    let mut found = Vec::new();
    let window = milliseconds(&spec.observe.window);
    for (index, stage) in spec.stages.iter().enumerate() {
        let is_last = index + 1 == spec.stages.len();
        found.extend(of_stage(stage, index, window, is_last));
        if index > 0 && spec.stages[index - 1].devices == stage.devices {
            let field = format!("spec.stages[{index}].devices");
            found.push(problem(
                field,
                format!(
                    "is {}, the same as in the stage before, so the stage adds no devices",
                    stage.devices
                ),
            ));
        }
    }
    if spec.stages.first().is_some_and(|stage| stage.spread_by.is_empty() && spec.stages.len() > 1) {
        found.push(problem(
            "spec.stages[0].spreadBy",
            "is empty: the first devices are chosen at random and may miss the kind of device that the version harms; \
             list the labels that tell kinds of devices apart",
        ));
    }
    found.extend(promotion_scope::warning(rollout));
    found.extend(of_comparison(rollout));
    found.extend(of_probation(rollout));
    if spec.slos.is_empty() {
        found.push(problem(
            "spec.slos",
            "is empty: the only harm that can be detected is that devices fail to run the version",
        ));
    }
    for (index, slo) in spec.slos.iter().enumerate() {
        let field = |name: &str| format!("spec.slos[{index}].{name}");
        if slo.relative_to == RelativeTo::Baseline {
            let metric = slo.metric;
            found.push(problem(
                field("relativeTo"),
                format!("needs {metric:?} in the version's baseline (register --baseline {metric:?}=...)"),
            ));
        }
        if slo.metric.needs() == Needs::Truth {
            found.push(problem(
                field("metric"),
                "needs ground truth: report to devices how predictions turned out, or the SLO stays Undecided",
            ));
        }
        if slo.metric.of_feature() {
            found.push(problem(
                field("metric"),
                "needs features in the version's baseline (register --rows ...)",
            ));
        }
        if slo.judged_by == JudgedByField::Plain {
            found.push(problem(field("judgedBy"), "is Plain: nothing limits the chance of a false rollback"));
        }
    }
    if spec.on_undecided == UndecidedPolicy::Promote {
        found.push(problem(
            "spec.onUndecided",
            "is Promote: the rollout continues even if a stage has proved nothing",
        ));
    }
    if spec.abort {
        found.push(problem("spec.abort", "is true: the rollout ends before it starts"));
    }
    found
}

/// Whom canaries are compared with.
fn of_comparison(rollout: &Rollout) -> Vec<Problem> {
    let Ok(setup) = rollout_setup::setup(rollout) else { return Vec::new() };
    let compares = |o: &Objective| o.judged_by == JudgedBy::Statistical && o.on_breach != OnBreach::Observe;
    if !setup.objectives.iter().any(compares) {
        return Vec::new();
    }
    let (stages, holdback_ppm) = (&setup.parts.stages, setup.parts.holdback_ppm);
    let alone = stage_warnings::no_controls(stages, holdback_ppm);
    let alone = alone.map(|text| problem("spec.holdback", format!("is 0%: {text}")));
    let gates = setup.objectives.iter().filter(|o| compares(o)).count();
    let few = stage_warnings::too_few(&setup, gates).zip(rollout.spec.stages.first());
    let few =
        few.map(|(text, stage)| problem("spec.stages[0].devices", format!("is {}: {text}", stage.devices)));
    let bake = (0..stages.len()).filter_map(|index| {
        let text = stage_warnings::no_bake(stages, index, setup.window_ms())?;
        Some(problem(format!("spec.stages[{index}].bake"), format!("is 0s: {text}")))
    });
    let grows = stages.iter().enumerate().filter_map(|(index, stage)| {
        let text =
            format!("is {}: {}", rollout.spec.stages.get(index)?.devices, stage_warnings::grows(stage)?);
        Some(problem(format!("spec.stages[{index}].devices"), text))
    });
    alone.into_iter().chain(few).chain(bake).chain(grows).collect()
}

/// Whether devices can prove themselves in time, where the objectives say how often they are asked at least.
fn of_probation(rollout: &Rollout) -> Option<Problem> {
    let setup = rollout_setup::setup(rollout).ok()?;
    let requests = stage_warnings::requests_counted_on(&setup.objectives)?;
    let text = stage_warnings::slow_probation(&setup, requests)?;
    Some(problem(
        "spec.probation",
        format!("may be too short: if devices get no more requests than minSamples expects, {text}"),
    ))
}

fn of_stage(stage: &Stage, index: usize, window: i64, is_last: bool) -> Option<Problem> {
    let bake = milliseconds(&stage.bake);
    let wait = stage.max_wait.as_ref().map_or(bake.max(LEAST_WAIT_MS), milliseconds);
    let needed = window.saturating_mul(stage.limits.min_windows);
    let has = bake.saturating_add(wait);
    if is_last || needed <= has {
        return None;
    }
    Some(problem(
        format!("spec.stages[{index}].limits.minWindows"),
        format!(
            "is {}, and with windows of {} they take {}, but bake and maxWait together are {}: the \
             stage will end Undecided",
            stage.limits.min_windows,
            span(window),
            span(needed),
            span(has)
        ),
    ))
}

fn of_version(version: &ModelVersion) -> Vec<Problem> {
    let spec = &version.spec;
    let mut found = Vec::new();
    if spec.self_test.is_empty() {
        found.push(problem(
            "spec.selfTest",
            "is empty: a device uses the model as soon as it loads, without checking its answers",
        ));
    }
    if spec.baseline.as_ref().is_none_or(|baseline| baseline.features.is_empty()) {
        found.push(problem(
            "spec.baseline.features",
            "is empty: ranges and drift of the inputs are not watched",
        ));
    }
    if !["http://", "https://", "file://"].iter().any(|scheme| spec.artifact.uri.starts_with(scheme)) {
        found.push(problem(
            "spec.artifact.uri",
            "does not start with http://, https:// or file://, so devices cannot download it",
        ));
    }
    for feature in spec.baseline.iter().flat_map(|baseline| &baseline.features) {
        let edges: Vec<f64> = feature.edges.iter().filter_map(|edge| edge.to_f64().ok()).collect();
        if !edges.is_sorted_by(|a, b| a < b) {
            found.push(problem(
                format!("spec.baseline.features[{}].edges", feature.name),
                "must be in ascending order",
            ));
        }
    }
    found
}
