//! Carries out the outputs of the core. What cannot be done goes back to it as an input.

use std::time::Duration;

use modelfleet_agent_core::build::Build;
use modelfleet_agent_core::interface::{Input, Output, Record, Retry};
use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::plan::Fetch;
use modelfleet_protocol::state::Failure;
use prost::Message as _;
use tokio::time::Instant;
use tracing::{info, warn};

use super::Device;
use crate::fetch::FetchError;
use crate::log::chain;
use crate::mqtt::Item;

/// A download reports its progress at most this often.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

impl Device {
    /// Carries out one output.
    pub(super) async fn carry_out(&mut self, output: Output) {
        match output {
            // The control record is written before anything else is carried out.
            Output::Save(Record::Control) => {}
            Output::Save(Record::Windows(model)) => self.save_windows(&model).await,
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
            Output::AskForPlans => self.outbox.ask_for_plans(),
            Output::Fetch { build, fetch } => self.start_fetch(build, fetch),
            Output::PauseFetch { digest } => self.pause_fetch(&digest).await,
            Output::CancelFetch { digest } => {
                self.pause_fetch(&digest).await;
                self.fetcher.forget(&digest).await;
                self.delete(&digest).await;
            }
            Output::Admit { build } => self.admit(build),
            Output::Unload { model, digest } => self.unload(&model, &digest),
            Output::Switch { model, build } => self.switch(model, build),
            Output::Shadow { model, build } => self.shadow(model, build),
            Output::Delete { digest } => self.delete(&digest).await,
            Output::Observe(target) => {
                self.windows_ms.insert((target.model.clone(), target.role), target.window_ms);
                self.pending.extend(self.models.record_for(self.clock.now(), &target));
            }
            Output::Note(text) => info!(device = %self.name, "{text}"),
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
        let room = self.disk_space.clone();
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
            let rate = fetch.bytes_per_second;
            let fetched = async {
                // First the small one: a model whose details cannot be had is not downloaded in vain.
                let details = fetcher.fetch_details(&build, rate).await?;
                fetcher.fetch(&build, rate, progress).await?;
                Ok(details)
            };
            let input = match fetched.await {
                Ok(details) => Input::Fetched { digest, details },
                Err(error) => {
                    room.lacked(&error);
                    warn!(device = %name, %digest, error = %chain(&error), "download failed");
                    fetch_failed(digest, &error)
                }
            };
            // Without a loop nothing waits for it.
            let _ = jobs.send(input).await;
        });
        if let Some((_, old)) = self.fetch.replace((digest, task)) {
            old.abort();
        }
    }

    async fn pause_fetch(&mut self, digest: &Digest) {
        if let Some((_, task)) = self.fetch.take_if(|(running, _)| running == digest) {
            task.abort();
            // Only when the task is gone is the part no longer written to.
            let _ = task.await;
        }
    }

    async fn delete(&mut self, digest: &Digest) {
        self.admitted.retain(|admitted| !admitted.holds(digest));
        match tokio::fs::remove_file(self.store.blob(digest)).await {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                warn!(device = %self.name, %digest, error = %e, "a model file could not be deleted");
            }
            _ => {}
        }
    }
}

fn fetch_failed(digest: Digest, error: &FetchError) -> Input {
    let retry = if error.retryable() { Retry::Later } else { Retry::Never };
    Input::FetchFailed { digest, failure: Failure::new(error.code(), chain(error)), retry }
}
