//! The control record: what must survive a power loss, as one small versioned file. Windows have a file of their own.
//!
//! The control record is written when something was decided; windows are written as often as they are reported. Both are
//! bounded: at most 16 models, with three builds and [`ATTEMPTS_MAX`] attempts each, and one trust document.

use std::collections::BTreeMap;
use std::sync::Arc;

use modelfleet_protocol::ids::{Digest, ModelName};
use modelfleet_protocol::plan::{Plan, Probation};
use modelfleet_protocol::state::Attempt;
use modelfleet_protocol::time::Time;
use serde::{Deserialize, Serialize};

pub use super::sequence::Sequence;
use crate::plan::build::Build;
pub use crate::plan::seen::SeenOrders;
pub use crate::trust::KeptTrust;

/// The version of the record that this agent writes.
pub const SAVED_VERSION: u32 = 1;
/// Attempts remembered per model; the oldest goes first.
pub const ATTEMPTS_MAX: usize = 8;
/// Models that are not managed here and whose newest plan is remembered.
pub const SEEN_MAX: usize = 256;

/// The control record: what the agent must not forget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Saved {
    /// [`SAVED_VERSION`] of the agent that wrote it.
    pub version: u32,
    /// Numbers the states.
    pub state_sequence: Sequence,
    /// Numbers the connects.
    pub connection: Sequence,
    /// The newest overrides that were accepted.
    pub override_seen: SeenOrders,
    /// One entry per model.
    pub models: BTreeMap<ModelName, SavedModel>,
    /// The run of the process that wrote it; `None` before the first.
    #[serde(default)]
    pub run: Option<Run>,
    /// The newest plans of models that are not managed here; at most [`SEEN_MAX`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub seen: BTreeMap<ModelName, SeenOrders>,
    /// The trust document that the device follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<KeptTrust>,
}

/// One run of the process, from which the next one learns how it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Run {
    /// The boot of the machine during which it ran, if the system has an identity for it.
    pub boot: Option<String>,
    /// It was stopped cleanly.
    pub stopped: bool,
    /// Crashes in a row, each soon after a start.
    pub crashes: u32,
}

impl Default for Saved {
    fn default() -> Saved {
        Saved {
            version: SAVED_VERSION,
            state_sequence: Sequence::default(),
            connection: Sequence::default(),
            override_seen: SeenOrders::default(),
            models: BTreeMap::new(),
            run: None,
            seen: BTreeMap::new(),
            trust: None,
        }
    }
}

/// Why a record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SavedError {
    /// It is not the JSON of a record.
    #[error("the record is not readable")]
    Json(#[source] serde_json::Error),
    /// It was written by a later agent.
    #[error("the record has version {0}; this agent reads version {SAVED_VERSION}")]
    Version(u32),
}

impl Saved {
    /// The bytes to write.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("names, numbers and texts always serialize")
    }

    /// Reads what [`Saved::to_json`] wrote.
    ///
    /// # Errors
    /// If it is not a record, or one of a later agent.
    pub fn from_json(bytes: &[u8]) -> Result<Saved, SavedError> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let Version { version } = serde_json::from_slice(bytes).map_err(SavedError::Json)?;
        if version != SAVED_VERSION {
            return Err(SavedError::Version(version));
        }
        serde_json::from_slice(bytes).map_err(SavedError::Json)
    }
}

/// What is saved of one model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SavedModel {
    /// The newest plans that were ever accepted. Older ones are refused, across restarts.
    pub seen: SeenOrders,
    /// The plan that was accepted last, so that the device can go on without a connection.
    pub plan: Option<Arc<Plan>>,
    /// What the override says of this model.
    pub directive: Option<Directive>,
    /// The builds on disk, each complete and verified.
    pub slots: Vec<Slot>,
    /// The build that should answer.
    pub active: Option<Active>,
    /// The attempts, oldest first.
    pub attempts: Vec<AttemptRecord>,
    /// Builds of which a part may be on disk: a download was requested, and neither completed nor dropped.
    pub parts: Vec<Digest>,
    /// How often the device went back by itself.
    pub reverts: u64,
    /// Switches that were begun after several crashes in a row, and that did not end before the process did.
    pub loads: u32,
    /// Numbers the reports.
    pub report_sequence: Sequence,
}

/// What an override says of one model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Directive {
    /// Run this build.
    Pin {
        /// The build.
        build: Build,
        /// The attempt's name: every override is one attempt.
        attempt: String,
        /// Nothing new is started for it after this time.
        expires: Time,
    },
    /// Change nothing.
    Hold,
}

/// A complete and verified build on disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Slot {
    /// The build.
    pub build: Build,
    /// A plan has called it stable while it was here.
    pub stable: bool,
    /// It came through probation on this device.
    pub proven: bool,
    /// The engine that ran it last.
    pub engine: String,
    /// When it last began to answer.
    pub activated: Time,
}

/// The build that should answer. The shell reports which one does ([`crate::interface::Input::Switched`]).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Active {
    /// The build.
    pub digest: Digest,
    /// Since when.
    pub activated: Time,
    /// The attempt that brought it; empty if no rollout did.
    pub rollout: String,
    /// The probation, while it lasts.
    #[serde(rename = "trial")]
    pub probation: Option<ProbationProgress>,
    /// Crashes in a row since then, each soon after a start.
    #[serde(default)]
    pub crashes: u32,
}

/// The probation of a build, as far as it has got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProbationProgress {
    /// What the build has to show.
    pub rules: Probation,
    /// How long it has answered. Counted from step to step, so that neither setting the clock nor time without power changes
    /// it.
    pub elapsed_ms: u64,
    /// How often the agent has crashed during it.
    pub restarts: u32,
    /// How often the machine has lost power during it.
    #[serde(default)]
    pub reboots: u32,
    /// The broker has answered after the shortest probation, and the connection has not been lost since.
    pub heard: bool,
    /// Answers without an error so far, including earlier runs of the process.
    #[serde(default)]
    pub answered: u64,
    /// Its time is over, and only requests were missing: it waits for those.
    #[serde(default)]
    pub outlasted: bool,
}

/// One attempt to run a build, and how far it got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttemptRecord {
    /// What the state reports of it.
    #[serde(flatten)]
    pub attempt: Attempt,
    /// Downloads that failed.
    pub fetches: u32,
    /// Loads that were begun and did not end: they reveal a build that crashes the process.
    pub admissions: u32,
    /// Loads that failed because the bytes could not be read from disk.
    #[serde(default)]
    pub reads: u32,
    /// The next try is not before this time.
    pub retry_at: Option<Time>,
    /// Complete downloads with the wrong digest.
    #[serde(default)]
    pub mismatches: u32,
    /// Hash of the address that was downloaded from. If the plan names another one, the attempt is tried again.
    #[serde(default)]
    pub source: Option<Digest>,
}
