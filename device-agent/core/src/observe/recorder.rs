//! What a device counts per prediction, on the hot path: no allocation, no clock, no hashing of texts.
//!
//! Each build that runs has one recorder (one live, one in shadow). The shell calls [`Recorder::record`]
//! with every prediction and [`Recorder::tick`] at the end of every window, and feeds the inputs that it returns to the agent.

use modelfleet_protocol::generated::Counters;
use modelfleet_protocol::ids::{Digest, ModelName};
use modelfleet_protocol::model::PositiveWhen;
use modelfleet_protocol::time::Time;
use modelfleet_protocol::window::WindowSummary;

use super::histograms::Histograms;
pub use super::prediction::{Outcome, Prediction, key, row_key};
use crate::interface::{Input, RecordingTarget};
use crate::truth::{AlarmRule, AnsweringBuild, Booking, LedgerLimits, Told, TruthLedger};

/// Windows that a tick closes one by one. If more have passed, the device slept, or its clock was set.
const CATCH_UP_MAX: u64 = 64;
/// Time without a tick that still counts as observed, if windows are shorter.
const GAP_MS: u64 = 120_000;
/// If the clock is set back by less, the open window goes on, so that no window is counted twice.
const SET_BACK_MS: u64 = 24 * 3_600_000;

/// Records the predictions of one model in one role.
#[derive(Debug, Default)]
pub struct Recorder {
    model: Option<ModelName>,
    target: Option<RecordingTarget>,
    /// The build, and the length of its windows.
    recorded: Option<(Digest, u64)>,
    histograms: Histograms,
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
    reported: (u64, u64),
    truth: TruthLedger,
}

impl Recorder {
    /// A recorder that keeps so much of its predictions for their ground truth.
    #[must_use]
    pub fn new(truth: LedgerLimits) -> Recorder {
        Recorder { truth: TruthLedger::new(truth), ..Recorder::default() }
    }

    /// Goes on from a ledger that was kept, for this model.
    pub fn go_on_from(&mut self, model: ModelName, truth: TruthLedger) {
        self.model = Some(model);
        self.truth = truth;
    }

    /// What is kept for ground truth.
    #[must_use]
    pub fn ledger(&self) -> &TruthLedger {
        &self.truth
    }

    /// The same, to be written.
    pub fn ledger_mut(&mut self) -> &mut TruthLedger {
        &mut self.truth
    }

    /// A row was answered in shadow as well: whether both builds agree.
    pub fn compared(&mut self, agree: bool) {
        if self.recorded.is_some() {
            self.counters.compared += 1;
            self.counters.agreed += u64::from(agree);
        }
    }

    /// Books ground truth to the windows of the predictions it is about, and says what became of each line.
    pub fn book(&mut self, now: Time, lines: &[Told]) -> Vec<Booking> {
        self.truth.book(now, lines)
    }

    /// Records another build or another window length from now on. Returns what was counted so far.
    #[must_use = "inputs are to be fed to the agent"]
    pub fn record_for(&mut self, now: Time, target: &RecordingTarget) -> Vec<Input> {
        let recorded =
            target.build.as_ref().filter(|_| target.window_ms > 0).map(|b| (b.digest, target.window_ms));
        if recorded == self.recorded {
            return Vec::new();
        }
        let mut inputs = self.tick(now);
        self.close(&mut inputs);
        self.report_truth(None, &mut inputs);
        self.recorded = recorded;
        self.target = recorded.map(|_| target.clone());
        self.model = Some(target.model.clone());
        if let (Some(build), Some((digest, window_ms))) = (&target.build, recorded) {
            let rule = match build.decision.as_ref().map(|decision| decision.positive_when) {
                None => AlarmRule::None,
                Some(PositiveWhen::Label(label)) => AlarmRule::Label(label),
                Some(PositiveWhen::AtLeast(least)) => AlarmRule::AtLeast(least),
                Some(PositiveWhen::AtMost(most)) => AlarmRule::AtMost(most),
            };
            self.truth.answered_by(AnsweringBuild { digest, window_ms, rule });
        }
        self.answered = 0;
        self.errors = 0;
        self.reported = (0, 0);
        let profile = recorded.and(target.build.as_ref()).and_then(|build| build.profile.as_ref());
        self.histograms.use_profile(profile);
        self.index = now.window_index(target.window_ms);
        self.last_tick = now;
        inputs
    }

