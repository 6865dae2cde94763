//! Known inputs with the outputs that a model must give.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::text::{Decimal, Reading};

/// One known input with the output that the model must give on every device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SelfTestCase {
    /// Values of the input tensors, 1 to 16 tensors. Required. Example: `[{name: features, values: ["0.1",
    /// "7"]}]`.
    #[schemars(
        length(min = 1, max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub inputs: Vec<TensorValues>,

    /// Values that the output tensors must have, 1 to 16 tensors; other outputs are not compared. Required.
    /// Example: `[{name: label, values: ["1"]}]`.
    #[schemars(
        length(min = 1, max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub outputs: Vec<TensorValues>,

    /// Largest difference allowed for each output value, as a decimal number from 0 up, because processors round
    /// differently. Default: `"0.0001"`. Example: `"0.01"`.
    #[serde(default = "default_tolerance")]
    #[x_kube(validation = ("!self.startsWith('-')", "must not be negative; for example 0.0001"))]
    pub tolerance: Decimal,
}

/// The values of one tensor: numbers or texts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "has(self.values) != has(self.texts)",
    "must have either values (numbers) or texts, such as values: [\"0.85\", \"-1\"]"
))]
pub struct TensorValues {
    /// Name of the tensor, 1 to 128 characters. Required. Example: `features`.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,

    /// Values in row order, as decimal numbers, or `NaN` for a missing value, 1 to 4096. Default: none, for a
    /// tensor of texts. Example: `["0.85", "-1", "1.5e-7", "NaN"]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 4096), extend("x-kubernetes-list-type" = "atomic"))]
    pub values: Vec<Reading>,

    /// Values in row order of a tensor of texts, 1 to 1024, each of at most 256 characters. Default: none, for a tensor
    /// of numbers. Example: `["centrifugal"]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 1024),
        inner(length(max = 256)),
        extend("x-kubernetes-list-type" = "atomic")
    )]
    pub texts: Vec<String>,
}

fn default_tolerance() -> Decimal {
    Decimal::from("0.0001")
}
