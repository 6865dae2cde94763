//! A service level objective: a metric, a bound, and what a breach does.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::metric::Metric;
use crate::rules::{DNS_LABEL, RuleText};
use crate::text::{Bound, Percent};

const BOUND_FITS_METRIC: RuleText = (
    "(self.metric.startsWith('Latency') && self.relativeTo == 'None') == self.threshold.endsWith('s')",
    "threshold must be a time such as 500ms for a latency, and a percent or decimal number such as 1% or \
     0.01 for every other metric and with relativeTo Baseline",
);
const FEATURE_FITS_METRIC: RuleText = (
    "!has(self.feature) || self.metric in ['FeaturePsi', 'FeatureKl']",
    "feature is allowed with metric FeaturePsi or FeatureKl only",
);

/// A bound that a version must keep, and what happens when it does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = BOUND_FITS_METRIC, validation = FEATURE_FITS_METRIC)]
pub struct Slo {
    /// Name of the objective, unique in the rollout: a DNS label of at most 63 characters. Required. Example:
    /// `errors`.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = DNS_LABEL)]
    pub name: String,

    /// What is measured: `ErrorRate`, `TimeoutRate`, `LatencyP50`, `LatencyP95`, `LatencyP99`,
    /// `FalsePositiveRate`, `MissedDetectionRate`, `Accuracy`, `LowConfidenceRate`, `MissingFeatureRate`,
    /// `OutOfRangeRate`, `FeaturePsi`, `FeatureKl`, `CpuUsage`, `MemoryUsage` or `Availability`. Required.
    /// Example: `ErrorRate`.
    pub metric: Metric,

    /// The input feature, for `FeaturePsi` and `FeatureKl` only, 1 to 128 characters. Default: the feature
    /// that is worst. Example: `vibration_rms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub feature: Option<String>,

    /// The bound: the largest value allowed, for `Accuracy` and `Availability` the smallest. A time for a
    /// latency, else a percent or a decimal number. Required. Example: `500ms`, `1%` or `0.2`.
    pub threshold: Bound,

    /// What the bound is relative to: `None` (it is the value itself), `Baseline` (it is a share of the value
    /// in the version's baseline, so that `95%` of a baseline accuracy of 0.98 is 0.931). Default: `None`.
    #[serde(default)]
    pub relative_to: RelativeTo,

    /// Share of windows of devices that may be beyond the bound without a breach, as a percent: a single
    /// device in a single hour is no breach. Default: `5%`. Example: `1%`.
    #[serde(default = "default_allowance")]
    pub allowance: Percent,

    /// What a breach does: `RollBack` (takes the version back), `Pause` (stands still until a person
    /// decides), `Observe` (is only written down). Default: `RollBack`.
    #[serde(default)]
    pub on_breach: BreachAction,

    /// What proves a breach: `Statistical` (a test with the rollout's error budget), `Plain` (the fleet's
    /// merged value is beyond the bound `forWindows` times in a row, which guarantees no error rate).
    /// Default: `Statistical`.
    #[serde(default)]
    pub evidence: Evidence,

    /// Windows in a row that must be beyond the bound, for `Plain` evidence, 1 to 1000. Default: `3`.
    #[serde(default = "default_for_windows")]
    #[schemars(range(min = 1, max = 1000))]
    pub for_windows: i64,

    /// Predictions (for metrics against ground truth: labels) that a window of a device needs to count.
    /// Default: `1`. Example: `30`.
    #[serde(default = "default_min_samples")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub min_samples: i64,
}

/// What a bound is relative to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RelativeTo {
    /// Nothing: it is the value itself.
    #[default]
    None,
    /// The value in the version's baseline.
    Baseline,
}

/// What a breach does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum BreachAction {
    /// Takes the version back.
    #[default]
    RollBack,
    /// Stands still until a person decides.
    Pause,
    /// Is only written down.
    Observe,
}

/// What proves a breach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Evidence {
    /// A test with the rollout's error budget.
    #[default]
    Statistical,
    /// The merged value, so many windows in a row.
    Plain,
}

/// Share of windows beyond the bound that an objective allows when it says nothing.
pub(super) fn default_allowance() -> Percent {
    Percent::from("5%")
}

/// Windows in a row that plain evidence takes when an objective says nothing.
pub(super) fn default_for_windows() -> i64 {
    3
}

/// Predictions that a window needs when an objective says nothing.
pub(super) fn default_min_samples() -> i64 {
    1
}
