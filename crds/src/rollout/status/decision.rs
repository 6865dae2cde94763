//! What the controller decided, and some of the devices that failed.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One decision, and why it was taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecisionRecord {
    /// When. Example: `2026-08-01T12:00:00Z`.
    pub at: Time,

    /// Name of the stage that the rollout was in. Empty before the first stage. Example: `canary`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 63))]
    pub stage: String,

    /// What was decided: `Start`, `Advance` (a stage was started), `Hold` (nothing changed; the message says what was
    /// noticed), `Pause`, `Resume`, `Quarantine` (single devices are bad, not the version), `RollBack` (because of harm or
    /// because of `abort`), `Retry`, `Stall` (the version was refused, or a rollback is overdue) or `Finish`. `Approve`,
    /// `Promote` and `Abort` are reserved.
    pub decision: DecisionKind,

    /// Reason of the Event that tells it, as one CamelCase word. Example: `RollbackStarted`.
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
    /// A stage was started.
    Advance,
    /// Nothing changed; the message says what was noticed.
    Hold,
    /// The rollout was paused.
    Pause,
    /// The rollout continued.
    Resume,
    /// Reserved.
    Approve,
    /// Reserved.
    Promote,
    /// Single devices are bad, not the version.
    Quarantine,
    /// A rollback began, because of harm or because of `abort`.
    RollBack,
    /// Reserved.
    Abort,
    /// A new retryToken began a new attempt.
    Retry,
    /// The version was refused, or a rollback is overdue: a person must act.
    Stall,
    /// The rollout ended.
    Finish,
}

/// A device on which the version failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceFailure {
    /// Id of the device. Example: `pump-0007`.
    #[schemars(length(max = 128))]
    pub device: String,

    /// What failed, as one CamelCase word. Example: `SelfTestMismatch`.
    #[schemars(length(max = 64))]
    pub code: String,

    /// What failed, as a sentence, at most 160 characters. The controller leaves it empty: `code` says what failed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 160))]
    pub message: String,

    /// When. Example: `2026-08-01T12:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
}
