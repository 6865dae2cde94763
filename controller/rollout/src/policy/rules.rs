//! What a spec needs in order to work.

use std::collections::BTreeSet;

use modelfleet_protocol::draw::Target;
use modelfleet_protocol::membership::{SET_ASIDE_MAX, SPREAD_MAX};
use modelfleet_protocol::observe::INDICATORS_MAX;
use modelfleet_protocol::plan::{Mode, SPREAD_MS_MAX, WINDOW_MS_MIN};

use crate::text::{percent, span};

use super::{Amount, Approval, PolicyError, PolicyParts, STAGES_MAX, Stage, WATCH_MAX};

/// Longest time of any field, milliseconds: ten years, so that no sum of times can run over.
pub(super) const TIME_MAX_MS: u64 = 10 * 365 * 24 * 3_600_000;
pub(super) const NAME_MAX: usize = 63;

pub(super) fn check(parts: &PolicyParts) -> Result<(), PolicyError> {
    let spec = |field: &str| format!("spec.{field}");
    let stages = parts.stages.len();
    rule((1..=STAGES_MAX).contains(&stages), spec("stages"), || {
        format!("has {stages} stages; give it 1 to {STAGES_MAX}")
    })?;
    for (i, stage) in parts.stages.iter().enumerate() {
        check_stage(i, stage)?;
    }
    check_order(&parts.stages)?;
    check_modes(&parts.stages)?;
    let aside = parts.set_aside.len();
    rule(aside <= SET_ASIDE_MAX, spec("setAside"), || {
        format!("names {aside} devices; set aside at most {SET_ASIDE_MAX}")
    })?;
    let is_ordered = parts.set_aside.windows(2).all(|pair| pair[0] < pair[1]);
    rule(is_ordered, spec("setAside"), || "names a device twice".to_owned())?;
    ppm(parts.holdback_ppm, 0, 500_000, spec("holdback"))?;
    ppm(parts.error_budget_ppm, 1, 500_000, spec("errorBudget"))?;
    time(parts.probation.timeout_ms, 1, spec("probation.timeout"))?;
    time(parts.observe.window_ms, WINDOW_MS_MIN, spec("observe.window"))?;
    time(parts.stale_after_ms, 1, spec("observe.reportEvery"))?;
    // Devices refuse a plan beyond these bounds, and everything else that is in it.
    rule(parts.fetch.spread_ms <= SPREAD_MS_MAX, spec("fetch.spread"), || {
        format!("is {}; must be at most a year", exact(parts.fetch.spread_ms))
    })?;
    rule(parts.fetch.is_bounded(), spec("fetch.window"), || {
        "must have a start and an end from 00:00 to 23:59".to_owned()
    })?;
    let slos = parts.observe.indicators.len();
    rule(slos <= INDICATORS_MAX, spec("slos"), || {
        format!("has {slos} objectives; give it at most {INDICATORS_MAX}")
    })
}

fn check_stage(i: usize, stage: &Stage) -> Result<(), PolicyError> {
    let at = |field: &str| format!("spec.stages[{i}].{field}");
    rule((1..=NAME_MAX).contains(&stage.name.len()), at("name"), || {
        format!("has {} bytes; it must have 1 to {NAME_MAX}", stage.name.len())
    })?;
    let is_some = match stage.target {
        Target::Count(count) => count > 0,
        Target::Ppm(share) => (1..=1_000_000).contains(&share),
        Target::AllBut(share) => share < 1_000_000,
    };
    rule(is_some, at("devices"), || "must be at least 1 device and at most 100 %".to_owned())?;
    rule(stage.spread_by.len() <= SPREAD_MAX, at("spreadBy"), || {
        format!("has {} labels; give it at most {SPREAD_MAX}", stage.spread_by.len())
    })?;
    rule(stage.watch_by.len() <= WATCH_MAX, at("watchBy"), || {
        format!("has {} labels; give it at most {WATCH_MAX}", stage.watch_by.len())
    })?;
    rule(
        stage.watch_by.iter().collect::<BTreeSet<_>>().len() == stage.watch_by.len(),
        at("watchBy"),
        || "names a label twice; name each label once".to_owned(),
    )?;
    time(stage.bake_ms, 0, at("bake"))?;
    time(stage.max_wait_ms, 0, at("maxWait"))?;
    time(stage.rollback_deadline_ms, 1, at("rollbackDeadline"))?;
    if let Approval::Required { timeout_ms: Some(timeout_ms) } = stage.approval {
        time(timeout_ms, 1, at("approvalTimeout"))?;
    }
    let limits = &stage.limits;
    amount(limits.max_failed, at("limits.maxFailed"))?;
    amount(limits.max_unreachable, at("limits.maxUnreachable"))?;
    ppm(limits.min_reporting_ppm, 0, 1_000_000, at("limits.minReporting"))?;
    rule(limits.min_devices >= 1, at("limits.minDevices"), || "must be at least 1".to_owned())?;
    if let Target::Count(count) = stage.target {
        rule(limits.min_devices <= count, at("limits.minDevices"), || {
            format!("is {}, but the stage has only {count} devices; lower it", limits.min_devices)
        })?;
    }
    rule(stage.margin_ppm.is_none_or(|m| m > 1_000_000), at("margin"), || "must be greater than 1".to_owned())
}

