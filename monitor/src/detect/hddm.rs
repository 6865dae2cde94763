//! HDDM-A: drift detection by Hoeffding's bound.

use crate::detect::{Detector, Signal};
use libm::{log, sqrt};

/// A running mean with its count.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Mean {
    count: u64,
    mean: f64,
}

/// Compares the mean up to the best cut with the mean of all, by Hoeffding's inequality (Frias-Blanco et al.,
/// IEEE TKDE 2015, the A-test). Values in 0..=1; alarms when the mean rises.
#[derive(Debug, Clone, PartialEq)]
pub struct HddmA {
    drift: f64,
    warning: f64,
    all: Mean,
    cut: Mean,
}

impl Default for HddmA {
    /// Confidence 0.001 for an alarm, 0.005 for a warning.
    fn default() -> Self {
        Self::new(0.001, 0.005)
    }
}

impl HddmA {
    /// A one-sided detector.
    pub fn new(drift: f64, warning: f64) -> Self {
        Self { drift, warning, all: Mean::default(), cut: Mean::default() }
    }

    fn bound(&self, count: u64) -> f64 {
        sqrt(1.0 / (2.0 * count as f64) * log(1.0 / self.drift))
    }

    fn rose(&self, confidence: f64) -> bool {
        if self.cut.count == self.all.count {
            return false;
        }
        let (n, cut) = (self.all.count as f64, self.cut.count as f64);
        let m = (n - cut) / cut * (1.0 / n);
        self.all.mean - self.cut.mean >= sqrt(m / 2.0 * log(2.0 / confidence))
    }
}

impl Detector for HddmA {
    fn update(&mut self, value: f64) -> Signal {
        if !value.is_finite() {
            return Signal::Stable;
        }
        self.all.count += 1;
        self.all.mean += 1.0 / self.all.count as f64 * (value - self.all.mean);
        if self.cut.count == 0
            || self.cut.mean + self.bound(self.cut.count) >= self.all.mean + self.bound(self.all.count)
        {
            self.cut = self.all;
        }
        if self.rose(self.drift) {
            *self = Self::new(self.drift, self.warning);
            Signal::Drift
        } else if self.rose(self.warning) {
            Signal::Warning
        } else {
            Signal::Stable
        }
    }
}
