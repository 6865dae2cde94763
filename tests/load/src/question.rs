//! One prediction of a played device. Whoever watches can give it up while the engine is still at it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use modelfleet_agent::serve::{Case, Instance, Model};
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
    patience: Duration,
    booked: AtomicBool,
}

impl Question {
    /// Question of the build that answers.
    pub(crate) fn live(
        model: Arc<Model>,
        instance: Arc<Instance>,
        key: u64,
        inputs: Arc<[NamedTensor]>,
        patience: Duration,
    ) -> Question {
        Question { model, instance, role: Role::Live, key, inputs, patience, booked: AtomicBool::new(false) }
    }

    /// The same, asked of the build beside it, if there is one.
    pub(crate) fn beside(&self) -> Option<Question> {
        let instance = self.model.shadow()?;
        let (model, inputs) = (self.model.clone(), self.inputs.clone());
        let Question { key, patience, .. } = *self;
        Some(Question {
            model,
            instance,
            role: Role::Shadow,
            key,
            inputs,
            patience,
            booked: AtomicBool::new(false),
        })
    }

    fn case(&self) -> Case<'_> {
        let Question { instance, key, inputs, patience, booked, .. } = self;
        Case { instance, key: *key, inputs, patience: *patience, booked }
    }

    /// Predicts, which may take for ever; whether there was an answer. A build whose places are all taken by predictions
    /// that do not end is not begun again: it holds that many threads and no more.
    pub(crate) fn run(&self) -> bool {
        let ready = &self.instance.ready;
        let places = if self.role == Role::Live { &ready.places } else { &ready.beside };
        let place = places.try_take();
        if place.is_none() && places.full_for() > self.patience {
            return self.give_up();
        }
        match self.role {
            Role::Live => self.model.answer(&self.case()).is_ok(),
            Role::Shadow => {
                self.model.run_beside(&self.case());
                true
            }
        }
    }

    /// Counts it as out of time, unless it has been counted; whether the fallback answers.
    pub(crate) fn give_up(&self) -> bool {
        match self.role {
            Role::Live => self.model.gave_up(&self.case()).is_ok(),
            Role::Shadow => {
                self.model.lost_beside(&self.case(), Outcome::Timeout);
                true
            }
        }
    }

    /// How long the caller waits.
    pub(crate) fn patience(&self) -> Duration {
        self.patience
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
