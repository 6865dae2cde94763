//! A Rollout's spec as the core and the judge take it.
//!
//! The controller, the planner and the simulator read specs here and nowhere else: what is planned and simulated is what
//! is rolled out.

mod breach_words;
pub mod builds;
mod floors;
mod objective;
mod problem;
mod stage;
mod stand_in;
mod watch;

use std::collections::BTreeSet;

use modelfleet_crds::rollout::{RelativeTo, RollbackPolicy, UndecidedPolicy};
use modelfleet_crds::selector::LabelOperator;
use modelfleet_crds::text::{DurationText, Percent};
use modelfleet_crds::{DeviceSelector, ModelVersionSpec, Rollout, RolloutSpec};
use modelfleet_judge::{JudgedBy, OnBreach};
use modelfleet_protocol::ids::DeviceId;
use modelfleet_protocol::observe::{HISTOGRAM_WINDOWS, Observe};
use modelfleet_protocol::plan::{Fetch, Probation};
use modelfleet_protocol::selector::{Operator, Requirement, Selector};
use modelfleet_protocol::time::Time;
use modelfleet_rollout::{
    OnUndecided, Policy, PolicyParts, RollbackPolicy as CoreRollbackPolicy, SETTLING_WINDOWS,
};

pub use modelfleet_watch::WatchPolicy;
pub use objective::Objective;
pub use problem::Problem;
pub use stand_in::stand_in;

/// Errors in probation that end it at once.
const PROBATION_ERRORS_MAX: u64 = 5;
/// Windows without a report after which a device is silent.
const SILENT_WINDOWS: u64 = 3;
/// No device is silent before this time: a reconnect and a busy broker take seconds, however short the windows are.
const SILENT_MIN_MS: u64 = 15_000;
/// Nothing is decided when no device was heard for this long, if windows are shorter.
const STALE_MIN_MS: u64 = 5 * 60_000;

/// A spec that can work.
#[derive(Clone, Debug)]
pub struct Valid {
    /// For the core.
    pub policy: Policy,
    /// All devices that the rollout is for, whatever a stage draws from.
    pub scope: Selector,
    /// For the judge, in the order of the plan's indicators.
    pub objectives: Vec<Objective>,
    /// Windows after activation that do not count.
    pub warmup_windows: u64,
    /// Windows after those in which a device settles; `None`: as the evidence rule says.
    pub settling_windows: Option<u64>,
    /// A device that was not heard for so long is silent, milliseconds.
    pub silent_after_ms: u64,
    /// What is watched after success; `None`: nothing.
    pub watch: Option<WatchPolicy>,
}

/// Reads a Rollout's spec. `version` is the ModelVersion that it names, if it exists.
///
/// # Errors
/// Names the first field that cannot work, and what to do.
pub fn validate(rollout: &Rollout, version: Option<&ModelVersionSpec>) -> Result<Valid, Problem> {
    let spec = &rollout.spec;
    let window_ms = duration("spec.observe.window", &spec.observe.window)?;
    let report_every_ms = match &spec.observe.report_every {
        Some(text) => duration("spec.observe.reportEvery", text)?,
        None => 0,
    };
    let objectives = objective::objectives(spec, window_ms, version)?;
    let indicators = objectives.iter().map(|o| o.indicator.clone()).collect();
    let silent_after_ms = silent_after_ms(window_ms, report_every_ms);
    let error_budget_ppm = percent("spec.errorBudget", &spec.error_budget)?;
    let parts = PolicyParts {
        rollout: rollout.metadata.name.clone().unwrap_or_default(),
        uid: rollout.metadata.uid.clone().unwrap_or_default(),
        version: spec.version.clone(),
        set_aside: set_aside(spec)?,
        stages: stage::stages(
            spec,
            &objectives,
            error_budget_ppm,
            window_ms,
            evidence_delay_ms(spec, &objectives, window_ms),
        )?,
        on_undecided: match spec.on_undecided {
            UndecidedPolicy::Hold => OnUndecided::Hold,
            UndecidedPolicy::Promote => OnUndecided::Promote,
            UndecidedPolicy::RollBack => OnUndecided::RollBack,
        },
        rollback: match spec.rollback.policy {
            RollbackPolicy::Automatic => CoreRollbackPolicy::Automatic,
            RollbackPolicy::Manual => CoreRollbackPolicy::Manual,
        },
        holdback_ppm: percent("spec.holdback", &spec.holdback)?,
        probation: Probation {
            timeout_ms: duration("spec.probation.timeout", &spec.probation.timeout)?,
            min_predictions: u64::try_from(spec.probation.min_predictions).unwrap_or(0),
            max_errors: PROBATION_ERRORS_MAX,
        },
        fetch: fetch(spec)?,
        observe: Observe {
            window_ms,
            report_every_ms,
            since: Time::ZERO,
            histogram_windows: histogram_windows(&objectives),
            indicators,
        },
        error_budget_ppm,
        stale_after_ms: silent_after_ms.max(STALE_MIN_MS),
    };
    let policy = Policy::new(parts).map_err(|e| Problem::spec(&e.field, &e.problem))?;
    let warmup_windows = u64::try_from(spec.observe.warmup_windows).unwrap_or(0);
    let settling_windows = spec.observe.settling_windows.map(|n| u64::try_from(n).unwrap_or(0));
    let scope = selector([Some(&spec.selector), None]);
    let watch = watch::watch(spec, window_ms, report_every_ms)?;
    Ok(Valid { policy, scope, objectives, warmup_windows, settling_windows, silent_after_ms, watch })
}