    /// Whether predictions are counted: a build runs, and a plan says how long windows are.
    #[must_use]
    pub fn is_recording(&self) -> bool {
        self.recorded.is_some()
    }

    /// Sets whether the model can answer, from `now` on.
    pub fn available(&mut self, now: Time, available: bool) {
        if let Some((_, window_ms)) = self.recorded
            && now.window_index(window_ms) == self.index
        {
            self.account(now);
        }
        self.available = available;
    }

    /// Sets what the process uses; the highest value of a window counts.
    pub fn resources(&mut self, cpu_ppm: u32, memory_bytes: u64, memory_ppm: u32) {
        self.cpu_ppm = self.cpu_ppm.max(cpu_ppm);
        self.memory_bytes = self.memory_bytes.max(memory_bytes);
        self.memory_ppm = self.memory_ppm.max(memory_ppm);
    }

    /// Counts one prediction.
    pub fn record(&mut self, prediction: &Prediction<'_>) {
        if self.recorded.is_none() {
            return;
        }
        let c = &mut self.counters;
        if prediction.outcome == Outcome::Refused {
            // The caller's fault: it says nothing about the model or the features.
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
            self.histograms.record_latency(prediction.latency_ns);
        }
        if let Some(confidence) = prediction.confidence {
            self.histograms.record_confidence(confidence, c);
        }
        self.histograms.record_features(prediction.features, c);
        self.truth.remember(prediction.key, self.index, prediction.positive, prediction.answer);
    }

    /// Closes the windows that have ended, also those without a request, and reports the build's running totals. To be
    /// called at the end of every window and at least every minute.
    #[must_use = "inputs are to be fed to the agent"]
    pub fn tick(&mut self, now: Time) -> Vec<Input> {
        let mut inputs = Vec::new();
        if let Some((_, window_ms)) = self.recorded {
            self.advance(now, window_ms, &mut inputs);
            self.report_health(&mut inputs);
        }
        self.last_tick = now;
        let open = self.recorded.map(|(digest, window_ms)| (digest, window_ms, self.index));
        self.report_truth(open, &mut inputs);
        inputs
    }

    /// Like [`Recorder::tick`], and also closes the open window, because the process ends. The rest of the window, after a
    /// restart, is added to it.
    #[must_use = "inputs are to be fed to the agent"]
    pub fn stop(&mut self, now: Time) -> Vec<Input> {
        let mut inputs = self.tick(now);
        self.close(&mut inputs);
        self.report_truth(None, &mut inputs);
        inputs
    }

    fn advance(&mut self, now: Time, window_ms: u64, inputs: &mut Vec<Input>) {
        let current = now.window_index(window_ms);
        let slept = now.since_ms(self.last_tick) > window_ms.saturating_mul(2).max(GAP_MS);
        let behind = Time(self.index.saturating_mul(window_ms)).since_ms(now) > SET_BACK_MS;
        if slept || behind || current > self.index.saturating_add(CATCH_UP_MAX) {
            // The time in between was not observed: the open window is closed as it is.
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
        let (latency, confidence, features) = self.histograms.take();
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
        let (Some(target), Some((digest, window_ms))) = (&self.target, self.recorded) else { return };
        if seen {
            let (model, window) = (target.model.clone(), Box::new(window));
            inputs.push(Input::WindowClosed { model, digest, window_ms, window });
            self.truth.closed(digest, window_ms, self.index);
        }
    }

    /// Running totals since the recorder records this build, if they have changed. Cheap enough to be called on every error.
    pub fn report_health(&mut self, inputs: &mut Vec<Input>) {
        let totals = (self.answered, self.errors);
        if let (Some(target), Some((digest, _))) = (&self.target, self.recorded)
            && totals != self.reported
        {
            self.reported = totals;
            let (answered, errors) = totals;
            inputs.push(Input::Health { model: target.model.clone(), digest, answered, errors });
        }
    }

    fn report_truth(&mut self, open: Option<(Digest, u64, u64)>, inputs: &mut Vec<Input>) {
        let Some(model) = &self.model else { return };
        for (build, index, counters) in self.truth.take_changed(open) {
            let AnsweringBuild { digest, window_ms, .. } = build;
            inputs.push(Input::TruthArrived { model: model.clone(), digest, window_ms, index, counters });
        }
    }
}
