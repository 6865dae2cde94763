//! An order to one device: pin, hold or release it.

use serde::{Deserialize, Serialize};

use crate::ids::{DeviceId, ModelName, Namespace};
use crate::model::ModelBuild;
use crate::plan::Order;

/// An order to one device, above every plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Override {
    /// The fleet.
    pub namespace: Namespace,
    /// The device.
    pub device: DeviceId,
    /// Order and lifetime.
    #[serde(flatten)]
    pub order: Order,
    /// The models it is about, each with what to do; at most 16.
    pub models: Vec<ModelOverride>,
}

/// What to do about one model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelOverride {
    /// The model.
    pub model: ModelName,
    /// What to do.
    pub action: OverrideAction,
}

/// What a device does instead of following the plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum OverrideAction {
    /// Run exactly this build.
    Pin(Box<ModelBuild>),
    /// Keep what runs now.
    Hold,
    /// Follow the plan again.
    Release,
}
