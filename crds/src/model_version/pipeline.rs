//! Which rows the model gets, when its answer is positive, and what is answered without it.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::text::Decimal;

/// Which rows a model gets, and when its answer is positive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pipeline {
    /// Conditions that a row must all meet before the model gets it, at most 16. A row that does not meet them gets the
    /// answer of `fallback`. Default: none, the model gets every row. Example: `[{name: running, feature:
    /// power_kw, op: GreaterThan, value: "0.5"}]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub pre_filters: Vec<PreFilter>,

    /// When an answer is positive (an alarm). Default: none, accuracy, false alarms and missed detections cannot be
    /// objectives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
}

/// One condition on one feature of a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreFilter {
    /// Name of the condition, for reports, 1 to 63 characters. Required. Example: `running`.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,

    /// Name of the feature, 1 to 128 characters. Required. Example: `power_kw`.
    #[schemars(length(min = 1, max = 128))]
    pub feature: String,

    /// How the feature is compared with `value`: `GreaterThan`, `GreaterOrEqual`, `LessThan` or
    /// `LessOrEqual`. Required. Example: `GreaterThan`.
    pub op: Comparison,

    /// The value to compare with, as a decimal number in the unit of the feature. Required. Example: `"0.5"`.
    pub value: Decimal,
}

/// How a feature is compared with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Comparison {
    /// The feature is above the value.
    GreaterThan,
    /// The feature is the value or above.
    GreaterOrEqual,
    /// The feature is below the value.
    LessThan,
    /// The feature is the value or below.
    LessOrEqual,
}

/// When the answer of a model is positive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "self.positiveWhen == 'Label' ? has(self.label) && !has(self.threshold) : has(self.threshold) && \
     !has(self.label)",
    "label must be given with positiveWhen Label and only then; threshold with AtLeast or AtMost and only \
     then"
))]
pub struct Decision {
    /// Name of the output tensor that decides, 1 to 128 characters. Required. Example: `label`.
    #[schemars(length(min = 1, max = 128))]
    pub output: String,

    /// When the answer is positive: `AtLeast` (the output is `threshold` or above), `AtMost` (the output is
    /// `threshold` or below), `Label` (the output is exactly `label`). Required. Example: `Label`.
    pub positive_when: PositiveWhen,

    /// The limit for `AtLeast` and `AtMost`, as a decimal number. Default: none. Example: `"0.85"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<Decimal>,

    /// The value for `Label`. Default: none. Example: `-1`, an outlier of an isolation forest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<i64>,

    /// Name of the output tensor with the confidence. Its highest element counts, for `LowConfidenceRate`. Default: none,
    /// confidence is not measured. Example: `probabilities`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub confidence: Option<String>,
}

/// When an answer is positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum PositiveWhen {
    /// The output is the threshold or above.
    AtLeast,
    /// The output is the threshold or below.
    AtMost,
    /// The output is exactly the label.
    Label,
}

/// What a device answers when the model cannot, or does not get the row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "(self.action == 'Constant') == has(self.answer)",
    "answer must be given with action Constant and only then"
))]
pub struct Fallback {
    /// What the caller gets: `Error` (an error), `Constant` (the values of `answer`). Default: `Error`.
    /// Example: `Constant`.
    #[serde(default)]
    pub action: FallbackAction,

    /// The answer for `Constant`: decimal numbers for the first output tensor, 1 to 64. Default: none.
    /// Example: `["1"]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub answer: Vec<Decimal>,
}

/// What the caller gets when a model does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum FallbackAction {
    /// An error.
    #[default]
    Error,
    /// A fixed answer.
    Constant,
}
