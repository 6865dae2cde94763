//! Layer 0: hard failures, counted against those attempted and compared with controls.

use crate::assessment::{HardAction, HardStop};
use crate::budget::Spending;
use crate::exact::fisher::{attainable_level, fisher_greater};
use crate::observations::{Arm, Observations};
use crate::sentence;
use crate::state::StageState;
use modelfleet_number::rounding::ppb_up;
use std::collections::BTreeMap;

/// One failed device is a device, not a model.
const FEWEST_TESTED: u32 = 2;
/// Failures this unlikely by chance keep a stage from being Healthy, even if they do not roll it back.
const SUSPICIOUS_PPB: u64 = 50_000_000;

/// Two or more canaries failed, and rather more than among controls: nothing is Healthy meanwhile.
pub const fn suspicious(stop: &HardStop) -> bool {
    stop.failed >= FEWEST_TESTED && stop.p_value_ppb <= SUSPICIOUS_PPB
}

/// Most codes that are named.
const MOST_CODES: usize = 8;

/// Canaries and controls that failed hard, and out of how many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Table {
    failed: u32,
    attempted: u32,
    control_failed: u32,
    controls: u32,
}

/// Fires when failed canaries reach the rule's count or share. Each time one more canary has failed, from the
/// second on, Fisher's exact test compares with the controls. Such a test may use seven eighths of what is left of
/// the share, and spends what it could have used: see [`attainable_level`].
/// Writes the test into `state`.
pub fn judge(
    observations: &Observations<'_>,
    spending: Spending,
    state: &mut StageState,
) -> Option<HardStop> {
    let mut table = Table::default();
    let mut ids = Vec::new();
    let mut codes: BTreeMap<u16, u32> = BTreeMap::new();
    for device in observations.devices.iter().filter(|d| d.attempted || d.hard_failure.is_some()) {
        match device.arm {
            Arm::Canary => {
                table.attempted += 1;
                if let Some(code) = device.hard_failure {
                    table.failed += 1;
                    ids.push(device.id);
                    *codes.entry(code).or_default() += 1;
                }
            }
            Arm::Control => {
                table.controls += 1;
                table.control_failed += u32::from(device.hard_failure.is_some());
            }
        }
    }
    if !reached(observations, table) && !state.hard.degraded {
        return None;
    }
    let mut codes: Vec<(u16, u32)> = codes.into_iter().collect();
    codes.sort_by_key(|&(code, count)| (std::cmp::Reverse(count), code));
    codes.truncate(MOST_CODES);
    if table.failed > state.hard_failed && table.failed >= FEWEST_TESTED {
        test(table, spending, state);
    }
    let action = if state.hard.degraded { HardAction::RollBackAll } else { HardAction::Quarantine(ids) };
    let p = fisher(table);
    let mut stop = HardStop {
        action,
        failed: table.failed,
        attempted: table.attempted,
        control_failed: table.control_failed,
        controls: table.controls,
        p_value_ppb: ppb_up(p),
        threshold_ppb: state.hard.threshold_ppb,
        codes,
        sentence: String::new(),
        statistics: String::new(),
    };
    let told = sentence::hard_stop(&stop);
    (stop.sentence, stop.statistics) = (told.sentence, told.statistics);
    Some(stop)
}

fn reached(observations: &Observations<'_>, table: Table) -> bool {
    let rule = observations.hard;
    let share =
        u64::from(table.failed) * 1_000_000 >= u64::from(rule.max_failed_ppm) * u64::from(table.attempted);
    table.failed > 0 && (table.failed >= rule.max_failed.max(1) || (rule.max_failed_ppm > 0 && share))
}

fn test(table: Table, spending: Spending, state: &mut StageState) {
    let left = spending.share_ppb.saturating_sub(state.hard.spent_ppb);
    let threshold = left - left / 8;
    let p = fisher(table);
    let (failed, attempted) = (u64::from(table.failed), u64::from(table.attempted));
    let attained = attainable_level(failed, attempted, u64::from(table.controls), threshold as f64 / 1e9);
    state.hard_failed = table.failed;
    state.hard.looks_used = state.hard.looks_used.saturating_add(1);
    state.hard.p_value_ppb = ppb_up(p);
    state.hard.threshold_ppb = threshold;
    state.hard.spent_ppb += ppb_up(attained).min(threshold);
    state.hard.degraded |= threshold > 0 && state.hard.p_value_ppb <= threshold;
}

fn fisher(table: Table) -> f64 {
    fisher_greater(
        u64::from(table.failed),
        u64::from(table.attempted),
        u64::from(table.control_failed),
        u64::from(table.controls),
    )
}
