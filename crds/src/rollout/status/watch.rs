//! What the watch has seen since the version is in production.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// The watch over a version in production.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct WatchProgress {
    /// Windows of the fleet that were watched. Example: `720`.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub windows: i64,

    /// How near an alarm is: 0 is quiet, 100 is an alarm. In between it is a share on a logarithmic scale. Example: `12`.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100))]
    pub level_percent: i64,

    /// Since when there is an alarm. Absent without one. Example: `2026-08-01T12:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarm_since: Option<Time>,

    /// What the watch needs to go on after a restart.
    #[serde(default)]
    #[schemars(length(max = 8192))]
    pub state: String,
}
