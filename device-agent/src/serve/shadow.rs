//! The build in shadow: it runs on the same inputs as the one that answers. No caller waits for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use modelfleet_agent_core::interface::Role;
use modelfleet_agent_core::recorder::Outcome;

use crate::engine::RunError;

use super::{Instance, Model, PredictionCall, Said, hangs_after, nanos};

impl Model {
    /// The build in shadow.
    #[must_use]
    pub fn shadow(&self) -> Option<Arc<Instance>> {
        self.shadow.load_full()
    }

    /// Runs the shadow on inputs that were answered. `beside`: what the build that answers said of each row.
    pub fn run_shadow(&self, case: &PredictionCall<'_>, beside: &[Said]) {
        let instance = case.instance;
        let mut scratch = Vec::new();
        let features = instance.reading.features(case.inputs, &mut scratch);
        let stopped = instance.reading.filter(features).is_some();
        let start = Instant::now();
        let outcome = (!stopped).then(|| {
            let within = hangs_after(case.time_limit);
            let outputs = instance.ready.session.run_within(case.inputs, within)?;
            instance.complete(outputs)
        });
        if matches!(outcome, Some(Err(RunError::Ended { .. }))) {
            self.alarmed.notify_one();
        }
        let elapsed = start.elapsed();
        if case.counted.swap(true, Ordering::AcqRel) {
            return;
        }
        let booking = (case.key, nanos(elapsed));
        let outcome = match outcome {
            None => {
                return self.count(Role::Shadow, Some(instance), (case.key, 0), Outcome::Fallback, features);
            }
            Some(Ok(outputs)) if elapsed <= case.time_limit => {
                instance.ready.has_answered();
                self.count_rows(Role::Shadow, instance, case.key, booking.1, features, &outputs);
                return self.compare(instance, beside, &instance.said(case.inputs, &outputs));
            }
            Some(Ok(_)) => Outcome::Timeout,
            Some(Err(error)) if instance.ready.is_callers(&error) => Outcome::Refused,
            Some(Err(_)) => Outcome::Error,
        };
        self.count(Role::Shadow, Some(instance), booking, outcome, features);
    }

    /// Counts a run in shadow that timed out or panicked.
    pub fn shadow_lost(&self, case: &PredictionCall<'_>, outcome: Outcome) {
        if case.counted.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut scratch = Vec::new();
        let features = case.instance.reading.features(case.inputs, &mut scratch);
        let latency_ns = nanos(case.time_limit);
        self.count(Role::Shadow, Some(case.instance), (case.key, latency_ns), outcome, features);
    }
}
