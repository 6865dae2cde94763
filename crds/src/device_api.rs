//! What the controller answers about devices over HTTPS. Devices are no objects of Kubernetes: there may be a million of them.
//! The same types write the answers, read them in the plugin, and make the description of the API.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The resource of [`crate::GROUP`] by whose rights the API answers: `list` for lists and failures, `get` for one device.
pub const RESOURCE: &str = "devices";

/// The header that carries the token of a request that comes through the API server, which takes `Authorization` out.
pub const TOKEN_HEADER: &str = "x-modelfleet-token";

/// Devices of a page, if the request does not say.
pub const LIMIT_DEFAULT: u32 = 100;

/// Most devices of a page.
pub const LIMIT_MAX: u32 = 1_000;

/// Where the devices of a namespace are. `what` is what follows: `devices`, `devices/ID`, `failures`.
#[must_use]
pub fn path(namespace: &str, what: &str) -> String {
    format!("/apis/{}/{}/namespaces/{namespace}/{what}", crate::GROUP, crate::VERSION)
}

/// A page of devices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DevicePage {
    /// Devices that match, in an order that stays the same and means nothing.
    pub items: Vec<Device>,
    /// Give this as `continue` for the next page. Absent on the last one. A page may have fewer devices than were asked for, or
    /// none, and still not be the last one.
    #[serde(rename = "continue", default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Devices that the namespace has, whether they match or not.
    pub devices: u64,
    /// Whether the controller has heard all that devices had retained at the broker. While it is false more devices may come.
    pub complete: bool,
    /// When the controller answered.
    pub at: Time,
}

/// What is known of one device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// Its id. Example: `pump-017`.
    pub id: String,
    /// Its labels. Empty, too, while it has sent no state.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Whether it is connected to the broker.
    pub connected: bool,
    /// When it last connected, or was found to be gone. Absent: it has not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected_since: Option<Time>,
    /// When it was last heard. Absent: it has sent neither a state nor a report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_at: Option<Time>,
    /// Why the controller leaves it out of every rollout. Absent: it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
    /// By how many milliseconds its clock is ahead of the controller's; negative: behind. Absent: by less than ten minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_offset_ms: Option<i64>,
    /// Version of the trust document that it holds. Absent: it has no root keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust_version: Option<u64>,
    /// The models that it runs, tries or reports.
    #[serde(default)]
    pub models: Vec<DeviceModel>,
}

/// One build of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Build {
    /// Its version. Absent: no ModelVersion of the namespace has this digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its digest. Example: `sha256:e3b0...`.
    pub digest: String,
}

/// One model on a device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceModel {
    /// Its name.
    pub model: String,
    /// The build that answers. Absent: none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<Build>,
    /// Since when it answers, by the device's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activated_at: Option<Time>,
    /// Whether it has passed probation.
    pub confirmed: bool,
    /// The build in the other slot, ready to go back to without a download.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spare: Option<Build>,
    /// Where the device stands with the rollout that it is in, or was in last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
    /// Revision of the plan that it took last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_revision: Option<u64>,
    /// Number of the leader that wrote this plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_epoch: Option<u64>,
}

/// Where a device stands with a rollout.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// Name of the rollout. Absent: it is not there any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<String>,
    /// The build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<Build>,
    /// How far it got: `Offered`, `Downloading`, `Downloaded`, `Activated`, `Confirmed`, `Failed`, `Incompatible`, `Reverted`,
    /// `RolledBack` or `Unknown`.
    pub phase: String,
    /// Why it ended, as one CamelCase word. Example: `SelfTestMismatch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Since when, by the device's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

/// One device with its newest windows and changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceDetail {
    /// What the list has of it, too.
    #[serde(flatten)]
    pub device: Device,
    /// Its newest report of each model.
    #[serde(default)]
    pub reports: Vec<DeviceReport>,
    /// What was news of it since the controller began to lead, the newest first: at most 64, and only while they are among the
    /// newest 16 384 of the namespace.
    #[serde(default)]
    pub changes: Vec<DeviceChange>,
    /// Stages of rollouts that have selected it.
    #[serde(default)]
    pub stages: Vec<StageMembership>,
    /// When the controller answered.
    pub at: Time,
}

/// The newest report of a device about a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceReport {
    /// The model.
    pub model: String,
    /// When it was heard.
    pub heard_at: Time,
    /// Length of a window, milliseconds.
    pub window_ms: u64,
    /// When the newest window ended.
    pub ends_at: Time,
    /// By objective.
    #[serde(default)]
    pub objectives: Vec<ObjectiveWindows>,
}

/// The newest windows of one objective on a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectiveWindows {
    /// Name of the objective. A number, while the device counts by another plan than the newest one. Example: `error-rate`.
    pub slo: String,
    /// The newest 64 windows, the oldest first, a letter for each: `g` within the limit, `b` outside it, `-` not known.
    /// Example: `gggb-g`.
    pub windows: String,
}

/// A model on a device was not what it had been.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceChange {
    /// When the controller heard of it.
    pub heard_at: Time,
    /// The model.
    pub model: String,
    /// The build that answered before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Build>,
    /// The build that answers from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<Build>,
    /// Where the device stood with a rollout from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
}

/// A stage of a rollout that has selected a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StageMembership {
    /// Name of the rollout.
    pub rollout: String,
    /// Its version.
    pub version: String,
    /// The first stage that includes the device. Example: `canary`.
    pub stage: String,
    /// Where the rollout is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
}

/// Why devices failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailureList {
    /// One for each model, build and failure, those with the most devices first; at most 256.
    pub items: Vec<FailureGroup>,
    /// Devices that the namespace has.
    pub devices: u64,
    /// Whether the controller has heard all that devices had retained at the broker.
    pub complete: bool,
    /// When the controller answered.
    pub at: Time,
}

/// Devices on which a build failed alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailureGroup {
    /// The model.
    pub model: String,
    /// The build.
    pub build: Build,
    /// Why, as one CamelCase word. Example: `SelfTestMismatch`.
    pub failure: String,
    /// What it says: `Model` (it speaks against the build), `Device` (trouble of the device's own), `Incompatible` (the device
    /// cannot run the build) or `Delivery` (the way to the device).
    pub blames: String,
    /// How many devices.
    pub devices: u64,
    /// When it happened last, by a device's clock.
    pub latest_at: Time,
    /// The first devices by id, at most 5.
    pub examples: Vec<String>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// What is wrong and what to do, as a sentence.
    pub message: String,
    /// The replica that leads and would answer. Present when the one that was asked does not lead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
}
