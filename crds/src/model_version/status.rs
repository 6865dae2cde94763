//! What became of a version.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What became of a version. Written by the controller.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelVersionStatus {
    /// The metadata.generation that this status was computed from. Example: `1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,

    /// Where the version stands: `Registered` (known, not yet checked), `Verified` (size and digest are
    /// right, and the signature where the controller has publishers' keys), `Production` (the stable version
    /// of the devices in `devices`), `Archived` (was in production), `Rejected` (a rollout showed harm; no
    /// rollout takes it until its retryToken changes).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<VersionStage>,

    /// Why it stands there, as one CamelCase word. Example: `SloBreach`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub reason: Option<String>,

    /// Why it stands there, as a sentence with numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub message: Option<String>,

    /// The rollout that rejected the version. Absent when none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected_by: Option<Rejection>,

    /// When the file passed its check. Example: `2026-08-01T12:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_at: Option<Time>,

    /// When the version came to production. Example: `2026-08-01T12:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoted_at: Option<Time>,

    /// The devices that the version is the stable one of, as text for `kubectl get`. Example: `site=north`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub devices: Option<String>,

    /// The devices that the version is the stable one of, at most 9 entries: those that a rollout proved it for. Where
    /// entries of several versions select a device, the one with the highest order counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 9), extend("x-kubernetes-list-type" = "atomic"))]
    pub production_for: Vec<ProductionScope>,

    /// Name of the rollout that brought the version to production. Example: `pump-anomaly-1-4-0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub promoted_by: Option<String>,

    /// Standard conditions, by type: `Ready`, `Verified`, `Stalled`, and `DeletionBlocked` of a version that was deleted
    /// and is still needed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::conditions::condition_list")]
    pub conditions: Vec<Condition>,
}

/// Devices that a version is the stable one of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProductionScope {
    /// The devices by label, as JSON. Example: `{"matchLabels":{"site":"north"}}`; `{}` is all devices.
    #[schemars(length(max = 2048))]
    pub selector: String,

    /// Grows with every promotion of the model: where several entries select a device, the highest counts. Example: `3`.
    #[schemars(range(min = 0))]
    pub order: i64,
}

/// Where a version stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum VersionStage {
    /// Known, not yet checked.
    #[default]
    Registered,
    /// Size and digest are right, and with publishers' keys the signature.
    Verified,
    /// The stable version of its model, for all devices or for some.
    Production,
    /// Was in production.
    Archived,
    /// A rollout showed harm.
    Rejected,
}

/// The rollout that rejected a version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rejection {
    /// Name of the rollout. Example: `pump-anomaly-1-4-0`.
    #[schemars(length(max = 253))]
    pub rollout: String,

    /// Why, as one CamelCase word. Example: `SloBreach`.
    #[schemars(length(max = 64))]
    pub reason: String,

    /// When. Example: `2026-08-01T12:00:00Z`.
    pub time: Time,

    /// The rollout's retryToken at that time: another one lifts the rejection. Empty when it had none.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub retry_token: String,
}
