//! Carries out what the core has decided. Whatever cannot be done goes back to it as an input.

use std::sync::Arc;
use std::time::Duration;

use modelfleet_agent_core::build::Build;
use modelfleet_agent_core::words::{Input, Output, Record, Retry, Role};
use modelfleet_protocol::ids::{Digest, ModelName};
use modelfleet_protocol::plan::Fetch;
use modelfleet_protocol::state::{Failure, FailureCode};
use prost::Message as _;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::{Device, DeviceError};
use crate::admit::{AdmitError, Ready};
use crate::fetch::FetchError;
use crate::mqtt::{Item, chain};
use crate::serve::{Instance, Reading};
use crate::slots;
use crate::store::{STATE, windows_record};

/// A download says how far it is at most this often.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// Tries to write the record before the device stops, and the pause between them.
const SAVE_TRIES: u32 = 5;
const SAVE_PAUSE: Duration = Duration::from_millis(200);

impl Device {
    /// Carries out one output.
    pub(super) async fn carry_out(&mut self, output: Output) -> Result<(), DeviceError> {
        match output {
            Output::Save(record) => self.save(record).await?,
            Output::Connect { will } => {
                // The link waits for one will at a time; it is gone only when the device stops.
                let _ = self.wills.try_send(will);
                self.outbox.drop_waiting(&Item::Presence);
            }
            Output::PublishPresence(presence) => {
                self.outbox.put(Item::Presence, serde_json::to_vec(&presence).unwrap_or_default());
            }
            Output::PublishState(state) => {
                self.outbox.put(Item::State, serde_json::to_vec(&state).unwrap_or_default());
            }
            Output::PublishReport { model, report } => {
                self.outbox.put(Item::Report(model), report.encode_to_vec());
            }
            Output::Fetch { build, fetch } => self.start_fetch(build, fetch),
            Output::CancelFetch { digest } => self.cancel_fetch(&digest).await,
            Output::Admit { build } => self.admit(build).await,
            Output::Unload { digest } => self.admitted.retain(|(loaded, _)| *loaded != digest),
            Output::Switch { model, build } => self.switch(model, build).await,
            Output::Shadow { model, build } => self.shadow(&model, build).await,
            Output::Delete { digest } => self.delete(&digest).await,
            Output::Observe(watch) => {
                self.windows_ms.insert((watch.model.clone(), watch.role), watch.window_ms);
                self.pending.extend(self.models.watch(self.clock.now(), &watch));
            }
            Output::Note(text) => info!(device = %self.name, "{text}"),
        }
        Ok(())
    }

