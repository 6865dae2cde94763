//! Phase, stage and counts.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a rollout is, as one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RolloutPhase {
    /// It waits for another rollout of the model, or for its version to be checked.
    #[default]
    Queued,
    /// Devices get the version, or are watched.
    Progressing,
    /// The next stage needs the approval of a person.
    AwaitingApproval,
    /// A person or a rule paused it.
    Paused,
    /// The version is being rolled back.
    RollingBack,
    /// The version was rolled back.
    RolledBack,
    /// The version is in production.
    Succeeded,
    /// It cannot go on until a person acts.
    Stalled,
}

/// The stage that a rollout is in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct StageProgress {
    /// Name of the stage. Example: `early-adopter`.
    #[schemars(length(max = 63))]
    pub name: String,

    /// Position of the stage in `spec.stages`, from 0. Example: `1`.
    #[schemars(range(min = 0, max = 7))]
    pub index: i64,

    /// When it began. Example: `2026-08-01T12:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,

    /// When the bake time is over. Example: `2026-08-08T12:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bake_ends_at: Option<Time>,

    /// When the waiting time is over; then `onUndecided` or `approvalTimeout` says what happens. Example:
    /// `2026-08-15T12:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_at: Option<Time>,
}

/// How many devices are in which state. A device may count in several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceCounts {
    /// Devices that were selected so far and can run the version. Example: `20`.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub eligible: i64,
    /// Eligible devices that are connected. Example: `19`.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub reachable: i64,
    /// Eligible devices that have received the plan. Example: `20`.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub offered: i64,
    /// Eligible devices that have downloaded and verified the version. Example: `19`.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub downloaded: i64,
    /// Eligible devices that run the version. Example: `19`.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub activated: i64,
    /// Eligible devices that run the version and have passed probation. Example: `18`.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub confirmed: i64,
    /// Eligible devices on which the version failed. Example: `1`.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub failed: i64,
    /// Devices that cannot run the version, for want of an engine, operators, memory or labels. This is not a failure.
    /// Example: `0`.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub incompatible: i64,
    /// Devices that trouble of their own keeps from the version, such as a full or broken disk. This is not a failure; they
    /// count again when they are well. Example: `0`.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub own_trouble: i64,
    /// Devices that have not reported since they activated the version. Example: `0`.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub silent_after_activation: i64,
    /// Eligible devices that are not connected. Example: `1`.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub unreachable: i64,
}
