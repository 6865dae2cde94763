//! A device's state: labels, capabilities, slots, what runs, and why something failed. JSON, so that
//! `mosquitto_sub` shows it to a person.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::card::CARD_BYTES_MAX;
use crate::ids::{DeviceId, Digest, ModelName};
use crate::label::{self, LabelError};
use crate::plan::Order;
use crate::selector::{LABELS_MAX, Labels};
use crate::time::Time;

/// Most bytes of a state's JSON; a larger one is refused unread.
pub const STATE_BYTES_MAX: usize = 32 * 1024;
/// Most models on one device.
pub const MODELS_MAX: usize = 16;
/// Longest free text, such as the detail of a failure, in bytes.
pub const DETAIL_MAX: usize = 512;

/// All that a device says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceState {
    /// The device, as in the topic.
    pub device: DeviceId,
    /// Grows with every state, across restarts; an older one is left out.
    pub sequence: u64,
    /// Device clock.
    pub at: Time,
    /// Version of the agent.
    pub agent: String,
    /// Its labels, at most [`LABELS_MAX`].
    #[serde(default)]
    pub labels: Labels,
    /// Its card, as an enrolment key has signed it; the labels are then those of the card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<String>,
    /// Version of the trust document that it follows; 0: it was set up with root keys and has no document yet; absent: it was
    /// set up without root keys, so that no trust document protects it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust_version: Option<u64>,
    /// What it can run.
    #[serde(default)]
    pub capabilities: Capabilities,
    /// One entry for each model that it has or has been told of, at most [`MODELS_MAX`].
    #[serde(default)]
    pub models: Vec<ModelState>,
    /// The override that it took last; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overridden: Option<Overridden>,
}

/// The override that a device took last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Overridden {
    /// Epoch of the override.
    pub epoch: u64,
    /// Revision of the override.
    pub revision: u64,
    /// The models for which the device goes by it and not by the plan, at most [`MODELS_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ModelName>,
}

/// What a device can run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Capabilities {
    /// Its engines.
    pub engines: Vec<EngineInfo>,
    /// Memory that models may use; 0: not stated.
    pub memory_bytes: u64,
    /// Processor architecture (`x86_64`, `aarch64`, ...).
    pub arch: String,
}

/// An inference engine on a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EngineInfo {
    /// `OnnxRuntime` or `Rten`.
    pub name: String,
    /// The engine's own version.
    pub version: String,
    /// Highest operator set version by domain.
    pub opsets: BTreeMap<String, i64>,
    /// Highest version of the file format (IR version of ONNX) that it takes; 0: not stated, any.
    #[serde(skip_serializing_if = "is_zero")]
    pub ir_version: i64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// One model on a device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelState {
    /// The model.
    pub model: ModelName,
    /// The newest plan the device has accepted.
    #[serde(default)]
    pub plan: Order,
    /// The build that answers now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<Running>,
    /// The build in the other slot, ready to go back to without a download.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spare: Option<Digest>,
    /// Where the device stands with the plan's candidate, if it is a member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<Attempt>,
    /// How often the device went back by itself since it was installed.
    #[serde(default)]
    pub reverts: u64,
}

/// The build that answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Running {
    /// What runs.
    pub digest: Digest,
    /// Its version, for people.
    pub version: semver::Version,
    /// Since when.
    pub activated: Time,
    /// Whether it came through probation.
    pub confirmed: bool,
    /// The engine that runs it.
    #[serde(default)]
    pub engine: String,
}

/// Where a device stands with a rollout attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// The rollout attempt, as the plan names it.
    pub rollout: String,
    /// Its build.
    pub digest: Digest,
    /// How far it got.
    pub phase: Phase,
    /// Bytes fetched so far.
    #[serde(default)]
    pub fetched_bytes: u64,
    /// When the phase began.
    pub since: Time,
    /// Why it failed, cannot run, or went back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Why it does not go on, for people, at most [`DETAIL_MAX`] bytes; absent where nothing is in the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
}

