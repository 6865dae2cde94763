//! The rollback, and how fast it was.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// How far the rollback is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RollbackProgress {
    /// When it began. Example: `2026-08-01T12:00:00Z`.
    pub started_at: Time,

    /// When all reachable devices must be back. Example: `2026-08-01T12:15:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_at: Option<Time>,

    /// Devices that had the version and have not confirmed the rollback, unreachable devices included. Example: `3`.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub remaining: i64,

    /// When the last device came back. Example: `2026-08-01T12:04:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_device_back_at: Option<Time>,

    /// Why, as one CamelCase word. Example: `Degraded`.
    #[schemars(length(max = 64))]
    pub reason: String,
}

/// How many devices ran the version, how soon harm was found, and how soon the last device was back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// Devices that have run the version at any time. Example: `5`.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub devices_exposed: i64,

    /// When harm was shown. Example: `2026-08-01T12:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detected_at: Option<Time>,

    /// Time from the first activation until harm was shown, in milliseconds. Example: `5400000`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub detection_ms: Option<i64>,

    /// When the last device confirmed the rollback. Example: `2026-08-01T12:04:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safe_at: Option<Time>,

    /// Time from when harm was shown until `safeAt`, in milliseconds. Example: `240000`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub time_to_safe_ms: Option<i64>,
}
