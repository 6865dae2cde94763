//! The CUSUM control chart.

use crate::detect::baseline::Baseline;
use crate::detect::{Detector, Signal};

/// Two-sided tabular CUSUM in standard deviations: `C = max(0, C + z - k)` (reference 001; Page, Biometrika
/// 1954). Alarms when C exceeds `decision`. Mean and deviation come from the first `warm_up` values; where these are all
/// equal, they come from as many from the first on that differs.
#[derive(Debug, Clone, PartialEq)]
pub struct Cusum {
    slack: f64,
    decision: f64,
    warm_up: u64,
    base: Baseline,
    up: f64,
    down: f64,
}

impl Default for Cusum {
    /// Slack 0.5, decision 8 deviations, 100 values to learn from.
    fn default() -> Self {
        Self::new(0.5, 8.0, 100)
    }
}

impl Cusum {
    /// A chart.
    pub fn new(slack: f64, decision: f64, warm_up: u64) -> Self {
        Self { slack, decision, warm_up, base: Baseline::new(warm_up), up: 0.0, down: 0.0 }
    }
}

impl Detector for Cusum {
    fn update(&mut self, value: f64) -> Signal {
        if !value.is_finite() {
            return Signal::Stable;
        }
        if self.base.learns(value) {
            return Signal::Stable;
        }
        let z = (value - self.base.mean()) / self.base.deviation();
        self.up = (self.up + z - self.slack).max(0.0);
        self.down = (self.down - z - self.slack).max(0.0);
        if self.up > self.decision || self.down > self.decision {
            *self = Self::new(self.slack, self.decision, self.warm_up);
            return Signal::Drift;
        }
        Signal::Stable
    }
}
