//! What a device counts per prediction, on the hot path: no allocation, no clock, no hashing of texts.
//!
//! One recorder stands before each build that runs (one live, one in shadow). The shell calls [`Recorder::record`]
//! with every prediction and [`Recorder::tick`] at every window's end; what comes back goes to the agent.

use std::collections::BTreeMap;

use modelfleet_protocol::generated::Counters;
use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::time::Time;
use modelfleet_protocol::window::WindowSummary;

pub use crate::prediction::{Outcome, Prediction, key};
use crate::shapes::Shapes;
use crate::truth::{Known, Truth};
use crate::words::{Input, Watch};

/// Windows that a tick closes one by one; beyond that the device slept, or its clock was set.
const CATCH_UP_MAX: u64 = 64;
/// Time without a tick that still counts as observed, when windows are shorter.
const GAP_MS: u64 = 120_000;
/// A clock set back by less goes on in the open window, so that no window is counted twice.
const SET_BACK_MS: u64 = 24 * 3_600_000;
/// Closed windows that ground truth is collected for between two ticks.
const LATE_MAX: usize = 256;

/// Records the predictions of one model in one role.
#[derive(Debug)]
pub struct Recorder {
    watch: Option<Watch>,
    subject: Option<(Digest, u64)>,
    shapes: Shapes,
    counters: Counters,
    /// The open window.
    index: u64,
    last_tick: Time,
    available: bool,
    cpu_ppm: u32,
    memory_bytes: u64,
    memory_ppm: u32,
    answered: u64,
    errors: u64,
    told: (u64, u64),
    truth: Truth,
    late: BTreeMap<(Digest, u64, u64), Counters>,
}

impl Default for Recorder {
    fn default() -> Recorder {
        Recorder::new(4096)
    }
}

impl Recorder {
    /// A recorder that remembers this many predictions for their ground truth, 32 bytes each.
    #[must_use]
    pub fn new(predictions_remembered: usize) -> Recorder {
        Recorder {
            watch: None,
            subject: None,
            shapes: Shapes::default(),
            counters: Counters::default(),
            index: 0,
            last_tick: Time::ZERO,
            available: false,
            cpu_ppm: 0,
            memory_bytes: 0,
            memory_ppm: 0,
            answered: 0,
            errors: 0,
            told: (0, 0),
            truth: Truth::new(predictions_remembered),
            late: BTreeMap::new(),
        }
    }

    /// Records for another build or another window length from now on. What was counted so far comes back.
    #[must_use = "inputs are to be fed to the agent"]
    pub fn watch(&mut self, now: Time, watch: &Watch) -> Vec<Input> {
        let subject =
            watch.build.as_ref().filter(|_| watch.window_ms > 0).map(|b| (b.digest, watch.window_ms));
        if subject == self.subject {
            return Vec::new();
        }
        let mut inputs = self.tick(now);
        self.close(&mut inputs);
        self.subject = subject;
        self.watch = subject.map(|_| watch.clone());
        self.answered = 0;
        self.errors = 0;
        self.told = (0, 0);
        let profile = subject.and(watch.build.as_ref()).and_then(|build| build.profile.as_ref());
        self.shapes.follow(profile);
        self.index = now.window_index(watch.window_ms);
        self.last_tick = now;
        inputs
    }

    /// Whether predictions are counted at all: a build runs, and a plan says how long windows are.
    #[must_use]
    pub fn is_watching(&self) -> bool {
        self.subject.is_some()
    }

    /// Says whether the model can answer, from `now` on.
    pub fn available(&mut self, now: Time, available: bool) {
        if let Some((_, window_ms)) = self.subject
            && now.window_index(window_ms) == self.index
        {
            self.account(now);
        }
        self.available = available;
    }

    /// Says what the process uses; the highest of a window counts.
    pub fn resources(&mut self, cpu_ppm: u32, memory_bytes: u64, memory_ppm: u32) {
        self.cpu_ppm = self.cpu_ppm.max(cpu_ppm);
        self.memory_bytes = self.memory_bytes.max(memory_bytes);
        self.memory_ppm = self.memory_ppm.max(memory_ppm);
    }

    /// Counts one prediction.
    pub fn record(&mut self, prediction: &Prediction<'_>) {
        let Some((digest, window_ms)) = self.subject else { return };
        let c = &mut self.counters;
        if prediction.outcome == Outcome::Refused {
            // It says nothing about the model, and its values nothing about the features.
            c.refused += 1;
            return;
        }
        c.requests += 1;
        match prediction.outcome {
            Outcome::Refused => {}
            Outcome::Answered => self.answered += 1,
            Outcome::Error => c.errors += 1,
            Outcome::Timeout => c.timeouts += 1,
            Outcome::Fallback => c.fallback += 1,
        }
        if matches!(prediction.outcome, Outcome::Error | Outcome::Timeout) {
            self.errors += 1;
        }
        if prediction.outcome != Outcome::Fallback {
            self.shapes.record_latency(prediction.latency_ns);
        }
        if let Some(confidence) = prediction.confidence {
            self.shapes.record_confidence(confidence, c);
        }
        self.shapes.record_features(prediction.features, c);
        if let Some(positive) = prediction.positive.filter(|_| prediction.key != 0) {
            let index = self.index;
            self.truth.remember(Known { key: prediction.key, digest, window_ms, index, positive });
        }
    }

