//! Phase, stage and counts.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a rollout stands in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RolloutPhase {
    /// Another rollout of the model is active.
    #[default]
    Queued,
    /// Devices get the version, or it is watched.
    Progressing,
    /// The next stage needs a person.
    AwaitingApproval,
    /// It stands still, by a person's wish or by a rule.
    Paused,
    /// The version is being taken back.
    RollingBack,
    /// The version was taken back.
    RolledBack,
    /// The version is in production.
    Succeeded,
    /// It will not go on without a person.
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

    /// When its bake time is over. Example: `2026-08-08T12:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bake_ends_at: Option<Time>,

    /// When waiting ends and `onUndecided`, or the approval's timeout, says what happens. Example:
    /// `2026-08-15T12:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_at: Option<Time>,
}

/// Devices by what is known about them. One device may be in several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceCounts {
    /// Devices that the rollout's selector holds for. Example: `200`.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub eligible: i64,
    /// Eligible devices that are online. Example: `187`.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub reachable: i64,
    /// Devices that the version is meant for by now. Example: `20`.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub offered: i64,
    /// Devices that have its bytes, verified. Example: `19`.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub downloaded: i64,
    /// Devices that started to use it. Example: `19`.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub activated: i64,
    /// Devices that use it and passed probation. Example: `18`.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub confirmed: i64,
    /// Devices that tried and went back or gave up. Example: `1`.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub failed: i64,
    /// Devices that cannot run it: engine, operators, memory or labels. Not a failure. Example: `0`.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub incompatible: i64,
    /// Devices that have not been heard of since they started to use it. Example: `0`.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub silent_after_activation: i64,
    /// Devices that it is meant for, that can run it as far as is known, and that are offline. Example: `1`.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub unreachable: i64,
}
