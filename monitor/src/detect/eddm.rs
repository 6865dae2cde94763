//! EDDM: drift detection by the distance between errors.

use crate::detect::{Detector, Signal, Welford};
use libm::sqrt;

/// Compares mean plus two deviations of the distance between errors with its greatest so far: warns below
/// `warning` of it, alarms below `drift` (Baena-Garcia et al., 2006; reference 001). Values are errors, 0 or 1.
/// Alarms about 18 times in 10 000 points of plain noise: not a default.
#[derive(Debug, Clone, PartialEq)]
pub struct Eddm {
    warm_up: u64,
    warning: f64,
    drift: f64,
    count: u64,
    last_error: u64,
    distances: Welford,
    greatest: f64,
}

impl Default for Eddm {
    /// 30 errors, 0.95 and 0.9.
    fn default() -> Self {
        Self::new(30, 0.95, 0.9)
    }
}

impl Eddm {
    /// A detector that is silent for `warm_up` errors.
    pub fn new(warm_up: u64, warning: f64, drift: f64) -> Self {
        Self {
            warm_up,
            warning,
            drift,
            count: 0,
            last_error: 0,
            distances: Welford::default(),
            greatest: -1.0,
        }
    }
}

impl Detector for Eddm {
    fn update(&mut self, value: f64) -> Signal {
        self.count += 1;
        if value != 1.0 {
            return Signal::Stable;
        }
        self.distances.update((self.count - self.last_error) as f64);
        self.last_error = self.count;
        if self.count <= self.warm_up {
            return Signal::Stable;
        }
        let now = self.distances.mean() + 2.0 * sqrt(self.distances.variance());
        if now > self.greatest {
            self.greatest = now;
            return Signal::Stable;
        }
        if self.distances.count() <= self.warm_up {
            return Signal::Stable;
        }
        let level = now / self.greatest;
        if level < self.drift {
            *self = Self::new(self.warm_up, self.warning, self.drift);
            Signal::Drift
        } else if level < self.warning {
            Signal::Warning
        } else {
            Signal::Stable
        }
    }
}
