//! How devices measure, try and download a version.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules::{LONGER_THAN_ZERO, RuleText};
use crate::text::DurationText;

const TIME_OF_DAY: RuleText = (
    "self.matches('^([01][0-9]|2[0-3]):[0-5][0-9]$')",
    "must be a time of day from 00:00 to 23:59, such as 22:30",
);

/// How devices measure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Observe {
    /// Length of a window: devices count in windows and report them. At least `1s`. Default: `1h`. Example: `5m`.
    #[serde(default = "default_window")]
    #[x_kube(validation = LONGER_THAN_ZERO)]
    pub window: DurationText,

    /// Windows after activation that do not count as evidence, because caches are cold, 0 to 1000. Default: `1`.
    #[serde(default = "default_warmup")]
    #[schemars(range(min = 0, max = 1000))]
    pub warmup_windows: i64,

    /// Windows after those in which a device settles, 0 to 1000: they are compared and shown, but no test uses them, because
    /// a change of models can cost a device bad windows whatever the model. Failed devices count at once. Default:
    /// five, and in a stage of fewer windows as many as it has. Example: `12`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub settling_windows: Option<i64>,

    /// Shortest time between two reports of a device. Default: a report after every window during a rollout, and every
    /// two windows afterwards. Example: `6h`, for a slow link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = LONGER_THAN_ZERO)]
    pub report_every: Option<DurationText>,
}

impl Default for Observe {
    fn default() -> Self {
        Self {
            window: default_window(),
            warmup_windows: default_warmup(),
            settling_windows: None,
            report_every: None,
        }
    }
}

/// What a device must prove after it has activated a version, or it goes back to the previous version by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Probation {
    /// Time within which the device must have answered `minPredictions` and must have been in contact with the broker.
    /// Default: `10m`. Example: `1h`.
    #[serde(default = "default_probation")]
    #[x_kube(validation = LONGER_THAN_ZERO)]
    pub timeout: DurationText,

    /// Predictions that the version must have answered on the device, 0 to 1000000. Default: `1`.
    #[serde(default = "default_min_predictions")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub min_predictions: i64,
}

impl Default for Probation {
    fn default() -> Self {
        Self { timeout: default_probation(), min_predictions: default_min_predictions() }
    }
}

/// How devices download a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fetch {
    /// Time over which the downloads are spread: each device starts at its own moment. Default: `0s`, all start at once.
    /// Example: `1h`.
    #[serde(default = "no_spread")]
    pub spread: DurationText,

    /// Largest download speed of one device in bytes per second, 1 to 1000000000. Default: no limit. Example: `65536`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub bytes_per_second: Option<i64>,

    /// Time of day in which devices may download and activate. Devices go back at any time. Default: all day.
    /// Example: `{start: "22:00", end: "05:00"}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<FetchWindow>,
}

impl Default for Fetch {
    fn default() -> Self {
        Self { spread: no_spread(), bytes_per_second: None, window: None }
    }
}

/// A time of day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self.start != self.end", "start and end must differ; leave out the window to allow all day"))]
pub struct FetchWindow {
    /// When it begins, as hours and minutes from 00:00 to 23:59. Required. Example: `22:00`.
    #[schemars(length(max = 5))]
    #[x_kube(validation = TIME_OF_DAY)]
    pub start: String,

    /// When it ends, as hours and minutes. Before `start` means on the next day. Required. Example: `05:00`.
    #[schemars(length(max = 5))]
    #[x_kube(validation = TIME_OF_DAY)]
    pub end: String,

    /// Time zone of the window: `UTC`, because devices do not know their local time. Default: `UTC`.
    #[serde(default)]
    pub timezone: WindowTimezone,
}

/// The time zone of a time of day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum WindowTimezone {
    /// Coordinated universal time.
    #[default]
    #[serde(rename = "UTC")]
    Utc,
}

fn default_window() -> DurationText {
    DurationText::from("1h")
}

fn default_warmup() -> i64 {
    1
}

fn default_probation() -> DurationText {
    DurationText::from("10m")
}

fn default_min_predictions() -> i64 {
    1
}

fn no_spread() -> DurationText {
    DurationText::from("0s")
}
