//! Which devices: by the labels that they report.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::rules::LABEL_KEYS;

/// Selects devices by the labels that they report. All conditions must hold; an empty selector selects all devices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceSelector {
    /// Labels that a device must have with exactly this value. At most 16. Default: none. Example: `{site:
    /// north}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "label_map")]
    #[x_kube(validation = LABEL_KEYS)]
    pub match_labels: BTreeMap<String, String>,

    /// Conditions on labels, all of which must hold. At most 16. Default: none. Example:
    /// `[{key: site, operator: In, values: [north, south]}]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub match_expressions: Vec<LabelExpression>,
}

/// One condition on one label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
    "values must hold at least one value with operator In or NotIn, and none with Exists or DoesNotExist"
))]
pub struct LabelExpression {
    /// The label key, 1 to 317 characters. Required. Example: `site`.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,

    /// How the label is compared: `In` (its value is one of `values`), `NotIn` (it is missing, or its value is none of
    /// `values`), `Exists` (it has any value), `DoesNotExist` (it is missing). Required. Example: `In`.
    pub operator: LabelOperator,

    /// Values for `In` and `NotIn`, at most 16 of at most 63 characters. Default: none. Example: `[north,
    /// south]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 63)), extend("x-kubernetes-list-type" = "atomic"))]
    pub values: Vec<String>,
}

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum LabelOperator {
    /// The label's value is one of the values.
    In,
    /// The label is missing, or its value is none of the values.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
}

/// The schema of a small map of labels. Values of a map cannot be bounded by attributes.
pub(crate) fn label_map(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": { "type": "string", "maxLength": 63 },
    })
}
