//! The file of a model.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The model file: where it is, and its digest and size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// Where the file is, at most 2048 characters: a URI that starts with s3://, gs://, az://, http://, https:// or
    /// file://. Devices download from http://, https:// and file:// only. Required. Example: `s3://models/pump-anomaly/1.4.0/model.onnx`.
    #[schemars(length(min = 8, max = 2048))]
    #[x_kube(validation = (
        "self.matches('^(s3|gs|az|http|https|file)://[^ ]+$')",
        "must be a URI that starts with s3://, gs://, az://, http://, https:// or file:// and has no spaces"
    ))]
    pub uri: String,

    /// SHA-256 digest of the file, in lower-case hexadecimal after `sha256:`. A device never runs a file with another
    /// digest. Required. Example:
    /// `sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08`.
    #[schemars(length(max = 71))]
    #[x_kube(validation = (
        "self.matches('^sha256:[0-9a-f]{64}$')",
        "must be sha256: followed by 64 lower-case hexadecimal digits"
    ))]
    pub digest: String,

    /// Size of the file in bytes, from 1 to 8589934592 (8 GiB). A device checks that it has so much free space before it
    /// downloads. Required. Example: `1843200`.
    #[schemars(range(min = 1, max = 8_589_934_592_i64))]
    pub size_bytes: i64,

    /// Format of the file: `Onnx`. Default: `Onnx`.
    #[serde(default)]
    pub format: ModelFormat,

    /// Version of the file format (the IR version of ONNX). A device whose engines do not support it is counted as
    /// incompatible before it downloads. Default: not checked before the download. Example: `10`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub ir_version: Option<i64>,

    /// A file that repeats `selfTest` and `baseline` for devices, written by `kubectl modelfleet register` when they are
    /// large. Devices then download it beside the model, instead of getting both with each plan; agents that know no such
    /// files count the version as incompatible. Default: none, both are part of the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<DetailsFile>,
}

/// The file with the self-test and the baseline as devices read them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DetailsFile {
    /// Where the file is, at most 2048 characters: a URI as in `artifact.uri`. Required. Example:
    /// `https://models.example.com/pump-anomaly/1.4.0/details.json`.
    #[schemars(length(min = 8, max = 2048))]
    #[x_kube(validation = (
        "self.matches('^(s3|gs|az|http|https|file)://[^ ]+$')",
        "must be a URI that starts with s3://, gs://, az://, http://, https:// or file:// and has no spaces"
    ))]
    pub uri: String,

    /// SHA-256 digest of the file, in lower-case hexadecimal after `sha256:`. Required. Example:
    /// `sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08`.
    #[schemars(length(max = 71))]
    #[x_kube(validation = (
        "self.matches('^sha256:[0-9a-f]{64}$')",
        "must be sha256: followed by 64 lower-case hexadecimal digits"
    ))]
    pub digest: String,

    /// Size of the file in bytes, from 1 to 1048576 (1 MiB). Required. Example: `61440`.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub size_bytes: i64,
}

/// Format of a model file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ModelFormat {
    /// Open Neural Network Exchange.
    #[default]
    Onnx,
}
