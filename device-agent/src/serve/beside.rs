//! The shadow: a build that runs on the same inputs beside what answers. Nobody waits for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use modelfleet_agent_core::interface::Role;
use modelfleet_agent_core::recorder::Outcome;

use super::{Case, Instance, Model, nanos};

impl Model {
    /// What runs beside what answers.
    #[must_use]
    pub fn shadow(&self) -> Option<Arc<Instance>> {
        self.shadow.load_full()
    }

    /// Runs the shadow on inputs that were answered.
    pub fn run_beside(&self, case: &Case<'_>) {
        let instance = case.instance;
        let mut scratch = Vec::new();
        let features = instance.reading.features(case.inputs, &mut scratch);
        let stopped = instance.reading.filter(features).is_some();
        let start = Instant::now();
        let outcome = (!stopped).then(|| {
            let outputs = instance.ready.session.run(case.inputs)?;
            instance.complete(outputs)
        });
        let elapsed = start.elapsed();
        if case.booked.swap(true, Ordering::AcqRel) {
            return;
        }
        let booking = (case.key, nanos(elapsed));
        let outcome = match outcome {
            None => {
                return self.count(Role::Shadow, Some(instance), (case.key, 0), Outcome::Fallback, features);
            }
            Some(Ok(outputs)) if elapsed <= case.patience => {
                instance.ready.has_answered();
                return self.count_rows(Role::Shadow, instance, case.key, booking.1, features, &outputs);
            }
            Some(Ok(_)) => Outcome::Timeout,
            Some(Err(error)) if instance.ready.is_callers(&error) => Outcome::Refused,
            Some(Err(_)) => Outcome::Error,
        };
        self.count(Role::Shadow, Some(instance), booking, outcome, features);
    }

    /// Books a run of the shadow that ended without it: out of time, or with a panic.
    pub fn lost_beside(&self, case: &Case<'_>, outcome: Outcome) {
        if case.booked.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut scratch = Vec::new();
        let features = case.instance.reading.features(case.inputs, &mut scratch);
        let latency_ns = nanos(case.patience);
        self.count(Role::Shadow, Some(case.instance), (case.key, latency_ns), outcome, features);
    }
}
