//! What became of an order.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// What became of an order. The controller writes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceOrderStatus {
    /// The metadata.generation that this status was computed from. Example: `3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,

    /// The order in a few words, for `kubectl get`. Example: `pin pump-anomaly 1.3.0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub summary: Option<String>,

    /// What was not done and why, or that all was done, and what to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub message: Option<String>,

    /// The message that was sent last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<SentOrder>,

    /// `Sent`: the order is at the broker. `Taken`: the device says that it has taken it. `HeardAgain`: a retired device was
    /// heard again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::conditions::condition_list")]
    pub conditions: Vec<Condition>,

    /// The orders that this device was given, the newest last, at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub history: Vec<OrderRecord>,
}

/// A signed message to the device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SentOrder {
    /// Epoch of the leader that signed it. Example: `1785542400`.
    #[schemars(range(min = 0))]
    pub epoch: i64,
    /// Its revision. Example: `4`.
    #[schemars(range(min = 0))]
    pub revision: i64,
    /// When it was signed; of a retired device, when its messages were cleared.
    pub at: Time,
}

/// One order of the past.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderRecord {
    /// When the controller saw it.
    pub at: Time,
    /// Who gave it: the annotation modelfleet.io/given-by, else the program that wrote the spec last. Example: `maria`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 128))]
    pub by: String,
    /// The order. Example: `hold pump-anomaly`.
    #[schemars(length(max = 256))]
    pub order: String,
    /// Why it was given. Example: `pump is under repair`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 256))]
    pub reason: String,
}
