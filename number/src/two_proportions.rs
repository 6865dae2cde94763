//! The two-proportion z-test.

use crate::normal;
use libm::sqrt;

/// Test and interval for the difference of two shares.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TwoProportions {
    /// Second share less the first.
    pub difference: f64,
    /// Difference over its pooled standard error.
    pub z: f64,
    /// Two-sided p-value.
    pub p_value: f64,
    /// Interval for the difference, with the pooled standard error as in reference 003.
    pub interval: (f64, f64),
}

/// Compares `good_b` of `all_b` with `good_a` of `all_a` (reference 003, `proportion_test`). For independent
/// samples only: device-windows are not; the judge does not use it. `None` when a side is empty or nothing
/// varies.
pub fn two_proportions(
    good_a: u64,
    all_a: u64,
    good_b: u64,
    all_b: u64,
    alpha: f64,
) -> Option<TwoProportions> {
    let (a, b) = (all_a as f64, all_b as f64);
    let (good_a, good_b) = (good_a.min(all_a) as f64, good_b.min(all_b) as f64);
    let pooled = (good_a + good_b) / (a + b);
    let error = sqrt(pooled * (1.0 - pooled) * (1.0 / a + 1.0 / b));
    if all_a == 0 || all_b == 0 || error <= 0.0 {
        return None;
    }
    let difference = good_b / b - good_a / a;
    let z = difference / error;
    let half = normal::quantile(1.0 - 0.5 * alpha) * error;
    let interval = (difference - half, difference + half);
    Some(TwoProportions { difference, z, p_value: 2.0 * normal::upper_tail(z.abs()), interval })
}
