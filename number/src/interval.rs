//! Intervals for a share.

use crate::{beta, normal};
use libm::sqrt;

/// Wilson's score interval (JASA 1927): `good` of `all`, two-sided at `confidence` (0.95).
pub fn wilson(good: u64, all: u64, confidence: f64) -> (f64, f64) {
    if all == 0 {
        return (0.0, 1.0);
    }
    let (n, p) = (all as f64, good.min(all) as f64 / all as f64);
    let z = normal::quantile(0.5 + 0.5 * confidence.clamp(0.0, 1.0));
    let z2 = z * z;
    let middle = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = z / (1.0 + z2 / n) * sqrt(p * (1.0 - p) / n + z2 / (4.0 * n * n));
    ((middle - half).max(0.0), (middle + half).min(1.0))
}

/// Clopper and Pearson's exact interval (Biometrika 1934), two-sided at `confidence`.
pub fn clopper_pearson(good: u64, all: u64, confidence: f64) -> (f64, f64) {
    let good = good.min(all);
    let tail = 0.5 * (1.0 - confidence.clamp(0.0, 1.0));
    let (k, n) = (good as f64, all as f64);
    let low = if good == 0 { 0.0 } else { beta::inverse(k, n - k + 1.0, tail) };
    let high = if good == all { 1.0 } else { beta::inverse(k + 1.0, n - k, 1.0 - tail) };
    (low, high)
}
