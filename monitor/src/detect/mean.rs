//! Running mean and deviation, and the z-score chart on them.

use crate::detect::{Detector, Signal};
use libm::sqrt;

/// Mean and variance in one pass (Welford, Technometrics 1962; reference 001, "Streaming Statistics").
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Welford {
    count: u64,
    mean: f64,
    squares: f64,
}

impl Welford {
    /// Takes one value; non-finite ones are left out.
    pub fn update(&mut self, value: f64) {
        if !value.is_finite() {
            return;
        }
        self.count += 1;
        let before = value - self.mean;
        self.mean += before / self.count as f64;
        self.squares += before * (value - self.mean);
    }

    /// Values taken.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Mean; 0 of nothing.
    pub const fn mean(&self) -> f64 {
        self.mean
    }

    /// Sample variance (n - 1); 0 of fewer than two values.
    pub fn variance(&self) -> f64 {
        if self.count > 1 { self.squares / (self.count - 1) as f64 } else { 0.0 }
    }

    /// Both streams together (Chan, Golub & LeVeque 1979).
    pub fn merge(&self, other: &Self) -> Self {
        let (a, b) = (self.count as f64, other.count as f64);
        if other.count == 0 {
            return *self;
        }
        let difference = other.mean - self.mean;
        Self {
            count: self.count + other.count,
            mean: self.mean + difference * b / (a + b),
            squares: self.squares + other.squares + difference * difference * a * b / (a + b),
        }
    }
}

/// Alarms on a value further than so many standard deviations from the mean of those before (reference 001,
/// "Z-Score Method", usually 3).
#[derive(Debug, Clone, PartialEq)]
pub struct ZScore {
    past: Welford,
    threshold: f64,
    warm_up: u64,
}

impl Default for ZScore {
    /// Three deviations, after 30 values.
    fn default() -> Self {
        Self::new(3.0, 30)
    }
}

impl ZScore {
    /// `threshold` in standard deviations, silent for the first `warm_up` values.
    pub fn new(threshold: f64, warm_up: u64) -> Self {
        Self { past: Welford::default(), threshold, warm_up }
    }

    /// The value in standard deviations from the mean; 0 while the deviation is 0.
    pub fn score(&self, value: f64) -> f64 {
        let deviation = sqrt(self.past.variance());
        if deviation > 0.0 { (value - self.past.mean()) / deviation } else { 0.0 }
    }
}

impl Detector for ZScore {
    fn update(&mut self, value: f64) -> Signal {
        let far = self.past.count() >= self.warm_up && self.score(value).abs() > self.threshold;
        self.past.update(value);
        if far { Signal::Drift } else { Signal::Stable }
    }
}
