//! Predictions. They never go through the device's loop: they run against the build that answers now, which is
//! swapped in one atomic step, and are counted by the core's recorder.

mod models;
mod reading;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use modelfleet_agent_core::build::Build;
use modelfleet_agent_core::recorder::{Outcome, Prediction, Recorder};
use modelfleet_agent_core::words::{Input, Role, Watch};
use modelfleet_protocol::ids::{Digest, ModelName};
use modelfleet_protocol::model::Fallback;
use modelfleet_protocol::time::Time;
use tokio::sync::Notify;

use crate::admit::Ready;
use crate::engine::RunError;
use crate::tensor::{Elements, NamedTensor};
pub use models::Models;
pub use reading::{Reading, ReadingError};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum PredictError {
    /// No build answers for this model now.
    #[error("no build of {0} answers now")]
    NotReady(ModelName),
    /// The model failed.
    #[error("predict with {model} {version}")]
    Run {
        /// The model.
        model: ModelName,
        /// Its version.
        version: String,
        /// Why it failed.
        #[source]
        source: RunError,
    },
    /// It took too long.
    #[error("{model} did not answer in {} ms", after.as_millis())]
    Timeout {
        /// The model.
        model: ModelName,
        /// How long it had.
        after: Duration,
    },
}

/// A build that answers, or runs beside.
pub struct Instance {
    /// The build.
    pub build: Build,
    /// What runs it.
    pub ready: Arc<Ready>,
    /// How its inputs and outputs are read.
    pub reading: Reading,
}

/// What a prediction gave.
#[derive(Debug, Default)]
pub struct Answer {
    /// The outputs.
    pub outputs: Vec<NamedTensor>,
    /// Version of the build that answered; empty where none did.
    pub version: String,
    /// The pre-filter that answered instead of the model.
    pub filtered_by: Option<String>,
    /// Whether the fallback answered.
    pub fallback: bool,
}

/// One model of a device: what answers, what runs beside it, and what both have done.
pub struct Model {
    name: ModelName,
    live: ArcSwapOption<Instance>,
    shadow: ArcSwapOption<Instance>,
    recorders: [Mutex<Observed>; 2],
    /// The last build that answered: its fallback goes on when nothing may.
    last: ArcSwapOption<Build>,
    /// Errors are told at once.
    alarmed: Arc<Notify>,
}

/// A recorder and the build that it observes. Between a switch and the order to observe, predictions of the new
/// build are not booked to the old one.
struct Observed {
    digest: Option<Digest>,
    recorder: Recorder,
}

impl Model {
    fn new(name: ModelName, remembered: usize, alarmed: Arc<Notify>) -> Model {
        let (live, shadow, last) = Default::default();
        let recorders =
            [(); 2].map(|()| Mutex::new(Observed { digest: None, recorder: Recorder::new(remembered) }));
        Model { name, live, shadow, recorders, last, alarmed }
    }

    /// The model's name.
    #[must_use]
    pub fn name(&self) -> &ModelName {
        &self.name
    }

    /// What answers now.
    #[must_use]
    pub fn live(&self) -> Option<Arc<Instance>> {
        self.live.load_full()
    }

    /// Makes an instance answer, or run beside.
    pub fn place(&self, role: Role, instance: Option<Arc<Instance>>) {
        match role {
            Role::Live => {
                if let Some(instance) = &instance {
                    self.last.store(Some(Arc::new(instance.build.clone())));
                }
                self.live.store(instance);
            }
            Role::Shadow => self.shadow.store(instance),
        }
    }

