//! Layer 2: valid at any stop, for stages with many canaries.

use crate::anytime::{Contrast, log_e_value};
use crate::budget::Spending;
use crate::exact::change::Subject;
use crate::state::SloState;
use libm::{exp, log};
use modelfleet_number::rounding::{from_ppb, milli, ppb_up};

/// Devices that each arm needs before the normal approximation of its mean is trusted.
pub const FEWEST_DEVICES: usize = 50;
/// Bad windows that canaries must be expected to have: below, counts are too skewed for a normal curve.
const FEWEST_EVENTS: f64 = 20.0;

/// Updates the running maximum of the e-process and compares it with one over the share. The whole share
/// counts as spent from the first time the process is looked at, and stays as it was then (Ville's inequality
/// covers every later time); it is never more than layer 1 left.
pub fn test(subjects: &[Subject], part: Spending, whole: Spending, state: &mut SloState) -> bool {
    if state.degraded {
        return true;
    }
    let left = whole.share_ppb.saturating_sub(state.spent_ppb);
    let share = if state.anytime_ppb > 0 { state.anytime_ppb } else { part.share_ppb.min(left) };
    let contrast = Contrast::of(subjects);
    if share == 0 || contrast.canaries < FEWEST_DEVICES || contrast.expected < FEWEST_EVENTS {
        return false;
    }
    let log_e = log_e_value(contrast.z(), contrast.information());
    state.anytime_ppb = share;
    state.log_e_milli = state.log_e_milli.max(milli(log_e));
    state.degraded = log_e >= -log(from_ppb(share));
    // Layer 1's last test is the record, unless this one decides or is alone.
    if state.degraded || state.looks_used == 0 {
        state.p_value_ppb = ppb_up(exp(-log_e)).min(1_000_000_000);
        state.threshold_ppb = share;
    }
    state.degraded
}
