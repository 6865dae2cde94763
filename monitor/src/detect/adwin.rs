//! ADWIN: a window that shrinks when its halves differ.

use crate::detect::{Detector, Signal};
use libm::{log, sqrt};
use std::collections::VecDeque;

/// Sum and variance (times count) of a run of values; its length is the power of two of its row.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bucket {
    sum: f64,
    variance: f64,
}

/// Adaptive windowing (Bifet & Gavalda, SIAM SDM 2007) over an exponential histogram: memory grows with the
/// logarithm of the window. An alarm is false with probability of order `delta` at each check. The default
/// detector: its run length without a change and its delays are in `docs/detectors.md`.
#[derive(Debug, Clone, PartialEq)]
pub struct Adwin {
    delta: f64,
    clock: u64,
    ticks: u64,
    /// Row r holds buckets of 2^r values, oldest first.
    rows: Vec<VecDeque<Bucket>>,
    width: f64,
    sum: f64,
    variance: f64,
}

/// Buckets per row before two are merged.
const MOST_BUCKETS: usize = 5;
/// Shortest part of a cut.
const SHORTEST: f64 = 5.0;
/// No check on fewer values.
const GRACE: f64 = 10.0;

impl Default for Adwin {
    /// delta 0.002, a check every 32 values.
    fn default() -> Self {
        Self::new(0.002, 32)
    }
}

impl Adwin {
    /// `delta` is the confidence, `clock` the number of values between checks (at least 1).
    pub fn new(delta: f64, clock: u64) -> Self {
        let rows = vec![VecDeque::new()];
        Self { delta, clock: clock.max(1), ticks: 0, rows, width: 0.0, sum: 0.0, variance: 0.0 }
    }

    /// Mean of the window; 0 of nothing.
    pub fn mean(&self) -> f64 {
        if self.width > 0.0 { self.sum / self.width } else { 0.0 }
    }

    /// Values in the window.
    pub const fn width(&self) -> u64 {
        self.width as u64
    }

    fn insert(&mut self, value: f64) {
        if self.width > 0.0 {
            let off = value - self.sum / self.width;
            self.variance += self.width * off * off / (self.width + 1.0);
        }
        self.width += 1.0;
        self.sum += value;
        self.rows[0].push_back(Bucket { sum: value, variance: 0.0 });
        self.compress();
    }

    /// Merges the two oldest of every row that is too full into one of the next row.
    fn compress(&mut self) {
        let mut row = 0;
        let mut length = 1.0;
        while self.rows[row].len() > MOST_BUCKETS {
            let (Some(a), Some(b)) = (self.rows[row].pop_front(), self.rows[row].pop_front()) else { return };
            let off = (a.sum - b.sum) / length;
            let merged =
                Bucket { sum: a.sum + b.sum, variance: a.variance + b.variance + off * off * length / 2.0 };
            if row + 1 == self.rows.len() {
                self.rows.push(VecDeque::new());
            }
            self.rows[row + 1].push_back(merged);
            row += 1;
            length *= 2.0;
        }
    }

    /// Drops the oldest bucket.
    fn forget(&mut self) {
        let row = self.rows.len() - 1;
        let length = (1_u64 << row.min(62)) as f64;
        let Some(old) = self.rows[row].pop_front() else { return };
        self.width -= length;
        self.sum -= old.sum;
        if self.width > 0.0 {
            let off = old.sum / length - self.sum / self.width;
            self.variance -= old.variance + length * self.width * off * off / (length + self.width);
        }
        while self.rows.len() > 1 && self.rows.last().is_some_and(VecDeque::is_empty) {
            self.rows.pop();
        }
    }

    /// Is there a cut whose two sides differ by more than chance?
    fn differs(&self) -> bool {
        let (mut old, mut old_sum) = (0.0, 0.0);
        let rows = self.rows.iter().enumerate().rev();
        let buckets =
            rows.flat_map(|(row, list)| list.iter().map(move |b| ((1_u64 << row.min(62)) as f64, b)));
        for (length, bucket) in buckets {
            old += length;
            old_sum += bucket.sum;
            let new = self.width - old;
            if old < SHORTEST || new < SHORTEST {
                continue;
            }
            if self.exceeds(old, new, (old_sum / old - (self.sum - old_sum) / new).abs()) {
                return true;
            }
        }
        false
    }

    fn exceeds(&self, old: f64, new: f64, difference: f64) -> bool {
        let confidence = log(2.0 * log(self.width) / self.delta);
        let inverse = 1.0 / (old - SHORTEST + 1.0) + 1.0 / (new - SHORTEST + 1.0);
        let variance = self.variance / self.width;
        difference > sqrt(2.0 * inverse * variance * confidence) + 2.0 / 3.0 * confidence * inverse
    }
}

impl Detector for Adwin {
    fn update(&mut self, value: f64) -> Signal {
        if !value.is_finite() {
            return Signal::Stable;
        }
        self.insert(value);
        self.ticks += 1;
        if !self.ticks.is_multiple_of(self.clock) || self.width <= GRACE {
            return Signal::Stable;
        }
        let mut found = false;
        while self.width > 0.0 && self.differs() {
            found = true;
            self.forget();
        }
        if found {
            *self = Self::new(self.delta, self.clock);
            return Signal::Drift;
        }
        Signal::Stable
    }
}
