//! What a device must have to run a model.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules::LABEL_KEYS;
use crate::selector::label_map;

/// What a device must have to run a model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Requirements {
    /// Inference engines that can run the model, any of `OnnxRuntime` and `Rten`. Default: empty, any engine.
    /// Example: `[OnnxRuntime]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4), extend("x-kubernetes-list-type" = "set"))]
    pub engine: Vec<Engine>,

    /// Memory in bytes that the loaded model needs, at most 64 GiB. Default: not checked. Example:
    /// `67108864`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 68_719_476_736_i64))]
    pub memory_bytes: Option<i64>,

    /// Labels that a device must have with exactly this value, at most 16. Default: none. Example: `{arch:
    /// arm64}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "label_map")]
    #[x_kube(validation = LABEL_KEYS)]
    pub device_labels: BTreeMap<String, String>,
}

impl Requirements {
    /// Whether there are no requirements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.engine.is_empty() && self.memory_bytes.is_none() && self.device_labels.is_empty()
    }
}

/// An inference engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Engine {
    /// ONNX Runtime: every operator, tree ensembles included.
    OnnxRuntime,
    /// rten: small and pure Rust, neural networks.
    Rten,
}

/// An operator set that a model was exported with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Opset {
    /// Name of the operator set, 1 to 128 characters. Default: `ai.onnx`. Example: `ai.onnx.ml`.
    #[serde(default = "onnx_domain")]
    #[schemars(length(min = 1, max = 128))]
    pub domain: String,

    /// Version of the operator set, 1 to 1000. Required. Example: `17`.
    #[schemars(range(min = 1, max = 1000))]
    pub version: i64,
}

fn onnx_domain() -> String {
    "ai.onnx".to_owned()
}
