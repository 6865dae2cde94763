//! Predictions. They do not pass through the device's event loop: they use the build that answers now, which is replaced in
//! one atomic step, and are counted by the core's recorder.

mod agreement;
mod counting;
mod models;
mod reading;
mod run_permits;
mod shadow;
mod truth;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use modelfleet_agent_core::build::Build;
use modelfleet_agent_core::interface::Role;
use modelfleet_agent_core::recorder::Outcome;
use modelfleet_protocol::ids::ModelName;
use modelfleet_protocol::model::Fallback;
use tokio::sync::Notify;

use crate::admit::Ready;
use crate::engine::{RunError, bounded};
use crate::tensor::NamedTensor;
pub use agreement::Said;
use counting::Observed;
pub use models::{Keeping, Models, Problem};
pub use reading::{Reading, ReadingError};
pub use run_permits::{RunPermit, RunPermits};
use truth::Journals;

/// A prediction hangs after so many times the time that it may take, and after the time below at the earliest.
const HANGS_TIME_LIMITS: u32 = 4;
const HANGS_LEAST: Duration = Duration::from_secs(1);

/// Why a prediction has no answer.
#[derive(Debug, thiserror::Error)]
pub enum PredictError {
    /// No build answers for this model now.
    #[error("no version of {model} is running now{}", because(why.as_deref()))]
    NotReady {
        /// The model.
        model: ModelName,
        /// Why none may run, if that is known.
        why: Option<Arc<String>>,
    },
    /// The request does not fit the model, or the engine cannot process its values.
    #[error("{model} {version} cannot answer this request")]
    Refused {
        /// The model.
        model: ModelName,
        /// Its version.
        version: String,
        /// What is wrong with it.
        #[source]
        source: RunError,
    },
    /// The model returned an error.
    #[error("{model} {version} failed")]
    Run {
        /// The model.
        model: ModelName,
        /// Its version.
        version: String,
        /// Why it failed.
        #[source]
        source: RunError,
    },
    /// The prediction ended in a panic.
    #[error("the prediction of {model} {version} crashed")]
    Dropped {
        /// The model.
        model: ModelName,
        /// Its version.
        version: String,
    },
    /// It took too long.
    #[error("{model} did not answer within {} ms", after.as_millis())]
    Timeout {
        /// The model.
        model: ModelName,
        /// How long it had.
        after: Duration,
    },
}

/// A build that answers, or runs in shadow.
pub struct Instance {
    /// The build.
    pub build: Build,
    /// The loaded build.
    pub ready: Arc<Ready>,
    /// How its inputs and outputs are read.
    pub reading: Reading,
}

/// One prediction on one build. The build is chosen once: if another one is activated meanwhile, the result still counts for
/// the first one.
#[derive(Clone, Copy)]
pub struct PredictionCall<'a> {
    /// The build.
    pub instance: &'a Instance,
    /// Key of the prediction's id.
    pub key: u64,
    /// The inputs.
    pub inputs: &'a [NamedTensor],
    /// How long it may take.
    pub time_limit: Duration,
    /// Set once the prediction was counted: the caller may give up before the engine ends.
    pub counted: &'a AtomicBool,
}

/// The answer of a prediction.
#[derive(Debug, Default)]
pub struct Answer {
    /// The outputs.
    pub outputs: Vec<NamedTensor>,
    /// Version of the build that answered; empty if none did.
    pub version: String,
    /// The pre-filter that answered instead of the model.
    pub filtered_by: Option<String>,
    /// Whether the fallback answered.
    pub fallback: bool,
}

/// One model of a device: the build that answers, the one in shadow, and what both have counted.
pub struct Model {
    name: ModelName,
    live: ArcSwapOption<Instance>,
    shadow: ArcSwapOption<Instance>,
    recorders: [Mutex<Observed>; 2],
    journals: Journals,
    /// The last build that answered. Its fallback is used while no build answers.
    last: ArcSwapOption<Build>,
    /// Why no build may answer, if none may.
    forbidden: ArcSwapOption<String>,
    /// Notified at once when a prediction fails.
    alarmed: Arc<Notify>,
}

impl Model {
    fn new(name: ModelName, kept: &Keeping, alarmed: Arc<Notify>) -> Model {
        let (live, shadow, last, forbidden) = Default::default();
        let mut observed = [(); 2].map(|()| Observed::keeping(kept.limits));
        let mut journals = Journals::default();
        if let Some(dir) = &kept.dir {
            let (opened, ledgers) = Journals::open(dir, &name, kept.limits);
            journals = opened;
            for (observed, ledger) in observed.iter_mut().zip(ledgers) {
                observed.go_on_from(name.clone(), ledger);
            }
        }
        Model { name, live, shadow, recorders: observed.map(Mutex::new), journals, last, forbidden, alarmed }
    }

