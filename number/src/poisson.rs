//! The Poisson distribution: counts of rare events over an exposure.

use crate::gamma;

/// P(X <= events) where `mean` events are expected.
pub fn lower_tail(events: u64, mean: f64) -> f64 {
    if mean <= 0.0 { 1.0 } else { gamma::upper(events as f64 + 1.0, mean) }
}

/// P(X >= events) where `mean` events are expected.
pub fn upper_tail(events: u64, mean: f64) -> f64 {
    match events {
        0 => 1.0,
        _ if mean <= 0.0 => 0.0,
        events => gamma::lower(events as f64, mean),
    }
}

/// The mean at which so few events, or fewer, have this probability: Garwood's upper limit (Biometrika 1936).
pub fn mean_with_lower_tail(events: u64, probability: f64) -> f64 {
    gamma::lower_inverse(events as f64 + 1.0, 1.0 - probability)
}

/// Garwood's exact interval for the mean, two-sided at `confidence` (0.95), after `events` were counted.
pub fn interval(events: u64, confidence: f64) -> (f64, f64) {
    let tail = 0.5 * (1.0 - confidence.clamp(0.0, 1.0));
    let low = if events == 0 { 0.0 } else { gamma::lower_inverse(events as f64, tail) };
    (low, mean_with_lower_tail(events, tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// scipy.stats.poisson.cdf and chi2.ppf(p, 2 k) / 2.
    #[test]
    fn known_values() {
        let near = |got: f64, want: f64| assert!((got - want).abs() < 1e-6 * want.max(1.0), "{got} {want}");
        near(lower_tail(0, 3.0), 0.049_787_068);
        near(lower_tail(2, 3.0), 0.423_190_081);
        near(upper_tail(1, 3.0), 0.950_212_932);
        near(upper_tail(5, 2.0), 0.052_653_017);
        near(mean_with_lower_tail(0, 0.05), 2.995_732_274);
        let (low, high) = interval(10, 0.95);
        near(low, 4.795_389);
        near(high, 18.390_356);
        near(interval(0, 0.95).1, 3.688_879);
    }

    #[test]
    fn tails_are_whole() {
        for events in 0..30 {
            for mean in [0.0, 0.1, 1.0, 7.5, 40.0] {
                let sum = lower_tail(events, mean) + upper_tail(events + 1, mean);
                assert!((sum - 1.0).abs() < 1e-9, "{events} at {mean}: {sum}");
            }
        }
    }
}
