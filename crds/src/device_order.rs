//! `DeviceOrder`: what one device does instead of following the plans, or that it is gone for good.

// Columns of one type are no mistake.
#![allow(clippy::duplicated_attributes)]

mod status;

pub use status::{DeviceOrderStatus, OrderRecord, SentOrder};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::rules::{DEVICE_ID, DNS_LABEL, RuleText, SEMVER};

/// The annotation that says who gave the order, as the verbs of the plugin write it.
pub const GIVEN_BY: &str = "modelfleet.io/given-by";

const PIN_OR_HOLD: RuleText =
    ("has(self.pin) != self.hold", "give either pin, the version to run, or hold: true, and not both");

/// What one device of the namespace does instead of following the plans. One object for each device; the verbs `pin`, `hold`,
/// `release` and `retire` of the plugin write it, and so may GitOps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "modelfleet.io",
    version = "v1alpha1",
    kind = "DeviceOrder",
    namespaced,
    status = "DeviceOrderStatus",
    shortname = "mdo",
    category = "modelfleet",
    derive = "PartialEq",
    doc = "Pins or holds models on one device, or retires the device: above every plan, until it is taken back.",
    selectable = ".spec.device",
    printcolumn(name = "Device", type_ = "string", json_path = ".spec.device"),
    printcolumn(name = "Order", type_ = "string", json_path = ".status.summary"),
    printcolumn(
        name = "Sent",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Sent\")].status"
    ),
    printcolumn(
        name = "Taken",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Taken\")].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", priority = 1)
)]
pub struct DeviceOrderSpec {
    /// Id of the device, as in its topics. Immutable. Required. Example: `pump-017`.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = DEVICE_ID)]
    #[x_kube(validation = ("self == oldSelf", "device is immutable: create a new DeviceOrder instead"))]
    pub device: String,

    /// What the device does about single models, at most 16. A model that is not named follows its plan. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["model"])
    )]
    pub models: Vec<OrderedModel>,

    /// The device is gone for good: its retained messages are cleared from the broker, and it counts nowhere, also when it
    /// is heard again. Orders about models are not sent then. Default: `false`.
    #[serde(default)]
    pub retired: bool,

    /// Why, for people who read it later. Default: none. Example: `valve replaced, INC-4711`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub reason: Option<String>,
}

/// What the device does about one model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = PIN_OR_HOLD)]
pub struct OrderedModel {
    /// The model. Required. Example: `pump-anomaly`.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = DNS_LABEL)]
    pub model: String,

    /// The version that the device runs, whatever the plan says: `spec.version` of a ModelVersion of this namespace that was
    /// checked and not rejected. Default: none. Example: `1.3.0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 5, max = 64))]
    #[x_kube(validation = SEMVER)]
    pub pin: Option<String>,

    /// The device keeps what it runs. Default: `false`.
    #[serde(default)]
    pub hold: bool,

    /// When the order ends by itself. The controller tells the device so; a device that is out of reach then hears it when
    /// it is back. Default: never. Example: `2026-09-01T06:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,

    /// Why, for people who read it later. Default: none. Example: `pump is under repair`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub reason: Option<String>,
}

impl DeviceOrderSpec {
    /// An order about no model.
    #[must_use]
    pub fn new(device: impl Into<String>) -> DeviceOrderSpec {
        DeviceOrderSpec { device: device.into(), models: Vec::new(), retired: false, reason: None }
    }
}

/// The name that the plugin gives the object of a device: its id, where that can be the name of an object. An id may end in a
/// `-` or have a `_`, which a name cannot: these become `x`, and a hash of the id keeps such names apart.
#[must_use]
pub fn object_name(device: &str) -> String {
    let good = |part: &str| {
        let ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        part.starts_with(ends) && part.ends_with(ends) && !part.contains('_')
    };
    if device.split('.').all(good) {
        return device.to_owned();
    }
    let plain: String = device.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { 'x' }).collect();
    let hash = device.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{plain}.{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_device_has_a_name_that_an_object_can_have() {
        assert_eq!(object_name("pump-017"), "pump-017");
        assert_eq!(object_name("site.a1"), "site.a1");
        for odd in ["a_b", "a-b-", "a..b", "a.-b", "a."] {
            let name = object_name(odd);
            assert!(name.starts_with('a') && !name.contains(['_', '-']) && !name.ends_with('.'), "{name}");
        }
        assert_ne!(object_name("a_b"), object_name("a-b-"));
    }
}