/// The devices that a user has set aside, ordered.
fn set_aside(spec: &RolloutSpec) -> Result<Vec<DeviceId>, Problem> {
    let id = |(at, text): (usize, &String)| {
        let field = format!("spec.setAside[{at}]");
        text.parse::<DeviceId>().map_err(|error| Problem::spec(&field, error))
    };
    let ids = spec.set_aside.iter().enumerate().map(id).collect::<Result<BTreeSet<_>, Problem>>()?;
    Ok(ids.into_iter().collect())
}

/// How long after a device has activated the version its first judged window is known at the latest, milliseconds: behind
/// the warm-up, the settling time, and the latest labels of an objective that holds a stage up.
fn evidence_delay_ms(spec: &RolloutSpec, objectives: &[Objective], window_ms: u64) -> u64 {
    let windows = |n: i64| u64::try_from(n).unwrap_or(0).saturating_mul(window_ms);
    let settling =
        spec.observe.settling_windows.map_or_else(|| SETTLING_WINDOWS.saturating_mul(window_ms), windows);
    let gates = objectives.iter().filter(|objective| objective.on_breach != OnBreach::Observe);
    let labels = gates.map(|objective| objective.label_delay_ms).max().unwrap_or(0);
    windows(spec.observe.warmup_windows).saturating_add(settling).saturating_add(labels)
}

/// Newest windows of which the plain rule merges histograms, where it asks for more than devices send anyway.
fn histogram_windows(objectives: &[Objective]) -> u32 {
    let windows = |objective: &Objective| match objective.judged_by {
        JudgedBy::Plain { for_windows } if objective.indicator.metric.rests_on_histogram() => for_windows,
        _ => 0,
    };
    let most = objectives.iter().map(windows).max();
    most.filter(|&windows| windows > HISTOGRAM_WINDOWS).unwrap_or(0)
}

/// A device that was not heard for so long is silent, milliseconds: it observes in windows of `window_ms` and reports at
/// most once in `report_every_ms`.
#[must_use]
pub fn silent_after_ms(window_ms: u64, report_every_ms: u64) -> u64 {
    window_ms.saturating_mul(SILENT_WINDOWS).max(report_every_ms.saturating_mul(2)).max(SILENT_MIN_MS)
}

/// Whether an objective can only be worked out with the version's own record of its training.
#[must_use]
pub fn needs_version(spec: &RolloutSpec) -> bool {
    spec.slos.iter().any(|slo| slo.relative_to == RelativeTo::Baseline)
}

fn fetch(spec: &RolloutSpec) -> Result<Fetch, Problem> {
    let window_utc_minutes = match &spec.fetch.window {
        None => None,
        Some(window) => {
            let start = minutes("spec.fetch.window.start", &window.start)?;
            Some((start, minutes("spec.fetch.window.end", &window.end)?))
        }
    };
    Ok(Fetch {
        spread_ms: duration("spec.fetch.spread", &spec.fetch.spread)?,
        bytes_per_second: spec.fetch.bytes_per_second.map_or(0, |b| u64::try_from(b).unwrap_or(0)),
        window_utc_minutes,
    })
}

fn minutes(field: &str, text: &str) -> Result<u16, Problem> {
    let parsed = text.split_once(':').and_then(|(hours, minutes)| {
        let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
        (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
    });
    parsed.ok_or_else(|| Problem::spec(field, "must be a time of day from 00:00 to 23:59, such as 22:30"))
}

/// The rollout's own selector and a stage's, both.
fn selector(both: [Option<&DeviceSelector>; 2]) -> Selector {
    let mut all = Selector::default();
    for (key, value) in both.iter().flatten().flat_map(|s| &s.match_labels) {
        let requirement =
            Requirement { key: key.clone(), operator: Operator::In, values: vec![value.clone()] };
        match all.match_labels.get(key) {
            Some(taken) if taken != value => all.match_expressions.push(requirement),
            _ => {
                all.match_labels.insert(key.clone(), value.clone());
            }
        }
    }
    for expression in both.iter().flatten().flat_map(|s| &s.match_expressions) {
        all.match_expressions.push(Requirement {
            key: expression.key.clone(),
            operator: match expression.operator {
                LabelOperator::In => Operator::In,
                LabelOperator::NotIn => Operator::NotIn,
                LabelOperator::Exists => Operator::Exists,
                LabelOperator::DoesNotExist => Operator::DoesNotExist,
            },
            values: expression.values.clone(),
        });
    }
    all
}

fn duration(field: &str, text: &DurationText) -> Result<u64, Problem> {
    text.milliseconds().map_err(|e| Problem::spec(field, e))
}

fn percent(field: &str, text: &Percent) -> Result<u32, Problem> {
    text.parts_per_million().map(small).map_err(|e| Problem::spec(field, e))
}

/// Millionths as the core has them; the schema bounds them, and beyond that they are cut.
fn small(ppm: i64) -> u32 {
    u32::try_from(ppm.clamp(0, 1_000_000)).unwrap_or(0)
}

#[cfg(test)]
mod tests;