    /// The model's name.
    #[must_use]
    pub fn name(&self) -> &ModelName {
        &self.name
    }

    /// The build that answers now.
    #[must_use]
    pub fn live(&self) -> Option<Arc<Instance>> {
        self.live.load_full()
    }

    /// Sets which build should answer and why it may not; `None`: one may. Its fallback is used if no build has answered.
    pub fn set_forbidden(&self, forbidden: Option<&(Build, String)>) {
        let why = forbidden.map(|(_, why)| why);
        if self.forbidden.load().as_deref() != why {
            self.forbidden.store(why.cloned().map(Arc::new));
        }
        if let Some((build, _)) = forbidden.filter(|_| self.last.load().is_none()) {
            self.last.store(Some(Arc::new(build.clone())));
        }
    }

    /// The error while no build answers.
    #[must_use]
    pub fn not_ready(&self) -> PredictError {
        PredictError::NotReady { model: self.name.clone(), why: self.forbidden.load_full() }
    }

    /// Whether a build runs in this role.
    #[must_use]
    pub fn can_answer(&self, role: Role) -> bool {
        match role {
            Role::Live => self.live.load().is_some(),
            Role::Shadow => self.shadow.load().is_some(),
        }
    }

    /// Sets the build that runs in this role.
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

    /// Answers a request, and then runs the build in shadow on the same inputs. Returns when both are done.
    ///
    /// # Errors
    /// When no build answers, it fails, or it took longer than `time_limit`, and there is no fallback.
    pub fn predict(
        &self,
        key: u64,
        inputs: &[NamedTensor],
        time_limit: Duration,
    ) -> Result<Answer, PredictError> {
        let live = self.live.load();
        let Some(instance) = live.as_deref() else { return self.absent(key) };
        let answer = self.answer(&PredictionCall {
            instance,
            key,
            inputs,
            time_limit,
            counted: &AtomicBool::new(false),
        });
        if let Some(shadow) = self.shadow.load().as_deref() {
            let beside = instance.beside(inputs, &answer);
            let counted = &AtomicBool::new(false);
            self.run_shadow(&PredictionCall { instance: shadow, key, inputs, time_limit, counted }, &beside);
        }
        answer
    }

    /// Answers a request with the build of the call.
    ///
    /// # Errors
    /// When the build fails or takes too long, and there is no fallback.
    pub fn answer(&self, case: &PredictionCall<'_>) -> Result<Answer, PredictError> {
        let instance = case.instance;
        let mut scratch = Vec::new();
        let features = instance.reading.features(case.inputs, &mut scratch);
        if let Some(answer) = self.filtered(case, features) {
            return Ok(answer);
        }
        let start = Instant::now();
        let outcome = instance.ready.session.run_within(case.inputs, hangs_after(case.time_limit));
        if matches!(outcome, Err(RunError::Ended { .. })) {
            self.alarmed.notify_one();
        }
        let elapsed = start.elapsed();
        let booking = (case.key, nanos(elapsed));
        if case.counted.swap(true, Ordering::AcqRel) {
            return Err(self.timeout(case));
        }
        let outcome = outcome.and_then(|outputs| instance.complete(outputs));
        let (outcome, error) = match outcome {
            Ok(outputs) if elapsed <= case.time_limit => {
                instance.ready.has_answered();
                self.count_rows(Role::Live, instance, case.key, booking.1, features, &outputs);
                return Ok(Answer { outputs, version: instance.version(), ..Answer::default() });
            }
            Ok(_) => (Outcome::Timeout, self.timeout(case)),
            Err(source) => {
                let (model, version) = (self.name.clone(), instance.version());
                if instance.ready.is_callers(&source) {
                    self.refused(Some(instance));
                    return Err(PredictError::Refused { model, version, source });
                }
                (Outcome::Error, PredictError::Run { model, version, source })
            }
        };
        self.count(Role::Live, Some(instance), booking, outcome, features);
        self.alarmed.notify_one();
        instance.fallback(error)
    }

    /// Counts a prediction as timed out that is still running, or was never started.
    ///
    /// # Errors
    /// When there is no fallback.
    pub fn gave_up(&self, case: &PredictionCall<'_>) -> Result<Answer, PredictError> {
        self.lost(case, Outcome::Timeout, self.timeout(case))
    }

