//! How reports travel, and what goes wrong around fleet and candidate.

use serde::{Deserialize, Serialize};

use super::LabelValues;

/// How reports travel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Network {
    /// Share of the reports that are lost; the next one carries what they said.
    pub report_loss: f64,
    /// Windows until a report arrives.
    pub report_delay_windows: u32,
    /// Times in which devices are out of reach together.
    pub partitions: Vec<Partition>,
    /// Reports in which old windows of one arm are missing.
    pub short_reports: Option<ShortReports>,
}

/// Reports that do not carry all windows since the stage opened, in one arm only: the arms differ in what is known of
/// them. Shipped agents merge old windows at the same moments in both arms and lose none; this shows what the judge
/// does where that is not so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ShortReports {
    /// Whose.
    pub arm: ShortenedArm,
    /// The newest windows, which are carried one by one; from 1 to 64.
    pub newest: u32,
    /// Older windows are merged into spans of so many, and a span that began before the device counts is left out
    /// whole; 0: older windows are lost.
    #[serde(default)]
    pub merged: u32,
}

/// An arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ShortenedArm {
    /// Devices that run the candidate.
    Canaries,
    /// The others.
    Controls,
}

/// A time in which devices are out of reach together, and work on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Partition {
    /// When it begins, counted from the start of the rollout.
    pub start_window: u32,
    /// How long it lasts.
    pub windows: u32,
    /// Devices with these labels; empty: all.
    #[serde(default)]
    pub labels: LabelValues,
}

/// A time in which windows are bad, whatever model runs, or with the model before alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Outage {
    /// When it begins, counted from the start of the rollout.
    pub start_window: u32,
    /// How long it lasts.
    pub windows: u32,
    /// Devices with these labels; empty: all.
    #[serde(default)]
    pub labels: LabelValues,
    /// Chance that a window is bad meanwhile.
    pub severity: f64,
    /// Devices that run the candidate are spared: it mends what is wrong.
    #[serde(default)]
    pub spares_candidate: bool,
}