/// How far a device got with an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Phase {
    /// It knows the plan and waits to start (spread, window, pause).
    Offered,
    /// It fetches the bytes.
    Downloading,
    /// Bytes are there, digest and signature are good; it waits to be admitted.
    Downloaded,
    /// Active, on probation.
    Activated,
    /// Active and confirmed by its own health and by contact.
    Confirmed,
    /// It tried and could not; see the failure. The stable build answers.
    Failed,
    /// It can never run this build; no failure of the model.
    Incompatible,
    /// It was active and the device went back by itself; see the failure.
    Reverted,
    /// It was active and was taken back by the plan.
    RolledBack,
    /// A phase of a newer agent.
    #[serde(other)]
    Unknown,
}

/// Why an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// For machines.
    pub code: FailureCode,
    /// For people, at most [`DETAIL_MAX`] bytes.
    #[serde(default)]
    pub detail: String,
}

/// Why an attempt ended, for machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FailureCode {
    /// The bytes do not hash to the digest.
    DigestMismatch,
    /// No key that the device trusts signed the bytes.
    SignatureInvalid,
    /// The bytes could not be fetched in the tries allowed.
    DownloadExhausted,
    /// Not enough room on disk.
    DiskFull,
    /// The engine could not load the model.
    LoadRefused,
    /// The model answered its golden inputs wrongly.
    SelfTestMismatch,
    /// Its outputs are not those of its signature.
    SignatureMismatch,
    /// Too many errors in probation.
    ProbationErrors,
    /// Not confirmed in time: it did not answer, or answered with errors.
    ProbationTimeout,
    /// Not confirmed in time, because too few answers were asked of it. Says nothing about the model.
    Unproven,
    /// No contact in probation.
    ContactLost,
    /// The agent restarted too often while it was active.
    CrashLoop,
    /// It used more memory than allowed.
    MemoryExceeded,
    /// The device has no engine for it.
    EngineMissing,
    /// The engine lacks an operator set that it imports.
    OpsetMissing,
    /// The engine lacks an operator, or does not run it exactly.
    OperatorMissing,
    /// The device cannot give it the memory that it states.
    MemoryShort,
    /// A label that it requires is not the device's.
    LabelMissing,
    /// A format or mode that the agent does not know.
    FormatUnknown,
    /// The device's disk did not give the bytes that it holds, time and again. Says nothing about the model.
    DiskUnreadable,
    /// Its version is below the security floor of the trust document.
    VersionForbidden,
    /// A code of a newer agent.
    #[serde(other)]
    Unknown,
}

impl FailureCode {
    /// Whether the build can never run there: it leaves the denominator and is no failure of the model.
    #[must_use]
    pub fn is_incompatibility(self) -> bool {
        use FailureCode as F;
        matches!(
            self,
            F::EngineMissing
                | F::OpsetMissing
                | F::OperatorMissing
                | F::MemoryShort
                | F::LabelMissing
                | F::FormatUnknown
                | F::VersionForbidden
        )
    }

    /// Whether it is the device's own trouble, which says nothing about the model: it leaves the denominator until the device
    /// is well again.
    #[must_use]
    pub fn is_own_trouble(self) -> bool {
        use FailureCode as F;
        matches!(self, F::DiskFull | F::DiskUnreadable | F::Unproven)
    }

    /// Whether it speaks against the model and not against the way there: the judge's hard stops.
    ///
    /// Bytes that are not those of the plan, or that a trusted key has not signed, are refused before anything runs. They say
    /// what a store, a network or a device's keys are like: one that serves bytes must not be able to have a version rejected.
    #[must_use]
    pub fn is_hard_stop(self) -> bool {
        use FailureCode as F;
        matches!(
            self,
            F::LoadRefused
                | F::SelfTestMismatch
                | F::SignatureMismatch
                | F::ProbationErrors
                | F::ProbationTimeout
                | F::CrashLoop
                | F::MemoryExceeded
        )
    }
}