    /// Counts a prediction as failed that panicked.
    ///
    /// # Errors
    /// When there is no fallback.
    pub fn dropped(&self, case: &PredictionCall<'_>) -> Result<Answer, PredictError> {
        let (model, version) = (self.name.clone(), case.instance.version());
        self.lost(case, Outcome::Error, PredictError::Dropped { model, version })
    }

    fn lost(
        &self,
        case: &PredictionCall<'_>,
        outcome: Outcome,
        error: PredictError,
    ) -> Result<Answer, PredictError> {
        let mut scratch = Vec::new();
        let features = case.instance.reading.features(case.inputs, &mut scratch);
        if let Some(answer) = self.filtered(case, features) {
            return Ok(answer);
        }
        if !case.counted.swap(true, Ordering::AcqRel) {
            let booking = (case.key, nanos(case.time_limit));
            self.count(Role::Live, Some(case.instance), booking, outcome, features);
            self.alarmed.notify_one();
        }
        case.instance.fallback(error)
    }

    /// The answer of the filter that stops these features.
    fn filtered(&self, case: &PredictionCall<'_>, features: &[f32]) -> Option<Answer> {
        let instance = case.instance;
        let filtered_by = Some(instance.reading.filter(features)?.to_owned());
        if !case.counted.swap(true, Ordering::AcqRel) {
            self.count(Role::Live, Some(instance), (case.key, 0), Outcome::Fallback, features);
        }
        let outputs = instance.reading.fallback_outputs(&instance.build).unwrap_or_default();
        Some(Answer { outputs, version: instance.version(), filtered_by, fallback: true })
    }

    /// Answers a request while no build does: with the fallback of the last one.
    ///
    /// # Errors
    /// When there is no fallback.
    pub fn absent(&self, key: u64) -> Result<Answer, PredictError> {
        let last = self.last.load();
        let values = match last.as_ref().map(|build| (&build.fallback, &build.decision)) {
            Some((Fallback::Constant(values), Some(decision))) => Some((values, decision.output.clone())),
            _ => None,
        };
        self.count(Role::Live, None, (key, 0), Outcome::Fallback, &[]);
        let (values, name) = values.ok_or_else(|| self.not_ready())?;
        let outputs = last.as_ref().map(|build| vec![reading::constant(build, &name, values)]);
        let outputs = outputs.unwrap_or_default();
        Ok(Answer { outputs, fallback: true, ..Answer::default() })
    }

    fn timeout(&self, case: &PredictionCall<'_>) -> PredictError {
        PredictError::Timeout { model: self.name.clone(), after: case.time_limit }
    }
}

impl Instance {
    fn version(&self) -> String {
        self.build.version.to_string()
    }

    /// The outputs, when all that the build's signature names are there.
    fn complete(&self, outputs: Vec<NamedTensor>) -> Result<Vec<NamedTensor>, RunError> {
        let missing = |name: &String| !outputs.iter().any(|output| &output.name == name);
        let refuse = |name: String| RunError::Output { name, reason: "is missing from the answer".into() };
        match self.build.outputs.iter().map(|expected| &expected.name).find(|name| missing(name)) {
            Some(name) => Err(refuse(name.clone())),
            None if outputs.is_empty() => Err(refuse("any".into())),
            None => {
                let sizes = outputs.iter().map(|output| output.data.bytes());
                bounded(sizes.fold(0, usize::saturating_add)).map(|()| outputs)
            }
        }
    }

    /// What it said of each row that it answered itself.
    #[must_use]
    pub fn beside(&self, inputs: &[NamedTensor], answer: &Result<Answer, PredictError>) -> Vec<Said> {
        let own = answer.as_ref().ok().filter(|answer| !answer.fallback);
        own.map_or_else(Vec::new, |answer| self.said(inputs, &answer.outputs))
    }

    /// The fallback's answer, or the error where there is none.
    fn fallback(&self, error: PredictError) -> Result<Answer, PredictError> {
        let outputs = self.reading.fallback_outputs(&self.build).ok_or(error)?;
        Ok(Answer { outputs, version: self.version(), fallback: true, ..Answer::default() })
    }
}

fn because(why: Option<&String>) -> String {
    why.map_or_else(String::new, |why| format!(": {why}"))
}

/// When a prediction that may take `time_limit` hangs. One that is only slow counts as a timeout, and is not worth the end
/// of the process that runs the model.
fn hangs_after(time_limit: Duration) -> Duration {
    time_limit.saturating_mul(HANGS_TIME_LIMITS).max(HANGS_LEAST)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
