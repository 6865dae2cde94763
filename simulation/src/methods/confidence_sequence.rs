//! An always-valid comparison of devices: an asymptotic confidence sequence of the difference between the means of both
//! arms, each device a unit with its share of bad windows.
//!
//! This is GrowthBook's sequential testing: a two-sided confidence sequence at 5 %, tuned to be tightest at 5 000 units,
//! without covariates of the time before (CUPED is an option there, and off in this comparison). LaunchDarkly's guarded
//! rollouts work alike: they find a regression where sequential testing has the whole confidence interval of the
//! difference on the worse side; their formula is not in the pages that were read, so that one method stands for both.
//! The unit's value grows with every window, where these methods take a unit's value as one observation.
//!
//! Sources: I. Waudby-Smith, D. Arbour, R. Sinha, E. H. Kennedy, A. Ramdas: Time-uniform central limit theory and
//! asymptotic confidence sequences, Annals of Statistics 52(6), 2024 ([arXiv:2103.06476](https://arxiv.org/abs/2103.06476));
//! [GrowthBook](https://docs.growthbook.io/statistics/sequential), which takes from it half-width and tuning;
//! [LaunchDarkly](https://launchdarkly.com/docs/home/releases/guarded-rollouts).

use libm::{log, sqrt};

use super::Reading;

/// Level of the two-sided sequence.
const LEVEL: f64 = 0.05;
/// Units at which it is tightest.
const TIGHTEST_AT: f64 = 5_000.0;
/// The whole interval is above zero.
pub const BAR: f64 = 1.0;

/// The difference in half-widths of its confidence sequence.
#[must_use]
pub fn read(reading: &Reading) -> Option<f64> {
    let [canary, control] = reading.devices;
    if canary.count < 2.0 || control.count < 2.0 {
        return None;
    }
    let variance = canary.variance / canary.count + control.variance / control.count;
    let half = sqrt(variance) * widening(canary.count + control.count);
    (half > 0.0).then(|| (canary.mean - control.mean) / half)
}

/// Half-width in standard errors, with so many units.
fn widening(units: f64) -> f64 {
    let tuning = (-2.0 * log(LEVEL) + log(1.0 - 2.0 * log(LEVEL))) / TIGHTEST_AT;
    let grown = units * tuning + 1.0;
    sqrt(2.0 * grown * log(sqrt(grown) / LEVEL) / (units * tuning))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::Devices;

    #[test]
    fn it_is_tightest_where_it_is_tuned_to() {
        // By hand: 2 * 8.936 * ln(2.989 / 0.05) / 7.936 is the square of 3.035 standard errors, against the 1.96 of a test that
        // is made once.
        assert!((widening(TIGHTEST_AT) - 3.035).abs() < 0.001, "{}", widening(TIGHTEST_AT));
        assert!(widening(200.0) > widening(TIGHTEST_AT) && widening(1e6) > widening(TIGHTEST_AT));
    }

    #[test]
    fn a_large_difference_is_told() {
        let arm = |count: f64, mean: f64| Devices { count, mean, variance: 0.01 };
        let read = |canary, control| read(&Reading { devices: [canary, control], ..Reading::default() });
        assert!(read(arm(20.0, 0.5), arm(180.0, 0.2)).unwrap() > BAR);
        assert!(read(arm(20.0, 0.21), arm(180.0, 0.2)).unwrap() < BAR);
        assert!(read(arm(20.0, 0.1), arm(180.0, 0.2)).unwrap() < 0.0);
        assert_eq!(read(arm(1.0, 0.9), arm(180.0, 0.2)), None, "one device has no variance");
    }
}
