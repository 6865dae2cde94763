//! The interface of a model: its input and output tensors.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The input and output tensors of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelSignature {
    /// Input tensors, at most 64. Default: none. Example: `[{name: features, datatype: Fp32,
    /// shape: [-1, 5]}]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub inputs: Vec<Tensor>,

    /// Output tensors, at most 64. Default: none. Example: `[{name: label, datatype: Int64,
    /// shape: [-1, 1]}]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub outputs: Vec<Tensor>,
}

impl ModelSignature {
    /// Whether nothing is declared.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inputs.is_empty() && self.outputs.is_empty()
    }
}

/// One tensor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tensor {
    /// Name as in the model file, 1 to 128 characters. Required. Example: `features`.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,

    /// Type of the elements: `Bool`, `Int8`, `Int16`, `Int32`, `Int64`, `Uint8`, `Uint16`, `Uint32`,
    /// `Uint64`, `Fp16`, `Bf16`, `Fp32`, `Fp64` or `String`. Required. Example: `Fp32`.
    pub datatype: Datatype,

    /// Size of each dimension, outermost first, at most 8; -1 means any size. Default: empty, a single value.
    /// Example: `[-1, 5]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(range(min = -1)), extend("x-kubernetes-list-type" = "atomic"))]
    pub shape: Vec<i64>,
}

/// Type of the elements of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Datatype {
    /// True or false.
    Bool,
    /// Signed, 8 bits.
    Int8,
    /// Signed, 16 bits.
    Int16,
    /// Signed, 32 bits.
    Int32,
    /// Signed, 64 bits.
    Int64,
    /// Unsigned, 8 bits.
    Uint8,
    /// Unsigned, 16 bits.
    Uint16,
    /// Unsigned, 32 bits.
    Uint32,
    /// Unsigned, 64 bits.
    Uint64,
    /// Floating point, 16 bits.
    Fp16,
    /// Floating point, 16 bits, with the range of 32.
    Bf16,
    /// Floating point, 32 bits.
    Fp32,
    /// Floating point, 64 bits.
    Fp64,
    /// Text.
    String,
}
