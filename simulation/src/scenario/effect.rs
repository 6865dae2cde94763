//! What the candidate changes.

use serde::{Deserialize, Serialize};

use super::{LabelValues, PerSli, one};

/// What the candidate changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Effect {
    /// Rates with the candidate as a multiple of those without, by objective; default 1.
    pub rate_ratio: PerSli,
    /// Share of the devices that are affected at all.
    pub affected_share: f64,
    /// Whether of the devices that a stage draws exactly that share is affected, rounded to whole devices; otherwise
    /// each device is, with that chance. Strata with an effect of their own are left to chance.
    pub exact_share: bool,
    /// Windows from activation until the rates change.
    pub onset_windows: u32,
    /// Whole windows after an activation in which a device pays for the change, whatever the model: cold caches, a reload.
    /// Devices that keep their model do not pay.
    pub swap_cost_windows: u32,
    /// Chance that such a window is bad, for each objective; default 1.
    pub swap_cost_severity: f64,
    /// The hours of the day in which the rates change; otherwise they do at any time.
    pub hours: Option<Hours>,
    /// Share of the devices on which the candidate does not start, or crashes.
    pub hard_failure_share: f64,
    /// Share of the devices that cannot run the candidate, and find that out when they are to take it.
    pub incompatible_share: f64,
    /// Share of the devices that report nothing any more once the candidate runs.
    pub silent_share: f64,
    /// Strata in which it is different; the first whose labels a device carries counts.
    pub strata: Vec<StratumEffect>,
}

impl Default for Effect {
    fn default() -> Effect {
        Effect {
            rate_ratio: PerSli::default(),
            affected_share: 1.0,
            exact_share: false,
            onset_windows: 0,
            swap_cost_windows: 0,
            swap_cost_severity: 1.0,
            hours: None,
            hard_failure_share: 0.0,
            incompatible_share: 0.0,
            silent_share: 0.0,
            strata: Vec::new(),
        }
    }
}

/// Hours of the day, from 0 to 23; windows count by the hour in which they begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hours {
    /// The first one.
    pub from: u32,
    /// The first one that is no longer among them; before `from` where midnight lies between.
    pub to: u32,
}

impl Hours {
    /// Whether an hour of the day is among them.
    #[must_use]
    pub fn contains(&self, hour: u32) -> bool {
        if self.from < self.to {
            (self.from..self.to).contains(&hour)
        } else {
            hour >= self.from || hour < self.to
        }
    }
}

/// What the candidate changes on devices with these labels, instead of what it changes on the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StratumEffect {
    /// The labels.
    pub labels: LabelValues,
    /// As [`Effect::rate_ratio`].
    #[serde(default)]
    pub rate_ratio: PerSli,
    /// As [`Effect::affected_share`].
    #[serde(default = "one")]
    pub affected_share: f64,
    /// As [`Effect::hard_failure_share`].
    #[serde(default)]
    pub hard_failure_share: f64,
    /// As [`Effect::incompatible_share`].
    #[serde(default)]
    pub incompatible_share: f64,
    /// As [`Effect::silent_share`].
    #[serde(default)]
    pub silent_share: f64,
}
