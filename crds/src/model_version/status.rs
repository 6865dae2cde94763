//! Where a version is, and why.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a version is, and why. The controller writes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelVersionStatus {
    /// The metadata.generation that this status was computed from. Example: `1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,

    /// Where the version is: `Registered` (not checked yet), `Verified` (size and digest are right, and the signature if the
    /// controller has publishers' keys), `Production` (the stable version of the devices in `devices`), `Archived` (was
    /// in production), `Rejected` (the file failed its check, or a rollout showed harm; after harm, a rollout uses the
    /// version again only when its retryToken changes).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<VersionStage>,

    /// Why the version is there, as one CamelCase word. Example: `Verified`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub reason: Option<String>,

    /// Why the version is there, with numbers and what to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub message: Option<String>,

    /// The rollout that rejected the version. Absent if no rollout did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected_by: Option<Rejection>,

    /// When the file passed its check. Example: `2026-08-01T12:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_at: Option<Time>,

    /// The publisher's key whose signature was good when the file was checked, as minisign names it; absent if no signature
    /// was asked for. Example: `1A2B3C4D5E6F7081`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub signed_by: Option<String>,

    /// When the version came to production. Example: `2026-08-01T12:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoted_at: Option<Time>,

    /// The devices whose stable version this is, as text for `kubectl get`. Example: `site=north`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub devices: Option<String>,

    /// The devices whose stable version this is, at most 9 entries: the devices for which a rollout proved it. Where
    /// entries of several versions select a device, the entry with the highest order counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 9), extend("x-kubernetes-list-type" = "atomic"))]
    pub production_for: Vec<ProductionScope>,

    /// Name of the rollout that brought the version to production. Example: `pump-anomaly-1-4-0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub promoted_by: Option<String>,

    /// Standard conditions, by type: `Ready`, `Verified`, `Stalled`. These are added when they apply: `DeletionBlocked` (the
    /// version was deleted and is still needed), `Restored` (the object was applied again without its status).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::conditions::condition_list")]
    pub conditions: Vec<Condition>,
}

/// Devices whose stable version this is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProductionScope {
    /// The devices by label, as JSON. Example: `{"matchLabels":{"site":"north"}}`; `{}` is all devices.
    #[schemars(length(max = 2048))]
    pub selector: String,

    /// Grows with every promotion of the model. Where several entries select a device, the highest counts. Example: `3`.
    #[schemars(range(min = 0))]
    pub order: i64,
}

/// Where a version is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum VersionStage {
    /// Not checked yet.
    #[default]
    Registered,
    /// Size and digest are right, and the signature if the controller has publishers' keys.
    Verified,
    /// The stable version of its model, for all devices or for some.
    Production,
    /// Was in production.
    Archived,
    /// The file failed its check, or a rollout showed harm.
    Rejected,
}

/// The rollout that rejected a version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rejection {
    /// Name of the rollout. Example: `pump-anomaly-1-4-0`.
    #[schemars(length(max = 253))]
    pub rollout: String,

    /// Why, as one CamelCase word. Example: `Degraded`.
    #[schemars(length(max = 64))]
    pub reason: String,

    /// When. Example: `2026-08-01T12:00:00Z`.
    pub time: Time,

    /// The rollout's retryToken at that time; another token lifts the rejection. Empty without a token.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub retry_token: String,
}
