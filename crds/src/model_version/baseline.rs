//! How a model and its input data looked in training.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::metric::{self, Metric};
use crate::rules::RuleText;
use crate::text::Decimal;

// CEL has no index in a list of any length; `isSorted` is what looks at neighbours.
const EDGES_RISE: RuleText = (
    "!has(self.edges) || self.edges.map(edge, double(edge)).isSorted()",
    "edges must rise from the first to the last, such as [\"0.1\", \"0.5\"]",
);
const RANGE_IN_ORDER: RuleText = (
    "!has(self.expectedMin) || !has(self.expectedMax) || double(self.expectedMin) <= \
     double(self.expectedMax)",
    "expectedMin must not be above expectedMax",
);

/// How a model and its input data looked in training.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Baseline {
    /// Values of metrics in training or in acceptance tests, at most 16. A limit with `relativeTo: Baseline` is relative
    /// to them. Default: none. Example: `[{name: Accuracy, value: "0.97"}]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub metrics: Vec<BaselineMetric>,

    /// Range and distribution of each input feature, at most 128. Default: none, no range
    /// and no drift is checked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 128),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub features: Vec<FeatureBaseline>,

    /// Distribution of the model's confidence. Default: none, `LowConfidenceRate` cannot be
    /// an objective.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<ConfidenceBaseline>,

    /// Number of training rows behind the distributions. Default: not known. Example: `120000`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub rows: Option<i64>,
}

/// The value of one metric in training.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BaselineMetric {
    /// The metric, one of those that an objective can name. Required. Example: `Accuracy`.
    #[schemars(schema_with = "metric::schema")]
    pub name: Metric,

    /// Its value as a decimal number: a ratio from 0 to 1, or milliseconds for a latency. Required. Example:
    /// `"0.97"`.
    pub value: Decimal,
}

/// The range and the distribution of one input feature in training.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = EDGES_RISE, validation = RANGE_IN_ORDER)]
#[x_kube(validation = (
    "has(self.edges) == has(self.counts) && (!has(self.edges) || size(self.counts) == size(self.edges) + 1)",
    "edges and counts must be given together, and counts must have exactly one entry more than edges"
))]
pub struct FeatureBaseline {
    /// Name of the feature, 1 to 128 characters. Required. Example: `vibration_rms`.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,

    /// Smallest expected value, as a decimal number in the unit of the feature. A smaller value counts as out of
    /// range. Default: no lower bound. Example: `"0"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_min: Option<Decimal>,

    /// Largest expected value, as a decimal number in the unit of the feature. A larger value counts as out of
    /// range. Default: no upper bound. Example: `"35.5"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_max: Option<Decimal>,

    /// Inner borders of the histogram's bins as decimal numbers, rising, at most 64. A value on a border
    /// belongs to the bin above it. Default: none, the drift of this feature is not measured.
    /// Example: `["0.1", "0.5"]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub edges: Vec<Decimal>,

    /// Number of training rows in each bin: one more than `edges`, because the first and the last bin are
    /// open. Default: none. Example: `[120, 5000, 80]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 65), inner(range(min = 0)), extend("x-kubernetes-list-type" = "atomic"))]
    pub counts: Vec<i64>,

    /// How a missing value of this feature is treated: `Refused` (it counts as missing), `Allowed` (it does not, because
    /// the model was trained with gaps). Default: `Refused`. Example: `Allowed`.
    #[serde(default)]
    pub missing: MissingPolicy,
}

/// How a missing value of a feature is treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum MissingPolicy {
    /// It counts as missing.
    #[default]
    Refused,
    /// It does not count, because the model was trained with gaps.
    Allowed,
}

/// The distribution of a model's confidence in training.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = EDGES_RISE)]
#[x_kube(validation = (
    "size(self.counts) == size(self.edges) + 1",
    "counts must have exactly one entry more than edges"
))]
pub struct ConfidenceBaseline {
    /// Inner borders of the histogram's bins as decimal numbers, rising, 1 to 64. Required. Example: `["0.5",
    /// "0.9"]`.
    #[schemars(length(min = 1, max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub edges: Vec<Decimal>,

    /// Number of training rows in each bin: one more than `edges`. Required. Example: `[40, 900, 12000]`.
    #[schemars(length(min = 2, max = 65), inner(range(min = 0)), extend("x-kubernetes-list-type" = "atomic"))]
    pub counts: Vec<i64>,

    /// Answers with less confidence than this count as low, a decimal number. Default: the highest edge below which at
    /// most 5% of the training rows lie. Example: `"0.6"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low_below: Option<Decimal>,
}
