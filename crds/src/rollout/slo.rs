//! A service level objective: a metric, a limit, and what a breach does.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::metric::{
    self, Metric, bound_fits_metric, feature_fits_metric, labels_fit_metric, poisson_fits_metric,
};
use crate::rules::DNS_LABEL;
use crate::text::{Bound, DurationText, Percent};

/// A limit that a version must meet, and what happens when it does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = bound_fits_metric(), validation = feature_fits_metric(), validation = labels_fit_metric(), validation = poisson_fits_metric())]
pub struct Slo {
    /// Name of the objective, unique in the rollout: a DNS label of at most 63 characters. Required. Example:
    /// `errors`.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = DNS_LABEL)]
    pub name: String,

    /// What is measured; the page of metrics (docs/metrics.md) says how. Required. Example: `ErrorRate`.
    #[schemars(schema_with = "metric::schema")]
    pub metric: Metric,

    /// The input feature, only for metrics of features such as `FeaturePsi`, 1 to 128 characters. Default: the feature with
    /// the highest value. Example: `vibration_rms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub feature: Option<String>,

    /// The limit: the largest value allowed; the smallest for metrics of which more is better, such as `Accuracy` and
    /// `Availability`. A duration for a latency, else a percentage or a decimal number. Required. Example: `500ms`, `1%` or `0.2`.
    pub threshold: Bound,

    /// What the limit is relative to: `None` (it is the limit itself), `Baseline` (it is a share of the value in the
    /// version's baseline: `95%` of a baseline accuracy of 0.98 is 0.931). Default: `None`.
    #[serde(default)]
    pub relative_to: RelativeTo,

    /// Share of a device's windows that may be outside the limit before the device counts as bad, as a percentage.
    /// Default: `5%`. Example: `1%`.
    #[serde(default = "default_allowance")]
    pub allowance: Percent,

    /// What a breach does: `RollBack` (the version is rolled back), `Pause` (the rollout pauses until the objective is met
    /// again), `Observe` (the status shows it, and nothing else happens). Default: `RollBack`.
    #[serde(default)]
    pub on_breach: BreachAction,

    /// What shows a breach: `Statistical` (a test within the rollout's `errorBudget`), `Plain` (the merged value of the
    /// devices with the version is outside the limit in `forWindows` windows in a row; this has no bound on false
    /// rollbacks), or `Poisson` (for metrics by year: exact tests of the windows in which something came against the limit by
    /// device and year. The rollout is taken back when the rate is above the limit and above that of the other devices, and a
    /// stage passes only when the rate is shown to be below it; `kubectl modelfleet plan` says how long that takes. It spends
    /// nothing of the error budget). Default: `Statistical`.
    #[serde(default)]
    pub judged_by: JudgedBy,

    /// Windows in a row that must be outside the limit, where it is judged by `Plain`, 1 to 1000. Default: `3`.
    #[serde(default = "default_for_windows")]
    #[schemars(range(min = 1, max = 1000))]
    pub for_windows: i64,

    /// How long after a prediction its label is known, for metrics against ground truth. The stage's looks at this objective
    /// and its deadline come so much later. Default: none, labels come at once. Example: `72h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_delay: Option<DurationText>,

    /// Predictions that a window must hold before it counts, or labels for metrics against ground truth, 1 to
    /// 1000000000. Default: `1`. Example: `30`.
    #[serde(default = "default_min_samples")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub min_samples: i64,

    /// Where too few windows are outside the limit to rule out any rise, the stage passes on exposure, with the verdict
    /// `Exposed`. This many windows of devices with the version, those of earlier stages included, must have been counted
    /// before, 0 to 1000000000000. Default: 0. Example: `300000` rules out a share of bad windows above 0.001% if none was bad.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000_000_000_i64))]
    pub min_exposure: Option<i64>,

    /// The same for windows outside the limit: this many must have been counted since the stage opened, of all devices
    /// together, before the stage passes on exposure, 0 to 1000000000. Default: 0. Example: `3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub min_events: Option<i64>,
}

/// What a limit is relative to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RelativeTo {
    /// Nothing: it is the limit itself.
    #[default]
    None,
    /// The value in the version's baseline.
    Baseline,
}

/// What a breach does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum BreachAction {
    /// The version is rolled back.
    #[default]
    RollBack,
    /// The rollout pauses until the objective is met again.
    Pause,
    /// The status shows it, and nothing else happens.
    Observe,
}

/// What shows a breach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum JudgedBy {
    /// A test with the rollout's error budget.
    #[default]
    Statistical,
    /// The merged value in several windows in a row.
    Plain,
    /// Exact Poisson tests against a limit by device and year.
    Poisson,
}

/// Share of windows outside the limit that an objective allows by default.
pub(super) fn default_allowance() -> Percent {
    Percent::from("5%")
}

/// Windows in a row that `Plain` takes by default.
pub(super) fn default_for_windows() -> i64 {
    3
}

/// Predictions that a window needs by default.
pub(super) fn default_min_samples() -> i64 {
    1
}
