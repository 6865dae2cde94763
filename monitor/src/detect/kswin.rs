//! KSWIN: Kolmogorov-Smirnov between the newest values and a sample of the older ones.

use crate::detect::twister::Twister;
use crate::detect::{Detector, Signal};
use crate::distance::ks_two_sample;
use std::collections::VecDeque;

/// Keeps the last `window` values; compares the newest `part` with as many drawn at random from the others
/// (Raab, Heusinger & Schleif, Neurocomputing 2020). Costs a test per value and alarms on noise about once in 860
/// values with its usual settings (`docs/detectors.md`): not a default.
#[derive(Debug, Clone, PartialEq)]
pub struct Kswin {
    alpha: f64,
    window: usize,
    part: usize,
    seed: u64,
    values: VecDeque<f64>,
    chance: Twister,
}

impl Kswin {
    /// River's settings are alpha 0.005, window 100, part 30. `part` is cut to half the window.
    pub fn new(alpha: f64, window: usize, part: usize, seed: u64) -> Self {
        let window = window.clamp(2, 10_000);
        let part = part.clamp(1, window / 2);
        Self { alpha, window, part, seed, values: VecDeque::new(), chance: Twister::new(seed) }
    }
}

impl Default for Kswin {
    fn default() -> Self {
        Self::new(0.005, 100, 30, 1)
    }
}

impl Detector for Kswin {
    fn update(&mut self, value: f64) -> Signal {
        if !value.is_finite() {
            return Signal::Stable;
        }
        if self.values.len() == self.window {
            self.values.pop_front();
        }
        self.values.push_back(value);
        if self.values.len() < self.window {
            return Signal::Stable;
        }
        let older = self.window - self.part;
        let picked = self.chance.sample(older, self.part);
        let sample: Vec<f64> = picked.iter().filter_map(|&i| self.values.get(i).copied()).collect();
        let newest: Vec<f64> = self.values.iter().skip(older).copied().collect();
        let (distance, p) = ks_two_sample(&sample, &newest);
        if p <= self.alpha && distance > 0.1 {
            *self = Self::new(self.alpha, self.window, self.part, self.seed);
            return Signal::Drift;
        }
        Signal::Stable
    }
}
