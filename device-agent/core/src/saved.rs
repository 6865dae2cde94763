//! What survives a loss of power: one small versioned record for control, apart from the windows.
//!
//! Control is written when something was decided; windows are written as often as they are reported. Both are
//! bounded: at most 16 models, three builds, and [`ATTEMPTS_MAX`] attempts for each.

use std::collections::BTreeMap;
use std::sync::Arc;

use modelfleet_protocol::ids::{Digest, ModelName};
use modelfleet_protocol::plan::{Order, Plan, Probation};
use modelfleet_protocol::state::Attempt;
use modelfleet_protocol::time::Time;
use serde::{Deserialize, Serialize};

use crate::build::Build;

/// The version of the record that this agent writes.
pub const SAVED_VERSION: u32 = 1;
/// Attempts remembered per model; the oldest goes first.
pub const ATTEMPTS_MAX: usize = 8;
/// Models without a unit whose newest plan is remembered.
pub const SEEN_MAX: usize = 256;
/// Numbers that a sequence reserves with one write.
const RESERVED: u64 = 64;

/// What the agent must not forget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Saved {
    /// [`SAVED_VERSION`] of the agent that wrote it.
    pub version: u32,
    /// Numbers the states.
    pub state_sequence: Sequence,
    /// Numbers the connects.
    pub connection: Sequence,
    /// The newest override that was accepted.
    pub override_seen: Order,
    /// One entry per model.
    pub models: BTreeMap<ModelName, Kept>,
    /// The run of the process that wrote it; absent before the first.
    #[serde(default)]
    pub run: Option<Run>,
    /// The newest plans of models that nothing is kept of here; at most [`SEEN_MAX`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub seen: BTreeMap<ModelName, Order>,
}

/// One run of the process, so that the next one knows how it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Run {
    /// The machine's boot in which it ran, where the system says it.
    pub boot: Option<String>,
    /// It ended in order.
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
            override_seen: Order::default(),
            models: BTreeMap::new(),
            run: None,
            seen: BTreeMap::new(),
        }
    }
}

/// Why a record is of no use.
#[derive(Debug, thiserror::Error)]
pub enum SavedError {
    /// Not the JSON of a record.
    #[error("record is not readable")]
    Json(#[source] serde_json::Error),
    /// Written by an agent that came later.
    #[error("record has version {0}; this agent reads {SAVED_VERSION}")]
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
    /// When it is not a record, or one of a later agent.
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

/// What is kept of one model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Kept {
    /// The newest plan that was ever accepted; older ones are refused, across restarts.
    pub seen: Order,
    /// That plan, so that the device can go on without a connection.
    pub plan: Option<Arc<Plan>>,
    /// What the override says of this model.
    pub directive: Option<Directive>,
    /// The builds on disk, each complete and verified.
    pub slots: Vec<Slot>,
    /// The build that shall answer.
    pub active: Option<Active>,
    /// What was tried, oldest first.
    pub attempts: Vec<Try>,
    /// Builds of which a beginning may lie on disk: a fetch was asked for, and neither ended nor dropped.
    pub parts: Vec<Digest>,
    /// How often the device went back by itself.
    pub reverts: u64,
    /// Loads of what answers that were begun after a row of crashes, and whose end the process did not see.
    pub loads: u32,
    /// Numbers the reports.
    pub report_sequence: Sequence,
}

/// What an override says of one model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Directive {
    /// Run exactly this build.
    Pin {
        /// The build.
        build: Build,
        /// The attempt's name: every order is one attempt.
        attempt: String,
        /// From then on nothing new is started on its word.
        expires: Time,
    },
    /// Keep what runs.
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
    /// It came through probation here.
    pub proven: bool,
    /// The engine that ran it last.
    pub engine: String,
    /// When it last began to answer.
    pub activated: Time,
}

/// The build that shall answer. What really answers is the shell's word ([`crate::words::Input::Switched`]).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Active {
    /// What answers.
    pub digest: Digest,
    /// Since when.
    pub activated: Time,
    /// The attempt that brought it; empty where no rollout did.
    pub rollout: String,
    /// Probation, while it lasts.
    pub trial: Option<Trial>,
    /// Crashes in a row since then, each soon after a start.
    #[serde(default)]
    pub crashes: u32,
}

/// A build on probation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trial {
    /// What it has to show.
    pub rules: Probation,
    /// How long it has been at it. Counted in steps, so that a clock that is set, or time without power,
    /// neither ends nor stretches it.
    pub elapsed_ms: u64,
    /// How often the agent crashed meanwhile.
    pub restarts: u32,
    /// How often the machine lost its power meanwhile.
    #[serde(default)]
    pub reboots: u32,
    /// The broker was heard after the shortest probation, and the connection has held since.
    pub heard: bool,
    /// Answers without an error so far, those of earlier runs of the process included.
    #[serde(default)]
    pub answered: u64,
    /// Its time is over, in which it lacked neither contact nor health, only requests: it waits for those.
    #[serde(default)]
    pub outlasted: bool,
}

impl Trial {
    /// A trial that begins.
    #[must_use]
    pub fn under(rules: Probation) -> Trial {
        let (restarts, reboots) = (0, 0);
        Trial { rules, elapsed_ms: 0, restarts, reboots, heard: false, answered: 0, outlasted: false }
    }
}

/// What was tried, and how it went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Try {
    /// What the state says of it.
    #[serde(flatten)]
    pub attempt: Attempt,
    /// Fetches that failed.
    pub fetches: u32,
    /// Loads that were begun and not ended: a build that takes the process down with it is found out.
    pub admissions: u32,
    /// Loads for which the disk did not give the bytes.
    #[serde(default)]
    pub reads: u32,
    /// Not before then.
    pub retry_at: Option<Time>,
    /// Whole downloads that were other bytes.
    #[serde(default)]
    pub mismatches: u32,
    /// Hash of the address that was fetched from: another one is another chance.
    #[serde(default)]
    pub source: Option<Digest>,
}

/// Numbers that grow across restarts. A block of them is reserved with one write, so that flash is not worn by
/// counting; a restart goes on after the block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "u64", into = "u64")]
pub struct Sequence {
    last: u64,
    reserved: u64,
    /// What the last record that was written reserves.
    written: u64,
}

impl Sequence {
    /// The next number, and whether the record must be written before it is used.
    #[must_use]
    pub fn take(&mut self) -> (u64, bool) {
        self.last = self.last.saturating_add(1);
        let write = self.last > self.reserved;
        if write {
            self.reserved = self.last.saturating_add(RESERVED - 1);
        }
        (self.last, write)
    }

    /// The record with what was reserved is on disk.
    pub(crate) fn was_written(&mut self) {
        self.written = self.reserved;
    }

    /// It is not: a restart would give out the numbers again.
    pub(crate) fn was_not_written(&mut self) {
        self.reserved = self.written;
    }

    /// Whether the next number is one to write the record for.
    pub(crate) fn is_used_up(&self) -> bool {
        self.last >= self.reserved
    }

    /// The last number that was taken.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last
    }
}

impl From<u64> for Sequence {
    fn from(reserved: u64) -> Sequence {
        Sequence { last: reserved, reserved, written: reserved }
    }
}

impl From<Sequence> for u64 {
    fn from(sequence: Sequence) -> u64 {
        sequence.reserved.max(sequence.last)
    }
}
