//! The Page-Hinkley test.

use crate::detect::{Detector, Signal};

/// Cumulated deviations from the running mean, less a tolerance, against their extreme so far (Page 1954;
/// reference 001 `m_T`, `M_T`; with River's fading factor). Its usual settings are in units of the stream and
/// alarm on noise of standard deviation 1: standardise the stream and calibrate `threshold`.
#[derive(Debug, Clone, PartialEq)]
pub struct PageHinkley {
    warm_up: u64,
    delta: f64,
    threshold: f64,
    fading: f64,
    count: u64,
    mean: f64,
    rise: f64,
    fall: f64,
    least: f64,
    most: f64,
}

impl Default for PageHinkley {
    /// River's: 30 values, delta 0.005, threshold 50, fading 0.9999, both directions.
    fn default() -> Self {
        Self::new(30, 0.005, 50.0, 1.0 - 0.0001)
    }
}

impl PageHinkley {
    /// A two-sided test.
    pub fn new(warm_up: u64, delta: f64, threshold: f64, fading: f64) -> Self {
        Self {
            warm_up,
            delta,
            threshold,
            fading,
            count: 0,
            mean: 0.0,
            rise: 0.0,
            fall: 0.0,
            least: f64::INFINITY,
            most: -1.0,
        }
    }
}

impl Detector for PageHinkley {
    fn update(&mut self, value: f64) -> Signal {
        if !value.is_finite() {
            return Signal::Stable;
        }
        self.count += 1;
        self.mean += 1.0 / self.count as f64 * (value - self.mean);
        let deviation = value - self.mean;
        self.rise = self.fading * self.rise + deviation - self.delta;
        self.fall = self.fading * self.fall + deviation + self.delta;
        self.least = self.least.min(self.rise);
        self.most = self.most.max(self.fall);
        let far = self.rise - self.least > self.threshold || self.most - self.fall > self.threshold;
        if self.count >= self.warm_up && far {
            *self = Self::new(self.warm_up, self.delta, self.threshold, self.fading);
            return Signal::Drift;
        }
        Signal::Stable
    }
}