    async fn save(&mut self, record: Record) -> Result<(), DeviceError> {
        let (name, payload, vital) = match &record {
            Record::Control => (STATE.to_owned(), self.agent.saved().to_json(), true),
            Record::Windows(model) => (windows_record(model), self.agent.saved_windows(model), false),
        };
        let (store, now) = (self.store.clone(), self.clock.now());
        let mut tries = 0;
        let payload = Arc::new(payload);
        loop {
            let (store, name, payload) = (store.clone(), name.clone(), payload.clone());
            let written = if store.durable() {
                let write = tokio::task::spawn_blocking(move || store.save(&name, now, &payload));
                write.await.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()))
            } else {
                store.save(&name, now, &payload)
            };
            let Err(cause) = written else { return Ok(()) };
            tries += 1;
            error!(device = %self.name, error = %chain(&cause), tries, "the record could not be written");
            if tries >= SAVE_TRIES || !vital {
                // Windows are evidence, not safety; a decision that is not written must not be acted upon.
                return if vital { Err(DeviceError::Save(cause)) } else { Ok(()) };
            }
            tokio::time::sleep(SAVE_PAUSE).await;
        }
    }

    fn start_fetch(&mut self, build: Build, fetch: Fetch) {
        if let Some((digest, task)) = &self.fetch
            && *digest == build.digest
            && !task.is_finished()
        {
            return;
        }
        let (fetcher, jobs, digest, name) =
            (self.fetcher.clone(), self.jobs.clone(), build.digest, self.name.clone());
        let task = tokio::spawn(async move {
            let told = std::sync::Mutex::new(Instant::now());
            let progress = |bytes| {
                let mut told = told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                // A loop that is busy hears of later bytes.
                if told.elapsed() >= PROGRESS_EVERY
                    && jobs.try_send(Input::FetchProgress { digest, bytes }).is_ok()
                {
                    *told = Instant::now();
                }
            };
            let input = match fetcher.fetch(&build, fetch.bytes_per_second, progress).await {
                Ok(_) => Input::Fetched { digest },
                Err(error) => {
                    warn!(device = %name, %digest, error = %chain(&error), "fetch failed");
                    fetch_failed(digest, &error)
                }
            };
            // Without a loop nobody waits for it.
            let _ = jobs.send(input).await;
        });
        if let Some((_, old)) = self.fetch.replace((digest, task)) {
            old.abort();
        }
    }

    async fn cancel_fetch(&mut self, digest: &Digest) {
        if let Some((running, task)) = self.fetch.take_if(|(running, _)| running == digest) {
            task.abort();
            // Only when the task is gone does nobody write to the part.
            let _ = task.await;
            self.fetcher.forget(&running).await;
        } else {
            self.fetcher.forget(digest).await;
        }
    }

    /// Loads a build off the loop's thread.
    async fn load(&self, build: &Build) -> Result<Arc<Ready>, AdmitError> {
        let (loader, path, wanted) = (self.loader.clone(), self.store.blob(&build.digest), build.clone());
        let work = tokio::task::spawn_blocking(move || loader.ready(&path, &wanted));
        work.await.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()))
    }

    async fn admit(&mut self, build: Build) {
        let digest = build.digest;
        let before = crate::probe::resident_bytes();
        let outcome = match Reading::of(&build) {
            Err(e) => Err(Failure::new(FailureCode::SignatureMismatch, e.to_string())),
            Ok(_) => self.load(&build).await.map_err(|e| e.failure()),
        };
        self.pending.push_back(match outcome {
            Ok(ready) => {
                let engine = ready.engine.clone();
                self.admitted.retain(|(loaded, _)| *loaded != digest);
                self.admitted.push((digest, ready));
                let memory_bytes = crate::probe::resident_bytes().saturating_sub(before);
                Input::Admitted { digest, engine, memory_bytes }
            }
            Err(failure) => {
                warn!(device = %self.name, build = ?build, code = ?failure.code, detail = %failure.detail, "refused");
                Input::Refused { digest, failure }
            }
        });
    }

    async fn switch(&mut self, model: ModelName, build: Option<Build>) {
        let Some(build) = build else {
            self.place(&model, Role::Live, None);
            self.pending.push_back(Input::Switched { model, digest: None, engine: String::new() });
            return;
        };
        let digest = build.digest;
        match self.instance(&model, &build).await {
            Ok(instance) => {
                let engine = instance.ready.engine.clone();
                self.place(&model, Role::Live, Some(instance));
                self.admitted.retain(|(loaded, _)| *loaded != digest);
                self.pending.push_back(Input::Switched { model, digest: Some(digest), engine });
            }
            Err((failure, lost)) => {
                warn!(device = %self.name, build = ?build, detail = %failure.detail, "not switched");
                if lost {
                    self.pending.push_back(Input::SlotLost { digest });
                }
                self.pending.push_back(Input::SwitchFailed { model, digest, failure });
            }
        }
    }

    async fn shadow(&mut self, model: &ModelName, build: Option<Build>) {
        let Some(build) = build else { return self.place(model, Role::Shadow, None) };
        match self.instance(model, &build).await {
            Ok(instance) => {
                self.admitted.retain(|(loaded, _)| *loaded != build.digest);
                self.place(model, Role::Shadow, Some(instance));
            }
            Err((failure, _)) => self.pending.push_back(Input::Refused { digest: build.digest, failure }),
        }
    }

    /// The build, loaded: as it answers already, as it was admitted, or from the disk.
    async fn instance(&self, model: &ModelName, build: &Build) -> Result<Arc<Instance>, (Failure, bool)> {
        let live = self.models.entry(model).live().filter(|i| i.build.digest == build.digest);
        let admitted = self.admitted.iter().find(|(digest, _)| *digest == build.digest);
        let ready = match (live, admitted) {
            (Some(live), _) => live.ready.clone(),
            (None, Some((_, ready))) => ready.clone(),
            (None, None) => self.load(build).await.map_err(|e| (e.failure(), e.is_lost()))?,
        };
        let unreadable = |e: crate::serve::ReadingError| {
            (Failure::new(FailureCode::SignatureMismatch, e.to_string()), false)
        };
        let reading = Reading::of(build).map_err(unreadable)?;
        Ok(Arc::new(Instance { build: build.clone(), ready, reading }))
    }

    fn place(&self, name: &ModelName, role: Role, instance: Option<Arc<Instance>>) {
        let digest = instance.as_ref().map(|i| i.build.digest);
        let version = instance.as_ref().map(|i| i.build.version.to_string()).unwrap_or_default();
        let model = self.models.entry(name);
        model.place(role, instance);
        model.with_recorder(role, |recorder| recorder.available(self.clock.now(), digest.is_some()));
        if role == Role::Live {
            info!(device = %self.name, model = %name, %version, "answers now");
            let linked = slots::activate(self.store.dir(), name, digest.as_ref(), self.store.durable());
            if let Err(error) = linked {
                // The record decides, the links only show.
                warn!(device = %self.name, error = %chain(&error), "slot links not written");
            }
        }
    }

    async fn delete(&mut self, digest: &Digest) {
        self.admitted.retain(|(loaded, _)| loaded != digest);
        match tokio::fs::remove_file(self.store.blob(digest)).await {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                warn!(device = %self.name, %digest, error = %e, "bytes could not be deleted");
            }
            _ => {}
        }
    }
}

fn fetch_failed(digest: Digest, error: &FetchError) -> Input {
    let retry = if error.retryable() { Retry::Later } else { Retry::Never };
    Input::FetchFailed { digest, failure: Failure::new(error.code(), chain(error)), retry }
}
