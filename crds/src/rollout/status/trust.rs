//! How far a change of keys is.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// The trust document that counts for the fleet, and how many of its devices hold it. A change of keys is done when no connected
/// device holds an earlier one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrustProgress {
    /// Version of the document. Example: `4`.
    #[schemars(range(min = 0))]
    pub version: i64,
    /// From then on devices start nothing new on its word. Example: `2027-08-01T12:00:00Z`.
    pub expires_at: Time,
    /// Connected devices of the fleet.
    #[serde(default)]
    pub connected: TrustCounts,
    /// Devices of the fleet that are not connected.
    #[serde(default)]
    pub away: TrustCounts,
}

/// Devices by the trust document that they hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrustCounts {
    /// Devices that hold this document. Example: `180`.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub current: i64,
    /// Devices that hold an earlier one. Example: `20`.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub earlier: i64,
    /// Devices that hold a later one, which the controller does not know. Example: `0`.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub later: i64,
    /// Devices that have root keys and no document yet. Example: `0`.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub none: i64,
    /// Devices that were set up without root keys: no document reaches them. Example: `0`.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub without_root_keys: i64,
}