/// Names once each, and sizes that can be compared never shrink.
fn check_order(stages: &[Stage]) -> Result<(), PolicyError> {
    let mut names = BTreeSet::new();
    for (i, stage) in stages.iter().enumerate() {
        rule(names.insert(&stage.name), format!("spec.stages[{i}].name"), || {
            format!("{:?} is the name of an earlier stage; give each stage its own name", stage.name)
        })?;
    }
    for (i, pair) in stages.windows(2).enumerate() {
        let grows = match (pair[0].target, pair[1].target) {
            (Target::Count(a), Target::Count(b)) => a <= b,
            (Target::Ppm(a), Target::Ppm(b)) => a <= b,
            (Target::AllBut(a), Target::AllBut(b)) => a >= b,
            (Target::Ppm(a), Target::AllBut(b)) => a <= 1_000_000 - b.min(1_000_000),
            (Target::Count(_), _) => true,
            (Target::Ppm(_) | Target::AllBut(_), Target::Count(_)) | (Target::AllBut(_), Target::Ppm(_)) => {
                false
            }
        };
        rule(grows, format!("spec.stages[{}].devices", i + 1), || {
            format!("must be a percentage, and at least that of {:?}, the stage before", pair[0].name)
        })?;
    }
    Ok(())
}

/// A version goes to production from a stage in which its answers were used, and who has used them does not go back to
/// only comparing.
fn check_modes(stages: &[Stage]) -> Result<(), PolicyError> {
    for (i, stage) in stages.iter().enumerate().filter(|(_, stage)| stage.mode == Mode::Shadow) {
        let at = format!("spec.stages[{i}].mode");
        rule(i + 1 < stages.len(), at.clone(), || {
            "is Shadow in the last stage; add a Live stage after it, because a version goes to production only after its \
             answers were used"
                .to_owned()
        })?;
        rule(stages[..i].iter().all(|before| before.mode == Mode::Shadow), at, || {
            format!("is Shadow after a Live stage; put {:?} before every Live stage", stage.name)
        })?;
    }
    Ok(())
}

fn rule(ok: bool, field: String, problem: impl FnOnce() -> String) -> Result<(), PolicyError> {
    if ok { Ok(()) } else { Err(PolicyError { field, problem: problem() }) }
}

fn time(ms: u64, min_ms: u64, field: String) -> Result<(), PolicyError> {
    rule((min_ms..=TIME_MAX_MS).contains(&ms), field, || {
        let above = match min_ms {
            0 => String::new(),
            1 => "longer than zero and ".to_owned(),
            _ => format!("at least {} and ", exact(min_ms)),
        };
        format!("is {}; must be {above}at most ten years", exact(ms))
    })
}

fn ppm(value: u32, min: u32, max: u32, field: String) -> Result<(), PolicyError> {
    rule((min..=max).contains(&value), field, || {
        format!("is {}; must be {} to {}", percent(value), percent(min), percent(max))
    })
}

/// A time that was given, without rounding it up to seconds.
fn exact(ms: u64) -> String {
    if ms.is_multiple_of(1000) { span(ms) } else { format!("{ms} ms") }
}

fn amount(amount: Amount, field: String) -> Result<(), PolicyError> {
    match amount {
        Amount::Count(_) => Ok(()),
        Amount::Ppm(value) => ppm(value, 0, 1_000_000, field),
    }
}
