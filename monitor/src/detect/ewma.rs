//! The EWMA control chart.

use crate::detect::baseline::Baseline;
use crate::detect::{Detector, Signal};
use libm::sqrt;

/// Exponentially weighted mean `Z = lambda x + (1 - lambda) Z` (reference 001) against limits of `width`
/// standard deviations of Z (Roberts, Technometrics 1959; exact, time-dependent limits: Montgomery, ch. 9).
/// Mean and deviation come from the first `warm_up` values; where these are all equal, they come from as many from the
/// first on that differs.
#[derive(Debug, Clone, PartialEq)]
pub struct Ewma {
    lambda: f64,
    width: f64,
    warm_up: u64,
    base: Baseline,
    level: f64,
    /// (1 - lambda)^(2 t).
    forgotten: f64,
}

impl Default for Ewma {
    /// lambda 0.2, three and a half deviations, 100 values to learn from.
    fn default() -> Self {
        Self::new(0.2, 3.5, 100)
    }
}

impl Ewma {
    /// A chart; `lambda` is cut to 0..=1.
    pub fn new(lambda: f64, width: f64, warm_up: u64) -> Self {
        let lambda = lambda.clamp(0.0, 1.0);
        Self { lambda, width, warm_up, base: Baseline::new(warm_up), level: 0.0, forgotten: 1.0 }
    }
}

impl Detector for Ewma {
    fn update(&mut self, value: f64) -> Signal {
        if !value.is_finite() {
            return Signal::Stable;
        }
        if self.base.learns(value) {
            self.level = self.base.mean();
            return Signal::Stable;
        }
        let keep = 1.0 - self.lambda;
        self.level = self.lambda * value + keep * self.level;
        self.forgotten *= keep * keep;
        let share = self.lambda / (2.0 - self.lambda) * (1.0 - self.forgotten);
        let limit = self.width * self.base.deviation() * sqrt(share);
        if (self.level - self.base.mean()).abs() > limit {
            *self = Self::new(self.lambda, self.width, self.warm_up);
            return Signal::Drift;
        }
        Signal::Stable
    }
}
