//! Makes builds answer, or run in shadow: at once if they are loaded, else when their load has ended.

use std::sync::Arc;

use modelfleet_agent_core::build::Build;
use modelfleet_agent_core::interface::{Input, Role};
use modelfleet_protocol::ids::{Digest, ModelName};
use modelfleet_protocol::state::{Failure, FailureCode};
use tokio::time::Instant;
use tracing::{info, warn};

use super::loads::{Ended, Loaded, Purpose};
use super::{Device, DeviceError};
use crate::admit::{AdmitError, Blame, Ready};
use crate::log::chain;
use crate::serve::{Instance, Reading};
use crate::slots;

/// The result of a load, and the memory that the process took meanwhile, bytes.
pub(super) struct Outcome {
    ready: Result<Arc<Ready>, AdmitError>,
    memory_bytes: u64,
}

/// A build that is loaded, and neither answers nor runs in shadow.
pub(super) struct Admitted {
    model: ModelName,
    digest: Digest,
    ready: Arc<Ready>,
}

impl Admitted {
    fn is(&self, model: &ModelName, digest: &Digest) -> bool {
        self.model == *model && self.digest == *digest
    }

    /// Whether it was loaded from these bytes.
    pub fn holds(&self, digest: &Digest) -> bool {
        self.digest == *digest
    }
}

impl Device {
    /// Starts to load and test a build.
    pub(super) fn admit(&mut self, build: Build) {
        match Reading::of(&build) {
            Err(e) => {
                let failure = Failure::new(FailureCode::SignatureMismatch, e.to_string());
                self.gave_up(&Purpose::Admit(build.model.clone()), &build, failure, Blame::Build);
            }
            Ok(_) => self.load(Purpose::Admit(build.model.clone()), build),
        }
    }

    /// Unloads a build that was loaded for a model and does not answer.
    pub(super) fn unload(&mut self, model: &ModelName, digest: &Digest) {
        self.loads.drop_build(&Purpose::Admit(model.clone()), digest);
        self.admitted.retain(|admitted| !admitted.is(model, digest));
    }

    pub(super) fn switch(&mut self, model: ModelName, build: Option<Build>) {
        // Whatever was to answer before is not waited for any more.
        let purpose = Purpose::Switch(model.clone());
        match build {
            Some(build) => self.place_or_load(&model, Role::Live, purpose, build),
            None => {
                self.loads.drop(&purpose);
                self.place(&model, Role::Live, None);
                self.explain_what_is_forbidden();
                self.pending.push_back(Input::Switched { model, digest: None, engine: String::new() });
            }
        }
    }

    pub(super) fn shadow(&mut self, model: ModelName, build: Option<Build>) {
        let purpose = Purpose::Shadow(model.clone());
        match build {
            Some(build) => self.place_or_load(&model, Role::Shadow, purpose, build),
            None => {
                self.loads.drop(&purpose);
                self.place(&model, Role::Shadow, None);
            }
        }
    }

    fn place_or_load(&mut self, model: &ModelName, role: Role, purpose: Purpose, build: Build) {
        if self.loads.is_awaited(&purpose, &build) {
            return;
        }
        self.admitted.retain(|admitted| admitted.ready.session.ended().is_none());
        let same = |i: &Arc<Instance>| i.build.digest == build.digest && i.ready.session.ended().is_none();
        let live = self.models.entry(model).live().filter(same);
        let admitted = self.admitted.iter().find(|admitted| admitted.is(model, &build.digest));
        match (live, admitted) {
            (Some(live), _) => self.put(model, role, &purpose, build, live.ready.clone()),
            (None, Some(admitted)) => self.put(model, role, &purpose, build, admitted.ready.clone()),
            (None, None) => return self.load(purpose, build),
        }
        self.loads.drop(&purpose);
    }

    fn load(&mut self, purpose: Purpose, build: Build) {
        let (loader, path, wanted) = (self.loader.clone(), self.store.blob(&build.digest), build.clone());
        self.loads.begin(purpose, build, move || {
            let before = crate::probe::resident_bytes();
            let ready = loader.ready(&path, &wanted);
            let own_bytes = crate::probe::resident_bytes().saturating_sub(before);
            let elsewhere = ready.as_ref().map_or(0, |ready| ready.session.memory_bytes());
            let memory_bytes = own_bytes.saturating_add(elsewhere);
            Outcome { ready, memory_bytes }
        });
    }