    fn observed(&self, role: Role) -> MutexGuard<'_, Observed> {
        let index = usize::from(role == Role::Shadow);
        self.recorders[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the recorder of a role.
    pub fn with_recorder<T>(&self, role: Role, act: impl FnOnce(&mut Recorder) -> T) -> T {
        act(&mut self.observed(role).recorder)
    }

    /// Observes as the agent says. What was seen before comes back.
    pub fn watch(&self, now: Time, watch: &Watch) -> Vec<Input> {
        let can_answer = self.can_answer(watch.role);
        let mut observed = self.observed(watch.role);
        observed.digest = watch.build.as_ref().map(|build| build.digest);
        let inputs = observed.recorder.watch(now, watch);
        observed.recorder.available(now, can_answer);
        inputs
    }

    /// Answers a request, and then lets the shadow run on the same inputs.
    ///
    /// # Errors
    /// When no build answers, it fails, or it took longer than `patience`, and there is no fallback.
    pub fn predict(
        &self,
        key: u64,
        inputs: &[NamedTensor],
        patience: Duration,
    ) -> Result<Answer, PredictError> {
        let answer = self.answer(key, inputs, patience, &AtomicBool::new(false));
        self.shadow_too(key, inputs, patience);
        answer
    }

    /// Answers a request. `counted` is set by whoever counts it: the caller may give up before the engine
    /// does, see [`Model::gave_up`].
    ///
    /// # Errors
    /// As [`Model::predict`].
    pub fn answer(
        &self,
        key: u64,
        inputs: &[NamedTensor],
        patience: Duration,
        counted: &AtomicBool,
    ) -> Result<Answer, PredictError> {
        let live = self.live.load();
        let Some(instance) = live.as_ref() else { return self.absent(key) };
        let mut scratch = Vec::new();
        let features = instance.reading.features(inputs, &mut scratch);
        let version = || instance.build.version.to_string();
        if let Some(filter) = instance.reading.filter(features) {
            let filtered_by = Some(filter.to_owned());
            self.count(Role::Live, Some(instance), key, 0, Outcome::Fallback, features, Some(false));
            let outputs = instance.reading.fallback_outputs(&instance.build).unwrap_or_default();
            return Ok(Answer { outputs, version: version(), filtered_by, fallback: true });
        }
        let start = Instant::now();
        let outcome = instance.ready.session.run(inputs);
        let elapsed = start.elapsed();
        let latency_ns = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        if counted.swap(true, Ordering::AcqRel) {
            return Err(PredictError::Timeout { model: self.name.clone(), after: patience });
        }
        let error = match outcome {
            Ok(outputs) if elapsed <= patience => {
                self.count_rows(Role::Live, instance, key, latency_ns, features, &outputs);
                return Ok(Answer { outputs, version: version(), ..Answer::default() });
            }
            Ok(_) => {
                self.count(Role::Live, Some(instance), key, latency_ns, Outcome::Timeout, features, None);
                PredictError::Timeout { model: self.name.clone(), after: patience }
            }
            Err(source) => {
                self.count(Role::Live, Some(instance), key, latency_ns, Outcome::Error, features, None);
                PredictError::Run { model: self.name.clone(), version: version(), source }
            }
        };
        self.alarmed.notify_one();
        match instance.reading.fallback_outputs(&instance.build) {
            Some(outputs) => Ok(Answer { outputs, version: version(), fallback: true, ..Answer::default() }),
            None => Err(error),
        }
    }

    /// Counts a request as out of time whose engine is still at it, and answers with the fallback if there is
    /// one.
    ///
    /// # Errors
    /// When there is no fallback.
    pub fn gave_up(
        &self,
        key: u64,
        patience: Duration,
        counted: &AtomicBool,
    ) -> Result<Answer, PredictError> {
        let live = self.live.load();
        if !counted.swap(true, Ordering::AcqRel) {
            let latency_ns = u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX);
            self.count(Role::Live, live.as_deref(), key, latency_ns, Outcome::Timeout, &[], None);
            self.alarmed.notify_one();
        }
        let outputs = live.as_ref().and_then(|i| i.reading.fallback_outputs(&i.build));
        let outputs =
            outputs.ok_or_else(|| PredictError::Timeout { model: self.name.clone(), after: patience })?;
        Ok(Answer { outputs, fallback: true, ..Answer::default() })
    }

    /// Lets the shadow, if there is one, run on inputs that were answered.
    pub fn shadow_too(&self, key: u64, inputs: &[NamedTensor], patience: Duration) {
        let shadow = self.shadow.load();
        let Some(instance) = shadow.as_ref() else { return };
        let mut scratch = Vec::new();
        let features = instance.reading.features(inputs, &mut scratch);
        if instance.reading.filter(features).is_some() {
            return self.count(
                Role::Shadow,
                Some(instance),
                key,
                0,
                Outcome::Fallback,
                features,
                Some(false),
            );
        }
        let start = Instant::now();
        let outcome = instance.ready.session.run(inputs);
        let elapsed = start.elapsed();
        let latency_ns = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        match outcome {
            Ok(outputs) if elapsed <= patience => {
                self.count_rows(Role::Shadow, instance, key, latency_ns, features, &outputs);
            }
            Ok(_) => {
                self.count(Role::Shadow, Some(instance), key, latency_ns, Outcome::Timeout, features, None)
            }
            Err(_) => {
                self.count(Role::Shadow, Some(instance), key, latency_ns, Outcome::Error, features, None)
            }
        }
    }

    /// Whether something runs beside what answers.
    #[must_use]
    pub fn has_shadow(&self) -> bool {
        self.shadow.load().is_some()
    }

    /// Books the truth about a prediction; false when it is not known (any more).
    #[must_use]
    pub fn truth(&self, key: u64, positive: bool) -> bool {
        let live = self.observed(Role::Live).recorder.truth(key, positive);
        if self.has_shadow() {
            self.observed(Role::Shadow).recorder.truth(key, positive);
        }
        live
    }

    fn absent(&self, key: u64) -> Result<Answer, PredictError> {
        let last = self.last.load();
        let values = match last.as_ref().map(|build| (&build.fallback, &build.decision)) {
            Some((Fallback::Constant(values), Some(decision))) => Some((values, decision.output.clone())),
            _ => None,
        };
        self.count(Role::Live, None, key, 0, Outcome::Fallback, &[], None);
        let (values, name) = values.ok_or_else(|| PredictError::NotReady(self.name.clone()))?;
        let data = Elements::F64(values.clone());
        let outputs = vec![NamedTensor { name, shape: vec![values.len()], data }];
        Ok(Answer { outputs, fallback: true, ..Answer::default() })
    }

    /// Every row of a batch is a prediction; the truth can be told about the first.
    fn count_rows(
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
                key: if row == 0 { key } else { 0 },
                latency_ns,
                outcome: Outcome::Answered,
                confidence,
                positive,
                features: &features[row * width..(row + 1) * width],
            });
        }
    }

    #[allow(clippy::too_many_arguments)] // The fields of a prediction, in their order.
    fn count(
        &self,
        role: Role,
        instance: Option<&Instance>,
        key: u64,
        latency_ns: u64,
        outcome: Outcome,
        features: &[f32],
        positive: Option<bool>,
    ) {
        let prediction = Prediction { key, latency_ns, outcome, confidence: None, positive, features };
        let mut observed = self.observed(role);
        if observed.digest == instance.map(|i| i.build.digest) {
            observed.recorder.record(&prediction);
        }
    }
}

impl Model {
    /// Whether something answers (or runs beside) in this role.
    #[must_use]
    pub fn can_answer(&self, role: Role) -> bool {
        match role {
            Role::Live => self.live.load().is_some(),
            Role::Shadow => self.has_shadow(),
        }
    }
}
