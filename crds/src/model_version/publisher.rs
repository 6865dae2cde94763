//! Signatures of a model file by its publishers.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A signature of the model file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PublisherSignature {
    /// Name of the key: 1 to 64 letters, digits, '.', '_' and '-'. Required. Example: `6A1C9F03E5B7D284`.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = (
        "self.matches('^[A-Za-z0-9._-]+$')",
        "must be letters, digits, '.', '_' and '-' only, such as 6A1C9F03E5B7D284"
    ))]
    pub key_id: String,

    /// Format of the signature: `Minisign`, or `Dsse` (an in-toto statement in a DSSE envelope). Default: `Minisign`.
    #[serde(default)]
    pub format: SignatureFormat,

    /// The signature: the text of a minisign file or the JSON of a DSSE envelope, in base64, at most 2048 characters. Required.
    /// Example: `dW50cnVzdGVkIGNvbW1lbnQ6IHNpZ25hdHVyZQ==`.
    #[schemars(length(min = 4, max = 2048))]
    #[x_kube(validation = (
        "self.matches('^[A-Za-z0-9+/]+={0,2}$')",
        "must be base64 text on one line: letters, digits, '+' and '/', ending in at most two '='"
    ))]
    pub value: String,
}

/// Format of a signature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum SignatureFormat {
    /// Ed25519 in the format of minisign.
    #[default]
    Minisign,
    /// Ed25519 over an in-toto statement in a DSSE envelope.
    Dsse,
}
