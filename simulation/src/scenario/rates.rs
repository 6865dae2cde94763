//! How rates change with time, whatever model runs.

use serde::{Deserialize, Serialize};

/// A slow swing of all rates: a sinus over weeks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Season {
    /// Its height: 0.5 swings between 0.5 and 1.5 times the mean.
    pub height: f64,
    /// Its length.
    pub period_windows: u32,
    /// Where in the swing the rollout begins, as a share of the period: 0 at the mean and rising, 0.25 at the top, 0.5 at
    /// the mean and falling.
    pub phase: f64,
}

impl Default for Season {
    /// Eight weeks of hourly windows, and no height.
    fn default() -> Season {
        Season { height: 0.0, period_windows: 8 * 7 * 24, phase: 0.0 }
    }
}

/// The logarithm of a device's rate is an autoregressive process of order one, the same for all its objectives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Autocorrelation {
    /// Correlation between the logarithms in two windows that follow each other: 0.95 lasts for about 20 windows.
    pub per_window: f64,
    /// Standard deviation of the logarithm over time; the mean rate stays. 0: rates do not change.
    pub sigma: f64,
}
