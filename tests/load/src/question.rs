//! One prediction of a device. It can be given up while the engine is still running it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use modelfleet_agent::serve::{Instance, Model, PredictionCall};
use modelfleet_agent::tensor::NamedTensor;
use modelfleet_agent_core::interface::Role;
use modelfleet_agent_core::recorder::Outcome;

use crate::drive::Shared;

/// One prediction on one build.
pub(crate) struct Question {
    model: Arc<Model>,
    instance: Arc<Instance>,
    role: Role,
    key: u64,
    inputs: Arc<[NamedTensor]>,
    time_limit: Duration,
    counted: AtomicBool,
}

impl Question {
    /// On the build that answers.
    pub(crate) fn live(
        model: Arc<Model>,
        instance: Arc<Instance>,
        key: u64,
        inputs: Arc<[NamedTensor]>,
        time_limit: Duration,
    ) -> Question {
        Question {
            model,
            instance,
            role: Role::Live,
            key,
            inputs,
            time_limit,
            counted: AtomicBool::new(false),
        }
    }

    /// The same on the build in shadow, if there is one.
    pub(crate) fn in_shadow(&self) -> Option<Question> {
        let instance = self.model.shadow()?;
        let (model, inputs) = (self.model.clone(), self.inputs.clone());
        let Question { key, time_limit, .. } = *self;
        Some(Question {
            model,
            instance,
            role: Role::Shadow,
            key,
            inputs,
            time_limit,
            counted: AtomicBool::new(false),
        })
    }

    fn case(&self) -> PredictionCall<'_> {
        let Question { instance, key, inputs, time_limit, counted, .. } = self;
        PredictionCall { instance, key: *key, inputs, time_limit: *time_limit, counted }
    }

    /// Predicts, which may never end. Returns whether there was an answer. If all permits of the build are taken by
    /// predictions that hang, no further one is started, so that it holds no more threads.
    pub(crate) fn run(&self) -> bool {
        let ready = &self.instance.ready;
        let places = if self.role == Role::Live { &ready.permits } else { &ready.shadow_permits };
        let place = places.try_take();
        if place.is_none() && places.full_for() > self.time_limit {
            return self.give_up();
        }
        match self.role {
            Role::Live => self.model.answer(&self.case()).is_ok(),
            Role::Shadow => {
                self.model.run_shadow(&self.case(), &[]);
                true
            }
        }
    }

    /// Counts it as timed out, unless it was counted before. Returns whether the fallback answers.
    pub(crate) fn give_up(&self) -> bool {
        match self.role {
            Role::Live => self.model.gave_up(&self.case()).is_ok(),
            Role::Shadow => {
                self.model.shadow_lost(&self.case(), Outcome::Timeout);
                true
            }
        }
    }

    /// How long the caller waits.
    pub(crate) fn time_limit(&self) -> Duration {
        self.time_limit
    }

    /// Whether its answer is used.
    pub(crate) fn answers(&self) -> bool {
        self.role == Role::Live
    }

    /// Counts it among the predictions of the fleet.
    pub(crate) fn count(&self, answered: bool, shared: &Shared) {
        if self.answers() {
            shared.predictions.fetch_add(1, Ordering::Relaxed);
            shared.failed.fetch_add(u64::from(!answered), Ordering::Relaxed);
        }
    }
}
