//! Where a model comes from.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Where a model comes from, for people and audits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lineage {
    /// The data that the model was trained with, as a name or a URI, at most 1024 characters. Default: not given. Example: `s3://data/pumps/2026-06`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub training_data: Option<String>,

    /// Settings of the training, at most 64 with values of at most 256 characters. Default: none. Example:
    /// `{n_estimators: "200", contamination: "0.01"}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "hyperparameter_map")]
    pub hyperparameters: BTreeMap<String, String>,

    /// Commit of the training code, 7 to 64 lower-case hexadecimal digits. Default: not given. Example:
    /// `3f2a91c8d0b14e5f6a7b8c9d0e1f2a3b4c5d6e7f`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = (
        "self.matches('^[0-9a-f]{7,64}$')",
        "must be 7 to 64 lower-case hexadecimal digits, such as 3f2a91c"
    ))]
    pub git_commit: Option<String>,

    /// Who or what built the model, at most 253 characters. Default: not given. Example: `training-pipeline`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub created_by: Option<String>,

    /// Keywords, at most 32 of at most 63 characters. Default: none. Example: `[winter,
    /// v2-features]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub tags: Vec<String>,
}

fn hyperparameter_map(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": { "type": "string", "maxLength": 256 },
    })
}
