//! The models of one device, by name.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use modelfleet_agent_core::interface::{Input, RecordingTarget};
use modelfleet_protocol::ids::ModelName;
use modelfleet_protocol::time::Time;
use tokio::sync::Notify;

use super::Model;

/// What may keep a device from changing what answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// Its record cannot be written.
    Record,
    /// Files of its settings cannot be read.
    Settings,
}

/// The models of one device.
#[derive(Default)]
pub struct Models {
    remembered: usize,
    by_name: RwLock<BTreeMap<ModelName, Arc<Model>>>,
    alarmed: Arc<Notify>,
    troubles: Mutex<BTreeMap<Trouble, String>>,
}

impl Models {
    /// No models yet; each will remember so many predictions for their ground truth.
    #[must_use]
    pub fn remembering(predictions: usize) -> Models {
        Models { remembered: predictions, ..Models::default() }
    }

    /// The model of this name, if the device has been told of it.
    #[must_use]
    pub fn get(&self, name: &ModelName) -> Option<Arc<Model>> {
        self.by_name.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The model of this name, made on first sight.
    pub fn entry(&self, name: &ModelName) -> Arc<Model> {
        if let Some(model) = self.get(name) {
            return model;
        }
        let mut models = self.by_name.write().unwrap_or_else(PoisonError::into_inner);
        let fresh = || Arc::new(Model::new(name.clone(), self.remembered, self.alarmed.clone()));
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

    /// What keeps the device from changing what answers; told to whoever asks how it is.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let told: Vec<&str> = troubles.values().map(String::as_str).collect();
        (!told.is_empty()).then(|| told.join("; "))
    }

    /// So it is with this from now on; `None`: well.
    pub fn is_in_trouble(&self, with: Trouble, told: Option<String>) {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        match told {
            Some(told) => troubles.insert(with, told),
            None => troubles.remove(&with),
        };
    }

    /// Observes as the agent says. What was seen before comes back.
    pub fn record_for(&self, now: Time, target: &RecordingTarget) -> Vec<Input> {
        self.entry(&target.model).record_for(now, target)
    }
}
