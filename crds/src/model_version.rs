//! `ModelVersion`: one immutable build of a model.

// Columns of one type are no mistake.
#![allow(clippy::duplicated_attributes)]

mod artifact;
mod baseline;
mod lineage;
mod pipeline;
mod publisher;
mod requires;
mod self_test;
mod signature;
mod status;

pub use artifact::{Artifact, DetailsFile, ModelFormat};
pub use baseline::{Baseline, BaselineMetric, ConfidenceBaseline, FeatureBaseline, MissingPolicy};
pub use lineage::Lineage;
pub use pipeline::{Comparison, Decision, Fallback, FallbackAction, Pipeline, PositiveWhen, PreFilter};
pub use publisher::{PublisherSignature, SignatureFormat};
pub use requires::{Engine, Opset, Requirements};
pub use self_test::{SelfTestCase, TensorValues};
pub use signature::{Datatype, ModelSignature, Tensor};
pub use status::{ModelVersionStatus, ProductionScope, Rejection, VersionStage};

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::rules::{DNS_LABEL, SEMVER};

/// What was built, where its file is, what it needs, and how it behaved in training. The whole spec is immutable:
/// register a new version to change it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "modelfleet.io",
    version = "v1alpha1",
    kind = "ModelVersion",
    namespaced,
    status = "ModelVersionStatus",
    shortname = "mv",
    category = "modelfleet",
    derive = "PartialEq",
    doc = "One immutable build of a machine-learning model: its file, its interface, its baseline.",
    selectable = ".spec.model",
    selectable = ".spec.version",
    printcolumn(name = "Model", type_ = "string", json_path = ".spec.model"),
    printcolumn(name = "Version", type_ = "string", json_path = ".spec.version"),
    printcolumn(name = "Stage", type_ = "string", json_path = ".status.stage"),
    printcolumn(name = "Devices", type_ = "string", json_path = ".status.devices"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Digest", type_ = "string", json_path = ".spec.artifact.digest", priority = 1),
    printcolumn(name = "Size", type_ = "integer", json_path = ".spec.artifact.sizeBytes", priority = 1)
)]
#[x_kube(validation = ("self == oldSelf", "spec is immutable: register a new version instead"))]
pub struct ModelVersionSpec {
    /// Name of the model that this is a version of: a DNS label of at most 63 characters. Each device has at most one
    /// version of a model in production. Required. Example: `pump-anomaly`.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = DNS_LABEL)]
    pub model: String,

    /// Semantic version of this build, at most 64 characters. Required. Example: `1.4.0`.
    #[schemars(length(min = 5, max = 64))]
    #[x_kube(validation = SEMVER)]
    pub version: String,

    /// The model file: where it is, and its digest and size. Required.
    pub artifact: Artifact,

    /// The input and output tensors of the model. Default: empty, devices go by the model file.
    #[serde(default, skip_serializing_if = "ModelSignature::is_empty")]
    pub signature: ModelSignature,

    /// The operator sets that the model was exported with, at most 16. Default: none, devices go by the model file.
    /// Example: `[{domain: ai.onnx, version: 17}]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["domain"])
    )]
    pub opsets: Vec<Opset>,

    /// What a device must have to run the model. A device that lacks it is counted as incompatible, not as failed.
    /// Default: no requirements.
    #[serde(default, skip_serializing_if = "Requirements::is_empty")]
    pub requires: Requirements,

    /// Known inputs with the outputs that the model must give on a device before the device uses it, at most 16.
    /// Default: none, a model that loads is used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub self_test: Vec<SelfTestCase>,

    /// How the model and its input data looked in training. Drift and limits with `relativeTo: Baseline` are measured
    /// against it. Default: none, objectives that need it are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Baseline>,

    /// Which rows the model gets, and when its answer is positive (an alarm). Default: the model gets every row, and no
    /// answer counts as positive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<Pipeline>,

    /// What a device answers when the model cannot, or when `preFilters` keep a row from it. Default: an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,

    /// Where the model comes from, for people and audits; nothing else uses it. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lineage: Option<Lineage>,

    /// Signatures of the model file by its publishers, at most 8. A controller or device that has publishers' keys
    /// requires a signature by one of them; without keys it checks no signature. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["keyId"])
    )]
    pub signatures: Vec<PublisherSignature>,
}
