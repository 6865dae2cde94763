//! The stages of a spec.

use modelfleet_crds::RolloutSpec;
use modelfleet_crds::rollout::{Approval as ApprovalField, Stage as StageField, StageMode};
use modelfleet_crds::text::CountOrShare;
use modelfleet_protocol::draw::Target;
use modelfleet_protocol::plan::Mode;
use modelfleet_rollout::{Amount, Approval, Limits, Stage};

use crate::floors::floors;
use crate::{Objective, Problem};
use crate::{duration, percent, selector, small};

/// Shortest default of `maxWait`: a day.
const MAX_WAIT_MIN_MS: u64 = 24 * 3_600_000;

/// `evidence_delay_ms`: before this time after an activation nothing can be known, so no stage waits for less.
pub(super) fn stages(
    spec: &RolloutSpec,
    objectives: &[Objective],
    error_budget_ppm: u32,
    window_ms: u64,
    evidence_delay_ms: u64,
) -> Result<Vec<Stage>, Problem> {
    let read = |(index, field): (usize, &StageField)| {
        let stage = stage(spec, index, field, evidence_delay_ms)?;
        let up_to_ppm = percent(&format!("spec.stages[{index}].provableUpTo"), &field.provable_up_to)?;
        let place = (index, spec.stages.len());
        let floors = floors(&stage, place, up_to_ppm, objectives, error_budget_ppm, window_ms);
        Ok(Stage { floors, ..stage })
    };
    spec.stages.iter().enumerate().map(read).collect()
}

fn stage(
    spec: &RolloutSpec,
    index: usize,
    field: &StageField,
    evidence_delay_ms: u64,
) -> Result<Stage, Problem> {
    let at = |name: &str| format!("spec.stages[{index}].{name}");
    let bake_ms = duration(&at("bake"), &field.bake)?;
    let wait_ms = match &field.max_wait {
        Some(text) => duration(&at("maxWait"), text)?,
        None => bake_ms.max(MAX_WAIT_MIN_MS),
    };
    let margin_ppm = match &field.margin {
        Some(text) => {
            let millionths = text.millionths().map_err(|e| Problem::spec(at("margin"), e))?;
            Some(u64::try_from(millionths).unwrap_or(0))
        }
        None => None,
    };
    Ok(Stage {
        name: field.name.clone(),
        target: match amount(&at("devices"), &field.devices)? {
            Amount::Count(count) => Target::Count(count),
            Amount::Ppm(ppm) => Target::Ppm(ppm),
        },
        selector: selector([Some(&spec.selector), field.selector.as_ref()]),
        spread_by: field.spread_by.clone(),
        watch_by: field.watch_by.clone(),
        bake_ms,
        approval: approval(&at("approvalTimeout"), field)?,
        limits: limits(&at("limits"), field)?,
        rollback_deadline_ms: duration(&at("rollbackDeadline"), &field.rollback_deadline)?,
        max_wait_ms: wait_ms.saturating_add(evidence_delay_ms),
        mode: match field.mode {
            StageMode::Live => Mode::Live,
            StageMode::Shadow => Mode::Shadow,
        },
        margin_ppm,
        floors: Vec::new(),
    })
}

fn approval(path: &str, field: &StageField) -> Result<Approval, Problem> {
    Ok(match field.approval {
        ApprovalField::Automatic => Approval::Automatic,
        ApprovalField::Required => {
            let timeout = field.approval_timeout.as_ref();
            Approval::Required { timeout_ms: timeout.map(|text| duration(path, text)).transpose()? }
        }
    })
}

fn limits(path: &str, field: &StageField) -> Result<Limits, Problem> {
    let limits = &field.limits;
    Ok(Limits {
        max_failed: amount(&format!("{path}.maxFailed"), &limits.max_failed)?,
        max_unreachable: amount(&format!("{path}.maxUnreachable"), &limits.max_unreachable)?,
        min_devices: u64::try_from(limits.min_devices).unwrap_or(1),
        min_windows: u32::try_from(limits.min_windows).unwrap_or(u32::MAX),
        min_reporting_ppm: percent(&format!("{path}.minReporting"), &limits.min_reporting)?,
    })
}

fn amount(field: &str, text: &modelfleet_crds::text::Amount) -> Result<Amount, Problem> {
    Ok(match text.value().map_err(|e| Problem::spec(field, e))? {
        CountOrShare::Count(count) => Amount::Count(u64::try_from(count).unwrap_or(0)),
        CountOrShare::PartsPerMillion(ppm) => Amount::Ppm(small(ppm)),
    })
}
