//! A mixture sequential probability ratio test of the pooled requests of both arms.
//!
//! The difference of the two shares of errors, with the variance of independent requests, against a normal mixture of
//! differences: always valid, so that it is looked at in every window, and two-sided at 5 %, as experimentation platforms
//! have it; only a rise takes the candidate back. The mixture's standard deviation is the share of errors that was usual
//! before the rollout, so that it is tuned to a doubling of the rate.
//!
//! Sources: R. Johari, P. Koomen, L. Pekelis, D. Walsh: Always Valid Inference: Continuous Monitoring of A/B Tests,
//! Operations Research 70(3), 2022 ([arXiv:1512.04922](https://arxiv.org/abs/1512.04922)), equation for two streams of
//! Bernoulli observations; with arms of unequal size the variance of the difference takes the place of `V / n`.

use libm::log;

use super::{Reading, Requests};

/// Level of the two-sided test.
const LEVEL: f64 = 0.05;

/// Logarithm of one over the level.
#[must_use]
pub fn bar() -> f64 {
    -log(LEVEL)
}

/// Requests of both arms so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sums {
    arms: [Requests; 2],
}

impl Sums {
    /// Adds the window's requests: the logarithm of the mixture likelihood ratio, below nothing where canaries are better.
    pub fn read(&mut self, reading: &Reading) -> Option<f64> {
        for (sum, window) in self.arms.iter_mut().zip(reading.requests) {
            *sum = sum.plus(window);
        }
        let [canary, control] = self.arms;
        let (p, q) = (canary.share()?, control.share()?);
        let variance = p * (1.0 - p) / canary.all + q * (1.0 - q) / control.all;
        let mixture = reading.usual * reading.usual;
        if variance <= 0.0 || mixture <= 0.0 {
            return None;
        }
        let difference = p - q;
        let all = variance + mixture;
        let ratio = 0.5 * log(variance / all) + difference * difference * mixture / (2.0 * variance * all);
        Some(if difference > 0.0 { ratio } else { -ratio.max(0.0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rise_is_told_and_a_fall_is_not() {
        let reading = |canary: f64, control: f64| Reading {
            requests: [Requests { all: 1e4, wrong: canary }, Requests { all: 1e4, wrong: control }],
            usual: 0.01,
            ..Reading::default()
        };
        let first = |canary, control| Sums::default().read(&reading(canary, control)).unwrap();
        // The likelihood ratio by hand: variance 2.97e-6, mixture 1e-4, difference 0.01.
        let variance = (0.02 * 0.98 + 0.01 * 0.99) / 1e4;
        let by_hand = 0.5 * log(variance / (variance + 1e-4)) + 1e-8 / (2.0 * variance * (variance + 1e-4));
        assert!((first(200.0, 100.0) - by_hand).abs() < 1e-9);
        assert!(first(200.0, 100.0) > bar() && first(100.0, 100.0) <= 0.0 && first(100.0, 200.0) < 0.0);
        let mut sums = Sums::default();
        let grown: Vec<f64> = (0..3).filter_map(|_| sums.read(&reading(130.0, 100.0))).collect();
        assert!(grown.windows(2).all(|pair| pair[0] < pair[1]), "{grown:?}");
    }
}
