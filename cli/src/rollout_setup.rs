//! A Rollout's spec as planner and simulator take it. The controller reads specs for itself; here is only what a
//! rollout without devices needs.

use modelfleet_crds::rollout::{
    Approval as ApprovalField, BreachAction, Evidence, RollbackPolicy as RollbackField, Slo,
    Stage as StageField, StageMode, UndecidedPolicy,
};
use modelfleet_crds::selector::LabelOperator;
use modelfleet_crds::text::{
    Amount as AmountText, BoundValue, CountOrShare, DurationText, Malformed, Percent,
};
use modelfleet_crds::{DeviceSelector, Metric, Rollout, RolloutSpec};
use modelfleet_judge::{EvidenceKind, HardRule, OnBreach, SilenceRule};
use modelfleet_protocol::draw::Target;
use modelfleet_protocol::observe::Observe;
use modelfleet_protocol::plan::{Fetch, Mode, Probation};
use modelfleet_protocol::selector::{Operator, Requirement, Selector};
use modelfleet_rollout::{Amount, Approval, Limits, OnUndecided, PolicyParts, RollbackPolicy, Stage};
use modelfleet_simulation::{Controls, LookPlan, Objective, Rule, Setup};

/// Errors in probation that end it at once.
const PROBATION_ERRORS_MAX: u64 = 5;
/// Windows without a report after which a device is silent.
const SILENT_WINDOWS: u64 = 3;
/// Nothing is decided when nobody was heard for this long, if windows are shorter.
const STALE_MIN_MS: u64 = 5 * 60_000;
/// Shortest default for the time that an undecided stage waits: a day.
const MAX_WAIT_MIN_MS: u64 = 24 * 3_600_000;
/// All, in millionths.
const WHOLE_PPM: u32 = 1_000_000;

/// A field that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct SetupError {
    /// Its path.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

/// Reads a Rollout.
///
/// # Errors
/// Names the first field that cannot be used.
pub fn setup(rollout: &Rollout) -> Result<Setup, SetupError> {
    let spec = &rollout.spec;
    let window_ms = duration("spec.observe.window", &spec.observe.window)?;
    let report_every_ms = match &spec.observe.report_every {
        Some(text) => duration("spec.observe.reportEvery", text)?,
        None => 0,
    };
    let silent_after_ms = window_ms.saturating_mul(SILENT_WINDOWS).max(report_every_ms.saturating_mul(2));
    let parts = PolicyParts {
        rollout: rollout.metadata.name.clone().unwrap_or_default(),
        uid: String::new(),
        version: spec.version.clone(),
        stages: stages(spec)?,
        on_undecided: match spec.on_undecided {
            UndecidedPolicy::Hold => OnUndecided::Hold,
            UndecidedPolicy::Promote => OnUndecided::Promote,
            UndecidedPolicy::RollBack => OnUndecided::RollBack,
        },
        rollback: match spec.rollback.policy {
            RollbackField::Automatic => RollbackPolicy::Automatic,
            RollbackField::Manual => RollbackPolicy::Manual,
        },
        holdback_ppm: match amount("spec.holdback", &spec.holdback)? {
            Amount::Ppm(ppm) => ppm,
            Amount::Count(_) => 0,
        },
        probation: Probation {
            timeout_ms: duration("spec.probation.timeout", &spec.probation.timeout)?,
            min_predictions: u64::try_from(spec.probation.min_predictions).unwrap_or(0),
            max_errors: PROBATION_ERRORS_MAX,
        },
        fetch: Fetch { spread_ms: duration("spec.fetch.spread", &spec.fetch.spread)?, ..Fetch::default() },
        observe: Observe { window_ms, report_every_ms, ..Observe::default() },
        error_budget_ppm: percent("spec.errorBudget", &spec.error_budget)?,
        stale_after_ms: silent_after_ms.max(STALE_MIN_MS),
    };
    let objectives = spec.slos.iter().enumerate().map(|(i, slo)| objective(&format!("spec.slos[{i}]"), slo));
    let objectives = objectives.collect::<Result<Vec<_>, _>>()?;
    let silence = SilenceRule::default();
    Ok(Setup {
        parts,
        hard: HardRule::beside(objectives.iter().map(|o| (o.on_breach, o.evidence)), silence),
        objectives,
        warmup_windows: u64::try_from(spec.observe.warmup_windows).unwrap_or(0),
        silent_after_ms,
        silence,
        looks: LookPlan::Even,
        controls: Controls::All,
        rule: Rule::Judge,
        ask_always: false,
    })
}

fn stages(spec: &RolloutSpec) -> Result<Vec<Stage>, SetupError> {
    let stage = |(i, field)| stage(spec, &format!("spec.stages[{i}]"), field);
    spec.stages.iter().enumerate().map(stage).collect()
}