/// Why a state is refused.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// More bytes than a state may have.
    #[error("state has {0} bytes; at most {STATE_BYTES_MAX} are allowed")]
    Size(usize),
    /// Not the JSON of a state.
    #[error("state cannot be read")]
    Json(#[source] serde_json::Error),
    /// The state speaks of another device than its topic.
    #[error("state of device {found} is on the topic of device {topic}")]
    Device {
        /// The device in the state.
        found: DeviceId,
        /// The device in the topic.
        topic: DeviceId,
    },
    /// A list or text longer than its bound.
    #[error("state is invalid: {0}")]
    Content(&'static str),
    /// A label that no selector or status can hold.
    #[error(transparent)]
    Label(#[from] LabelError),
}

impl DeviceState {
    /// Reads the state that arrived on the topic of `device` and holds its bounds.
    ///
    /// # Errors
    /// When it is too large, not a state, another device's, or beyond a bound.
    pub fn from_json(device: &DeviceId, bytes: &[u8]) -> Result<DeviceState, StateError> {
        if bytes.len() > STATE_BYTES_MAX {
            return Err(StateError::Size(bytes.len()));
        }
        let state: DeviceState = serde_json::from_slice(bytes).map_err(StateError::Json)?;
        if &state.device != device {
            return Err(StateError::Device { found: state.device, topic: device.clone() });
        }
        let bound = |ok: bool, what| if ok { Ok(()) } else { Err(StateError::Content(what)) };
        bound(state.labels.len() <= LABELS_MAX, "it has too many labels")?;
        state.labels.iter().try_for_each(|(key, value)| label::check(key, value))?;
        bound(state.card.as_ref().is_none_or(|card| card.len() <= CARD_BYTES_MAX), "its card is too long")?;
        bound(state.models.len() <= MODELS_MAX, "it has too many models")?;
        let told = state.overridden.as_ref();
        bound(told.is_none_or(|told| told.models.len() <= MODELS_MAX), "its override has too many models")?;
        bound(state.capabilities.engines.len() <= 8, "it has too many engines")?;
        let details = state.models.iter().filter_map(|m| m.candidate.as_ref()?.failure.as_ref());
        bound(details.clone().all(|f| f.detail.len() <= DETAIL_MAX), "the detail of a failure is too long")?;
        let mut waits = state.models.iter().filter_map(|m| m.candidate.as_ref()?.waits.as_ref());
        bound(waits.all(|why| why.len() <= DETAIL_MAX), "a reason to wait is too long")?;
        Ok(state)
    }

    /// What the state says of one model.
    #[must_use]
    pub fn model(&self, model: &ModelName) -> Option<&ModelState> {
        self.models.iter().find(|m| &m.model == model)
    }
}

impl Failure {
    /// A failure whose detail is cut to [`DETAIL_MAX`] bytes.
    #[must_use]
    pub fn new(code: FailureCode, detail: impl Into<String>) -> Failure {
        let mut detail: String = detail.into();
        if detail.len() > DETAIL_MAX {
            let end = (0..=DETAIL_MAX).rev().find(|&i| detail.is_char_boundary(i)).unwrap_or(0);
            detail.truncate(end);
        }
        Failure { code, detail }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whose fault each code is: one line for each, so that a new code is given a place.
    #[test]
    fn every_code_is_the_fault_of_one() {
        use FailureCode as F;
        let of_the_model = [
            F::LoadRefused,
            F::SelfTestMismatch,
            F::SignatureMismatch,
            F::ProbationErrors,
            F::ProbationTimeout,
            F::CrashLoop,
            F::MemoryExceeded,
        ];
        let unable = [
            F::EngineMissing,
            F::OpsetMissing,
            F::OperatorMissing,
            F::MemoryShort,
            F::LabelMissing,
            F::FormatUnknown,
            F::VersionForbidden,
        ];
        let own_trouble = [F::DiskFull, F::DiskUnreadable, F::Unproven];
        // Of the store, the network, the site or the device's keys: told and counted, and no reason to go back.
        let of_the_way =
            [F::DigestMismatch, F::SignatureInvalid, F::DownloadExhausted, F::ContactLost, F::Unknown];
        let place = |code: F| (code.is_hard_stop(), code.is_incompatibility(), code.is_own_trouble());
        for code in of_the_model {
            assert_eq!(place(code), (true, false, false), "{code:?}");
        }
        for code in unable {
            assert_eq!(place(code), (false, true, false), "{code:?}");
        }
        for code in own_trouble {
            assert_eq!(place(code), (false, false, true), "{code:?}");
        }
        for code in of_the_way {
            assert_eq!(place(code), (false, false, false), "{code:?}");
        }
        // The last one, so that the lists hold all.
        let all = of_the_model.len() + unable.len() + own_trouble.len() + of_the_way.len();
        assert_eq!(all, F::Unknown as usize + 1);
    }
}
