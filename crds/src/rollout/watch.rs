//! What is watched once a version is in production.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules::LONGER_THAN_ZERO;
use crate::text::{Decimal, DurationText};

/// The watch over a version that has succeeded: over all its devices, with and without a hold-back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Watch {
    /// Whether the version is watched once it is in production. Default: `true`.
    #[serde(default = "on")]
    pub enabled: bool,

    /// The alarm budget: on average at most one false alarm in this time, over all that is watched together. At least `1d`.
    /// A longer time finds a change later. Default: `365d`. Example: `90d`.
    #[serde(default = "a_year")]
    #[x_kube(validation = LONGER_THAN_ZERO)]
    pub false_alarm_every: DurationText,

    /// What an alarm does beside the condition `Alarm` and the metrics: `Observe` (nothing more), `Notify` (an Event of type
    /// Warning), `Pause` (the same, and no other rollout of the model starts until the alarm has cleared), `RollBack` (the
    /// version is rolled back), `Retrain` (an Event with the reason `RetrainingWanted`). Default: `Notify`.
    #[serde(default)]
    pub on_alarm: AlarmAction,

    /// Detectors and thresholds by name that raise the alarm as well, at most 4. They are not part of the alarm budget:
    /// docs/detectors.md has their measured run lengths. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 4),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub detectors: Vec<WatchDetector>,
}

/// A detector or a threshold over one sequence of windows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct WatchDetector {
    /// Its name. Example: `errors-by-hour`.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,

    /// What it is: `Adwin`, `Ddm`, `Eddm`, `Hddm`, `Kswin`, `PageHinkley`, `Cusum`, `Ewma`, `ThreeSigma` with their usual
    /// settings; `Above` a share, `Dynamic` (above the mean of the windows before by standard deviations), `Seasonal` (the same
    /// for this hour of the days before), `Percentile` (above one of the windows before), `RateOfChange` (against the window
    /// before). Example: `Seasonal`.
    pub detector: DetectorKind,

    /// Name of the objective whose share of bad devices it watches. Default: the share of devices that are silent. Example:
    /// `error-rate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub objective: Option<String>,

    /// Where a threshold calls: `Above` and `Percentile` a share (`"0.05"`, `"0.99"`), `Dynamic` and `Seasonal` standard
    /// deviations (`"3"`), `RateOfChange` a share of the window before (`"0.5"`). Not for detectors. Default: 3 deviations, the
    /// percentile `0.99`, the change `1`; `Above` needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<Decimal>,
}

/// What a detector is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum DetectorKind {
    /// Two windows of adaptive length.
    Adwin,
    /// Drift detection method, on errors.
    Ddm,
    /// Early drift detection method, on errors.
    Eddm,
    /// Hoeffding's bound on means.
    Hddm,
    /// Kolmogorov and Smirnov on windows.
    Kswin,
    /// Page and Hinkley.
    PageHinkley,
    /// Cumulative sums.
    Cusum,
    /// Exponentially weighted moving average.
    Ewma,
    /// Three standard deviations.
    ThreeSigma,
    /// A share that is given.
    Above,
    /// Standard deviations above the windows before.
    Dynamic,
    /// The same for this hour of the day.
    Seasonal,
    /// A percentile of the windows before.
    Percentile,
    /// A change against the window before.
    RateOfChange,
}

/// What an alarm does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum AlarmAction {
    /// The condition and the metrics, nothing more.
    Observe,
    /// An Event of type Warning.
    #[default]
    Notify,
    /// The same, and no other rollout of the model starts until the alarm has cleared.
    Pause,
    /// The version is rolled back. It is not rejected.
    RollBack,
    /// An Event that asks for a retrained version.
    Retrain,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            enabled: on(),
            false_alarm_every: a_year(),
            on_alarm: AlarmAction::default(),
            detectors: Vec::new(),
        }
    }
}

fn on() -> bool {
    true
}

fn a_year() -> DurationText {
    DurationText::from("365d")
}