    /// Books the truth about the prediction with this key to the window of the prediction; false when the
    /// prediction is not known any more, or its truth was told already.
    pub fn truth(&mut self, key: u64, positive: bool) -> bool {
        let late_full = self.late.len() >= LATE_MAX;
        let Some(known) = self.truth.take(key) else { return false };
        let open = self.subject == Some((known.digest, known.window_ms)) && known.index == self.index;
        let at = (known.digest, known.window_ms, known.index);
        let counters = if open {
            &mut self.counters
        } else if late_full && !self.late.contains_key(&at) {
            return false;
        } else {
            self.late.entry(at).or_default()
        };
        match (known.positive, positive) {
            (true, true) => counters.true_positive += 1,
            (true, false) => counters.false_positive += 1,
            (false, false) => counters.true_negative += 1,
            (false, true) => counters.false_negative += 1,
        }
        true
    }

    /// Closes the windows that have ended, also those without a request, and says how the build does. To be
    /// called at every window's end and at least every minute.
    #[must_use = "inputs are to be fed to the agent"]
    pub fn tick(&mut self, now: Time) -> Vec<Input> {
        let mut inputs = Vec::new();
        if let Some((_, window_ms)) = self.subject {
            self.advance(now, window_ms, &mut inputs);
            self.tell_health(&mut inputs);
        }
        self.last_tick = now;
        self.tell_truth(&mut inputs);
        inputs
    }

    /// As [`Recorder::tick`], and closes the open window, too: the process ends. The rest of the window, after a
    /// restart, is added to it.
    #[must_use = "inputs are to be fed to the agent"]
    pub fn stop(&mut self, now: Time) -> Vec<Input> {
        let mut inputs = self.tick(now);
        self.close(&mut inputs);
        inputs
    }

    fn advance(&mut self, now: Time, window_ms: u64, inputs: &mut Vec<Input>) {
        let current = now.window_index(window_ms);
        let slept = now.since_ms(self.last_tick) > window_ms.saturating_mul(2).max(GAP_MS);
        let behind = Time(self.index.saturating_mul(window_ms)).since_ms(now) > SET_BACK_MS;
        if slept || behind || current > self.index.saturating_add(CATCH_UP_MAX) {
            // Nobody watched meanwhile: what was seen is closed, the time between is not observed.
            if current != self.index {
                self.close(inputs);
                self.index = current;
            }
            self.last_tick = now;
            return;
        }
        while self.index < current {
            let end = Time(self.index.saturating_add(1).saturating_mul(window_ms));
            self.account(end);
            self.close(inputs);
            self.index += 1;
        }
        self.account(now);
    }

    /// Adds the time from the last tick to `until` to the open window.
    fn account(&mut self, until: Time) {
        let passed_ms = until.since_ms(self.last_tick);
        self.counters.observed_ms = self.counters.observed_ms.saturating_add(passed_ms);
        if self.available {
            self.counters.available_ms = self.counters.available_ms.saturating_add(passed_ms);
        }
        self.last_tick = until;
    }

    /// Ends the open window, if anything was observed in it.
    fn close(&mut self, inputs: &mut Vec<Input>) {
        let counters = std::mem::take(&mut self.counters);
        let (latency, confidence, features) = self.shapes.take();
        let window = WindowSummary {
            index: self.index,
            span: 1,
            counters,
            latency,
            confidence,
            features,
            cpu_ppm: std::mem::take(&mut self.cpu_ppm),
            memory_bytes: std::mem::take(&mut self.memory_bytes),
            memory_ppm: std::mem::take(&mut self.memory_ppm),
        };
        let seen = counters.requests > 0 || counters.refused > 0 || counters.observed_ms > 0;
        let (Some(watch), Some((digest, window_ms))) = (&self.watch, self.subject) else { return };
        if seen {
            let (model, window) = (watch.model.clone(), Box::new(window));
            inputs.push(Input::WindowClosed { model, digest, window_ms, window });
        }
    }

    /// Running totals since this build is recorded, when they have changed. Cheap enough to be asked for at
    /// once when errors appear.
    pub fn tell_health(&mut self, inputs: &mut Vec<Input>) {
        let totals = (self.answered, self.errors);
        if let (Some(watch), Some((digest, _))) = (&self.watch, self.subject)
            && totals != self.told
        {
            self.told = totals;
            let (answered, errors) = totals;
            inputs.push(Input::Health { model: watch.model.clone(), digest, answered, errors });
        }
    }

    fn tell_truth(&mut self, inputs: &mut Vec<Input>) {
        let Some(watch) = &self.watch else { return };
        for ((digest, window_ms, index), counters) in std::mem::take(&mut self.late) {
            let model = watch.model.clone();
            inputs.push(Input::TruthArrived { model, digest, window_ms, index, counters });
        }
    }
}
