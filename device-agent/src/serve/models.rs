//! The models of one device, by name.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use modelfleet_agent_core::interface::{Input, RecordingTarget};
use modelfleet_agent_core::truth::LedgerLimits;
use modelfleet_protocol::ids::ModelName;
use modelfleet_protocol::time::Time;
use tokio::sync::Notify;

use super::Model;
use crate::clock::Clock;

/// What keeps a device from installing models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Problem {
    /// The control record cannot be written.
    Record,
    /// Files of the settings cannot be read.
    Settings,
    /// The clock says that all plans have expired.
    Clock,
    /// The clock says that the trust document has expired.
    Trust,
}

/// What is kept of predictions for their ground truth.
#[derive(Clone, Debug, Default)]
pub struct Keeping {
    /// How much of each model.
    pub limits: LedgerLimits,
    /// In which folder; `None`: in memory alone.
    pub dir: Option<PathBuf>,
}

/// The models of one device.
#[derive(Default)]
pub struct Models {
    kept: Keeping,
    clock: OnceLock<Arc<Clock>>,
    by_name: RwLock<BTreeMap<ModelName, Arc<Model>>>,
    alarmed: Arc<Notify>,
    problems: Mutex<BTreeMap<Problem, String>>,
}

impl Models {
    /// No models yet; of the predictions of each so much will be kept for their ground truth.
    #[must_use]
    pub fn keeping(kept: Keeping) -> Models {
        Models { kept, ..Models::default() }
    }

    /// Goes by this clock from now on.
    pub fn follow(&self, clock: Arc<Clock>) {
        // The device has one clock as long as it runs.
        let _ = self.clock.set(clock);
    }

    /// The time by the device's clock.
    #[must_use]
    pub fn now(&self) -> Time {
        self.clock.get().map_or(Time::ZERO, |clock| clock.now())
    }

    /// The model of this name, if the device has it.
    #[must_use]
    pub fn get(&self, name: &ModelName) -> Option<Arc<Model>> {
        self.by_name.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The model of this name, created if it is new.
    pub fn entry(&self, name: &ModelName) -> Arc<Model> {
        if let Some(model) = self.get(name) {
            return model;
        }
        let mut models = self.by_name.write().unwrap_or_else(PoisonError::into_inner);
        let fresh = || Arc::new(Model::new(name.clone(), &self.kept, self.alarmed.clone()));
        models.entry(name.clone()).or_insert_with(fresh).clone()
    }

    /// All models.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Model>> {
        self.by_name.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Waits for a prediction that failed.
    pub async fn alarmed(&self) {
        self.alarmed.notified().await;
    }

    /// What keeps the device from installing models, for the health check.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        let told: Vec<&str> = problems.values().map(String::as_str).collect();
        (!told.is_empty()).then(|| told.join("; "))
    }

    /// Sets a problem; `None`: it is solved.
    pub fn set_problem(&self, with: Problem, told: Option<String>) {
        let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        match told {
            Some(told) => problems.insert(with, told),
            None => problems.remove(&with),
        };
    }

    /// Tells the recorder of a model what to record. Returns what was counted so far.
    pub fn record_for(&self, now: Time, target: &RecordingTarget) -> Vec<Input> {
        self.entry(&target.model).record_for(now, target)
    }
}