fn stage(spec: &RolloutSpec, at: &str, field: &StageField) -> Result<Stage, SetupError> {
    let bake_ms = duration(at, &field.bake)?;
    let limits = &field.limits;
    let approval_timeout = field.approval_timeout.as_ref().map(|text| duration(at, text)).transpose()?;
    let margin =
        field.margin.as_ref().map(|text| text.millionths().map_err(|e| refused(at, &e))).transpose()?;
    Ok(Stage {
        name: field.name.clone(),
        target: match amount(at, &field.devices)? {
            Amount::Count(count) => Target::Count(count),
            Amount::Ppm(ppm) => Target::Ppm(ppm),
        },
        selector: selector([Some(&spec.selector), field.selector.as_ref()]),
        spread_by: field.spread_by.clone(),
        bake_ms,
        approval: match field.approval {
            ApprovalField::Automatic => Approval::Automatic,
            ApprovalField::Required => Approval::Required { timeout_ms: approval_timeout },
        },
        limits: Limits {
            max_failed: amount(at, &limits.max_failed)?,
            max_unreachable: amount(at, &limits.max_unreachable)?,
            min_devices: limits.min_devices.map_or(1, |n| u64::try_from(n).unwrap_or(1)),
            min_windows: u32::try_from(limits.min_windows).unwrap_or(u32::MAX),
            min_reporting_ppm: percent(at, &limits.min_reporting)?,
        },
        rollback_deadline_ms: duration(at, &field.rollback_deadline)?,
        max_wait_ms: match &field.max_wait {
            Some(text) => duration(at, text)?,
            None => bake_ms.max(MAX_WAIT_MIN_MS),
        },
        mode: match field.mode {
            StageMode::Live => Mode::Live,
            StageMode::Shadow => Mode::Shadow,
        },
        margin_ppm: margin.and_then(|millionths| u64::try_from(millionths).ok()),
    })
}

fn objective(at: &str, slo: &Slo) -> Result<Objective, SetupError> {
    Ok(Objective {
        name: slo.name.clone(),
        on_breach: match slo.on_breach {
            BreachAction::RollBack => OnBreach::RollBack,
            BreachAction::Pause => OnBreach::Pause,
            BreachAction::Observe => OnBreach::Observe,
        },
        evidence: match slo.evidence {
            Evidence::Statistical => EvidenceKind::Statistical,
            Evidence::Plain => {
                EvidenceKind::Plain { for_windows: u32::try_from(slo.for_windows).unwrap_or(u32::MAX) }
            }
        },
        allowance_ppm: percent(at, &slo.allowance)?,
        breach_share_ppm: breach_share_ppm(at, slo)?,
        min_samples: u64::try_from(slo.min_samples).unwrap_or(1),
    })
}

/// The share of bad predictions beyond which the merged value breaks its bound: a P95 latency is over 500 ms when
/// more than 5 % of the requests took longer. For metrics that are no share of predictions: half of them.
fn breach_share_ppm(at: &str, slo: &Slo) -> Result<u32, SetupError> {
    let share = match slo.threshold.value().map_err(|e| refused(at, &e))? {
        BoundValue::Millionths(millionths) => small(millionths),
        BoundValue::Milliseconds(_) => 0,
    };
    Ok(match slo.metric {
        Metric::LatencyP95 => 50_000,
        Metric::LatencyP99 => 10_000,
        Metric::Accuracy | Metric::Availability => WHOLE_PPM - share,
        Metric::LatencyP50
        | Metric::FeaturePsi
        | Metric::FeatureKl
        | Metric::CpuUsage
        | Metric::MemoryUsage => WHOLE_PPM / 2,
        _ => share,
    })
}

/// The rollout's own selector and a stage's, both.
fn selector(both: [Option<&DeviceSelector>; 2]) -> Selector {
    let mut all = Selector::default();
    for selector in both.into_iter().flatten() {
        let equal = selector.match_labels.iter().map(|(key, value)| Requirement {
            key: key.clone(),
            operator: Operator::In,
            values: vec![value.clone()],
        });
        let others = selector.match_expressions.iter().map(|expression| Requirement {
            key: expression.key.clone(),
            operator: match expression.operator {
                LabelOperator::In => Operator::In,
                LabelOperator::NotIn => Operator::NotIn,
                LabelOperator::Exists => Operator::Exists,
                LabelOperator::DoesNotExist => Operator::DoesNotExist,
            },
            values: expression.values.clone(),
        });
        all.match_expressions.extend(equal.chain(others));
    }
    all
}

fn amount(field: &str, text: &AmountText) -> Result<Amount, SetupError> {
    Ok(match text.value().map_err(|e| refused(field, &e))? {
        CountOrShare::Count(count) => Amount::Count(u64::try_from(count).unwrap_or(0)),
        CountOrShare::PartsPerMillion(ppm) => Amount::Ppm(small(ppm)),
    })
}

fn duration(field: &str, text: &DurationText) -> Result<u64, SetupError> {
    text.milliseconds().map_err(|e| refused(field, &e))
}

fn percent(field: &str, text: &Percent) -> Result<u32, SetupError> {
    text.parts_per_million().map(small).map_err(|e| refused(field, &e))
}

fn small(ppm: i64) -> u32 {
    u32::try_from(ppm.clamp(0, i64::from(WHOLE_PPM))).unwrap_or(0)
}

fn refused(field: &str, problem: &Malformed) -> SetupError {
    SetupError { field: field.to_owned(), problem: problem.to_string() }
}

#[cfg(test)]
mod tests;