    /// A load has ended.
    pub(super) async fn loaded(&mut self, loaded: Loaded<Outcome>) {
        let Some(Ended { purpose, build, alone }) = self.loads.ended(&loaded) else { return };
        let digest = build.digest;
        match loaded.outcome.map(|outcome| (outcome.ready, outcome.memory_bytes)) {
            Err(panic) => {
                self.gave_up(&purpose, &build, Failure::new(FailureCode::LoadRefused, panic), Blame::Build);
            }
            Ok((Err(error), _)) => self.gave_up(&purpose, &build, error.failure(), error.blame()),
            Ok((Ok(ready), memory_bytes)) => match &purpose {
                Purpose::Admit(model) => {
                    let (model, engine) = (model.clone(), ready.engine.clone());
                    self.admitted.retain(|admitted| !admitted.is(&model, &digest));
                    self.admitted.push(Admitted { model: model.clone(), digest, ready });
                    // What several loads took together says nothing about one of them.
                    let memory_bytes = if alone { memory_bytes } else { 0 };
                    self.pending.push_back(Input::Admitted { model, digest, engine, memory_bytes });
                }
                Purpose::Switch(model) => self.put(&model.clone(), Role::Live, &purpose, build, ready),
                Purpose::Shadow(model) => self.put(&model.clone(), Role::Shadow, &purpose, build, ready),
            },
        }
        self.feed_pending().await;
    }

    /// Gives up loads that take too long.
    ///
    /// # Errors
    /// If one hangs.
    pub(super) async fn look_at_loads(&mut self) -> Result<(), DeviceError> {
        let now = Instant::now();
        for (purpose, build, failure) in self.loads.late(now) {
            self.gave_up(&purpose, &build, failure, Blame::Build);
        }
        self.feed_pending().await;
        self.loads.stuck(now).map_or(Ok(()), |build| Err(DeviceError::Stuck(format!("{build:?}"))))
    }

    /// A build could not be loaded.
    fn gave_up(&mut self, purpose: &Purpose, build: &Build, failure: Failure, blame: Blame) {
        let (device, code, detail) = (&self.name, failure.code, &failure.detail);
        warn!(%device, ?build, ?purpose, ?code, %detail, "the build could not be loaded");
        let digest = build.digest;
        match purpose {
            Purpose::Switch(model) => {
                if blame == Blame::Bytes {
                    self.pending.push_back(Input::SlotLost { digest });
                }
                self.pending.push_back(Input::SwitchFailed { model: model.clone(), digest, failure });
            }
            // The bytes are downloaded again; this says nothing about the build.
            Purpose::Admit(_) if blame == Blame::Bytes => self.pending.push_back(Input::SlotLost { digest }),
            Purpose::Admit(model) | Purpose::Shadow(model) if blame == Blame::Device => {
                self.pending.push_back(Input::Unreadable { model: model.clone(), digest, failure });
            }
            Purpose::Admit(model) | Purpose::Shadow(model) => {
                self.pending.push_back(Input::Refused { model: model.clone(), digest, failure });
            }
        }
    }

    /// Makes a loaded build answer, or run in shadow.
    fn put(&mut self, model: &ModelName, role: Role, purpose: &Purpose, build: Build, ready: Arc<Ready>) {
        let digest = build.digest;
        let reading = match Reading::of(&build) {
            Ok(reading) => reading,
            Err(e) => {
                let failure = Failure::new(FailureCode::SignatureMismatch, e.to_string());
                return self.gave_up(purpose, &build, failure, Blame::Build);
            }
        };
        let engine = ready.engine.clone();
        self.place(model, role, Some(Arc::new(Instance { build, ready, reading })));
        self.admitted.retain(|admitted| !admitted.is(model, &digest));
        let model = model.clone();
        self.pending.push_back(match role {
            Role::Live => Input::Switched { model, digest: Some(digest), engine },
            Role::Shadow => Input::Shadowing { model, digest },
        });
    }

    fn place(&self, name: &ModelName, role: Role, instance: Option<Arc<Instance>>) {
        let digest = instance.as_ref().map(|i| i.build.digest);
        let version = instance.as_ref().map(|i| i.build.version.to_string()).unwrap_or_default();
        let model = self.models.entry(name);
        model.place(role, instance);
        model.with_recorder(role, |recorder| recorder.available(self.clock.now(), digest.is_some()));
        if role == Role::Live {
            info!(device = %self.name, model = %name, %version, "build answers now");
            let linked = slots::activate(self.store.dir(), name, digest.as_ref(), self.store.durable());
            if let Err(error) = linked {
                // The links are for people; the record decides.
                warn!(device = %self.name, error = %chain(&error), "the links to the slots could not be written");
            }
        }
    }
}
