//! Books predictions: to the recorder of the build that made them, or nowhere.

use std::sync::{MutexGuard, PoisonError};

use modelfleet_agent_core::interface::{Input, RecordingTarget, Role};
use modelfleet_agent_core::recorder::{Outcome, Prediction, Recorder, row_key};
use modelfleet_agent_core::truth::{Answer, LedgerLimits, TruthLedger};
use modelfleet_protocol::ids::{Digest, ModelName};
use modelfleet_protocol::time::Time;

use super::agreement::{Said, agreements};
use super::{Instance, Model};
use crate::tensor::NamedTensor;

/// A recorder and the build that it observes. Between a switch and the order to observe, predictions of the new
/// build are not counted to the old one.
pub(super) struct Observed {
    digest: Option<Digest>,
    recorder: Recorder,
}

impl Observed {
    /// Nothing is observed yet; so much will be kept of predictions for their ground truth.
    pub(super) fn keeping(truth: LedgerLimits) -> Observed {
        Observed { digest: None, recorder: Recorder::new(truth) }
    }

    /// The same, from what was kept before the agent was restarted.
    pub(super) fn go_on_from(&mut self, model: ModelName, truth: TruthLedger) {
        self.recorder.go_on_from(model, truth);
    }
}

impl Model {
    fn observed(&self, role: Role) -> MutexGuard<'_, Observed> {
        let index = usize::from(role == Role::Shadow);
        self.recorders[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the recorder of a role.
    pub fn with_recorder<T>(&self, role: Role, act: impl FnOnce(&mut Recorder) -> T) -> T {
        act(&mut self.observed(role).recorder)
    }

    /// Tells the recorder what to record. Returns what was counted so far.
    pub fn record_for(&self, now: Time, target: &RecordingTarget) -> Vec<Input> {
        let can_answer = self.can_answer(target.role);
        let mut observed = self.observed(target.role);
        observed.digest = target.build.as_ref().map(|build| build.digest);
        let inputs = observed.recorder.record_for(now, target);
        observed.recorder.available(now, can_answer);
        inputs
    }

    /// Counts every row of a batch as a prediction. Ground truth can be given for each.
    pub(super) fn count_rows(
        &self,
        role: Role,
        instance: &Instance,
        key: u64,
        latency_ns: u64,
        features: &[f32],
        outputs: &[NamedTensor],
    ) {
        let rows = instance.reading.rows(features.len());
        let width = features.len() / rows;
        let mut observed = self.observed(role);
        if observed.digest != Some(instance.build.digest) {
            return;
        }
        for row in 0..rows {
            let (positive, confidence) = instance.reading.decide(outputs, row, rows);
            observed.recorder.record(&Prediction {
                key: row_key(key, row),
                latency_ns,
                outcome: Outcome::Answered,
                confidence,
                positive,
                answer: instance.reading.answer(outputs, row, rows),
                features: &features[row * width..(row + 1) * width],
            });
        }
    }

    /// Counts the rows on which the build in shadow agrees with the build that answers.
    pub(super) fn compare(&self, shadow: &Instance, live: &[Said], said: &[Said]) {
        let mut observed = self.observed(Role::Shadow);
        if observed.digest == Some(shadow.build.digest) {
            agreements(live, said).for_each(|agree| observed.recorder.compared(agree));
        }
    }

    /// Books a request that no build could have answered: apart, and against no build.
    pub fn refused(&self, instance: Option<&Instance>) {
        self.count(Role::Live, instance, (0, 0), Outcome::Refused, &[]);
    }

    /// Books a prediction that the model did not make. `instance`: what should have; none where nothing runs.
    pub(super) fn count(
        &self,
        role: Role,
        instance: Option<&Instance>,
        (key, latency_ns): (u64, u64),
        outcome: Outcome,
        features: &[f32],
    ) {
        // What a filter stops is no alarm; what failed is neither an alarm nor none.
        let positive = (instance.is_some() && outcome == Outcome::Fallback).then_some(false);
        let (confidence, answer) = (None, Answer::None);
        let prediction = Prediction { key, latency_ns, outcome, confidence, positive, answer, features };
        let mut observed = self.observed(role);
        if observed.digest == instance.map(|i| i.build.digest) {
            observed.recorder.record(&prediction);
        }
    }
}
