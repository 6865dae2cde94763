//! What the controller decided, and a sample of the failures.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One decision and why it was taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecisionRecord {
    /// When. Example: `2026-08-01T12:00:00Z`.
    pub at: Time,

    /// Name of the stage that the rollout was in. Empty before the first. Example: `canary`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 63))]
    pub stage: String,

    /// What was decided: `Start`, `Advance`, `Hold`, `Pause`, `Resume`, `Approve`, `Promote` (a person's
    /// wish), `Quarantine` (single devices are bad, not the version), `RollBack`, `Abort`, `Retry`, `Stall`
    /// or `Finish`.
    pub decision: DecisionKind,

    /// Why, as one CamelCase word. Example: `SloBreach`.
    #[schemars(length(max = 64))]
    pub reason: String,

    /// Why, as a sentence with numbers, at most 200 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 200))]
    pub message: String,
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum DecisionKind {
    /// The rollout began.
    Start,
    /// The next stage began.
    Advance,
    /// The stage goes on waiting.
    Hold,
    /// The rollout stands still.
    Pause,
    /// The rollout goes on.
    Resume,
    /// A person approved the stage.
    Approve,
    /// A person let a stage begin early.
    Promote,
    /// Single devices are bad, not the version.
    Quarantine,
    /// The version is taken back because of harm.
    RollBack,
    /// The version is taken back because a person said so.
    Abort,
    /// A new retryToken began a new attempt.
    Retry,
    /// Without a person it does not go on.
    Stall,
    /// The rollout ended.
    Finish,
}

/// A device that failed to take the version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceFailure {
    /// Id of the device. Example: `pump-0007`.
    #[schemars(length(max = 128))]
    pub device: String,

    /// What failed, as one CamelCase word. Example: `SelfTestMismatch`.
    #[schemars(length(max = 64))]
    pub code: String,

    /// What failed, as a sentence, at most 160 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 160))]
    pub message: String,

    /// When. Example: `2026-08-01T12:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
}
