//! Writes the records. If the disk cannot be written, everything that runs goes on; the core starts nothing new and tries
//! again.

use std::time::Duration;

use modelfleet_agent_core::interface::Input;
use modelfleet_protocol::ids::ModelName;
use tokio::time::Instant;
use tracing::{error, info};

use super::Device;
use crate::log::chain;
use crate::serve::Problem;
use crate::store::{STATE, StoreError, windows_record};

/// A disk that cannot be written is logged at most this often.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// Whether the records can be written.
#[derive(Default)]
pub(super) struct RecordWrites {
    /// The control record could not be written the last time.
    failing: bool,
    told: Option<Instant>,
}

impl Device {
    /// Writes the control record. Returns false if that failed; the core gets the input next.
    pub(super) async fn save_control(&mut self) -> bool {
        let saved = self.agent.saved();
        self.clock.learn(&saved);
        let payload = saved.to_json();
        let cause = match self.write(STATE.to_owned(), payload).await {
            Ok(()) if self.record_writes.failing => {
                info!(device = %self.name, "the record can be written again");
                self.record_writes = RecordWrites::default();
                self.models.set_problem(Problem::Record, None);
                self.pending.push_front(Input::Saved);
                return true;
            }
            Ok(()) => return true,
            Err(cause) => cause,
        };
        self.record_writes.failing = true;
        let cause_told = chain(&cause);
        let told = format!(
            "the device's record cannot be written, so the installed models keep running and nothing new is installed: \
             {cause_told}"
        );
        self.models.set_problem(Problem::Record, Some(told));
        self.tell(
            &cause,
            "the record cannot be written: the installed models keep running, nothing new is installed",
        );
        self.pending.push_front(Input::NotSaved);
        false
    }

    /// Writes the windows of a model: evidence, not safety.
    pub(super) async fn save_windows(&mut self, model: &ModelName) {
        let payload = self.agent.saved_windows(model);
        if let Err(cause) = self.write(windows_record(model), payload).await {
            self.tell(&cause, "the windows cannot be written, a restart would lose them");
        }
    }

    /// Writes what is kept of predictions for their ground truth.
    pub(super) async fn save_truth(&mut self, sync: bool) {
        let models = self.models.all();
        let write = move || models.iter().try_for_each(|model| model.save_truth(sync));
        let written = if self.store.durable() {
            let write = tokio::task::spawn_blocking(write);
            write.await.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()))
        } else {
            write()
        };
        if let Err(cause) = written {
            self.tell(&cause, "what is kept for ground truth cannot be written, a restart would lose it");
        }
    }

    async fn write(&self, name: String, payload: Vec<u8>) -> Result<(), StoreError> {
        let (store, now) = (self.store.clone(), self.clock.now());
        if !store.durable() {
            return store.save(&name, now, &payload);
        }
        let write = tokio::task::spawn_blocking(move || store.save(&name, now, &payload));
        write.await.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()))
    }

    fn tell(&mut self, cause: &StoreError, what: &str) {
        if self.record_writes.told.is_none_or(|told| told.elapsed() >= TOLD_EVERY) {
            self.record_writes.told = Some(Instant::now());
            error!(device = %self.name, error = %chain(cause), "{what}");
        }
    }
}
