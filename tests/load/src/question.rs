//! One prediction of a played device. Whoever watches can give it up while the engine is still at it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use modelfleet_agent::serve::{Instance, Model, PredictionCall};
use modelfleet_agent::tensor::NamedTensor;
use modelfleet_agent_core::interface::Role;
use modelfleet_agent_core::recorder::Outcome;

use crate::drive::Shared;

/// What is asked of one build.
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
    /// Question of the build that answers.
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

    /// The same, asked of the build beside it, if there is one.
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

    /// Predicts, which may take for ever; whether there was an answer. A build whose places are all taken by predictions
    /// that do not end is not begun again: it holds that many threads and no more.
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
                self.model.run_shadow(&self.case());
                true
            }
        }
    }

    /// Counts it as out of time, unless it has been counted; whether the fallback answers.
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

    /// Whether somebody waits for the answer.
    pub(crate) fn answers(&self) -> bool {
        self.role == Role::Live
    }

    /// Counted once among the predictions of the fleet, by whoever is first to know how it ended.
    pub(crate) fn count(&self, answered: bool, shared: &Shared) {
        if self.answers() {
            shared.predictions.fetch_add(1, Ordering::Relaxed);
            shared.failed.fetch_add(u64::from(!answered), Ordering::Relaxed);
        }
    }
}
