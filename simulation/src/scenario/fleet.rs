//! The devices under the model that they have: how many, how alike, and when they are out of reach.

use serde::{Deserialize, Serialize};

use super::rates::{Autocorrelation, Season};
use super::{LabelValues, Liars, PerSli, one};

/// The devices under the model that they have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Fleet {
    /// How many.
    pub devices: u64,
    /// Kinds of devices by label; empty: one kind without labels.
    pub strata: Vec<StratumShare>,
    /// Spread between devices: standard deviation of the logarithm of their rates.
    pub sigma: f64,
    /// Bad events of a device and window, on average over the fleet, by objective.
    pub base_rate: PerSli,
    /// Bad events that come together, on average.
    pub burst: f64,
    /// Height of the daily rhythm of the rates: 0.8 swings between 0.2 and 1.8 times the mean.
    pub rhythm: f64,
    /// Height of the weekly rhythm, in the same way; it is multiplied with the daily one.
    pub weekly_rhythm: f64,
    /// A slow swing of all rates over weeks.
    pub season: Season,
    /// Growth of all rates from week to week: 1.1 means 10 % more each week, before and during the rollout; 1: none.
    pub trend_per_week: f64,
    /// Heavy tail of the rates of devices: each rate is multiplied with a Pareto factor of this index and of mean 1. The
    /// nearer to 1, the heavier; 0: no such factor.
    pub rate_tail: f64,
    /// Bad and good times of single devices, which outlast a window.
    pub autocorrelation: Autocorrelation,
    /// How far bad windows of several objectives coincide: of the objective with the lowest rate this share of the bad
    /// windows is bad in all others too; 0: they coincide by chance only.
    pub shared_bad: f64,
    /// Devices that do not tell the truth.
    pub liars: Liars,
    /// Share of the devices that are replaced by new ones in a day.
    pub churn_per_day: f64,
    /// Whether what a device said last outlives it, as a broker's retained messages do: then a device that left stays
    /// known, out of reach for good, and the new one comes beside it. Otherwise it is forgotten at once.
    pub leavers_stay: bool,
    /// When devices are out of reach.
    pub offline: Offline,
    /// Devices that are bad whatever runs on them.
    pub broken: Broken,
    /// Windows that devices have lived through before the rollout.
    pub history_windows: u32,
    /// Windows that a device remembers of the model it had first, those since the rollout began included; 0: all.
    /// Above 0 a device that goes on with that model loses a window of its past for each that it adds once its memory
    /// is full, while one with the candidate keeps its past. The shipped agent bounds the two apart so that this does
    /// not happen; the number shows what the judge does where it happens.
    pub memory_windows: u32,
    /// Predictions of a device in a window, for objectives that are judged by `Plain`.
    pub predictions_per_window: u32,
}

impl Default for Fleet {
    fn default() -> Fleet {
        Fleet {
            devices: 200,
            strata: Vec::new(),
            sigma: 1.0,
            base_rate: PerSli::default(),
            burst: 1.0,
            rhythm: 0.0,
            weekly_rhythm: 0.0,
            season: Season::default(),
            trend_per_week: 1.0,
            rate_tail: 0.0,
            autocorrelation: Autocorrelation::default(),
            shared_bad: 0.0,
            liars: Liars::default(),
            churn_per_day: 0.0,
            leavers_stay: false,
            offline: Offline::default(),
            broken: Broken::default(),
            history_windows: 600,
            memory_windows: 0,
            predictions_per_window: 100,
        }
    }
}

/// A kind of devices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StratumShare {
    /// Its labels.
    pub labels: LabelValues,
    /// Its share of the fleet; shares are relative to their sum.
    pub share: f64,
    /// Its rates as a multiple of the fleet's.
    #[serde(default = "one")]
    pub rate_factor: f64,
}

/// Devices that are bad whatever runs on them, such as those with a broken sensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Broken {
    /// Their share of the fleet.
    pub share: f64,
    /// Chance that one of their windows is bad.
    pub severity: f64,
    /// From when on, in windows counted from the start of the rollout.
    pub start_window: u32,
}

impl Default for Broken {
    fn default() -> Broken {
        Broken { share: 0.0, severity: 0.9, start_window: 0 }
    }
}

/// When devices are out of reach.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Offline {
    /// Mean share of the time.
    pub share: f64,
    /// Mean length of a time out of reach.
    pub mean_windows: f64,
    /// How it is spread.
    pub pattern: OfflinePattern,
    /// Whether the device works on meanwhile and reports later; otherwise it is switched off.
    pub works_on: bool,
}

impl Default for Offline {
    fn default() -> Offline {
        Offline { share: 0.0, mean_windows: 12.0, pattern: OfflinePattern::Spells, works_on: true }
    }
}

/// How the times out of reach are spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OfflinePattern {
    /// Every device alike, at random.
    #[default]
    Spells,
    /// Some devices hardly ever, some most of the time.
    Chronic,
    /// All at the same hours of the day.
    Night,
}
