//! DDM: drift detection by the error rate.

use crate::detect::{Detector, Signal};
use libm::sqrt;

/// Warns at `p + s > p_min + 2 s_min`, alarms at 3 (Gama, Medas, Castillo & Rodrigues, SBIA 2004;
/// reference 001). Values are errors, 0 or 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Ddm {
    warm_up: u64,
    warning: f64,
    drift: f64,
    count: u64,
    rate: f64,
    least: Option<(f64, f64)>,
}

impl Default for Ddm {
    /// 30 values, 2 and 3 deviations.
    fn default() -> Self {
        Self::new(30, 2.0, 3.0)
    }
}

impl Ddm {
    /// A detector that is silent for `warm_up` values.
    pub fn new(warm_up: u64, warning: f64, drift: f64) -> Self {
        Self { warm_up, warning, drift, count: 0, rate: 0.0, least: None }
    }
}

impl Detector for Ddm {
    fn update(&mut self, value: f64) -> Signal {
        if !value.is_finite() {
            return Signal::Stable;
        }
        self.count += 1;
        self.rate += 1.0 / self.count as f64 * (value - self.rate);
        let deviation = sqrt((self.rate * (1.0 - self.rate)).max(0.0) / self.count as f64);
        if self.count <= self.warm_up {
            return Signal::Stable;
        }
        let now = self.rate + deviation;
        let (rate, spread) = match self.least {
            Some((rate, spread)) if now > rate + spread => (rate, spread),
            _ => (self.rate, deviation),
        };
        self.least = Some((rate, spread));
        if now > rate + self.drift * spread {
            *self = Self::new(self.warm_up, self.warning, self.drift);
            Signal::Drift
        } else if now > rate + self.warning * spread {
            Signal::Warning
        } else {
            Signal::Stable
        }
    }
}
