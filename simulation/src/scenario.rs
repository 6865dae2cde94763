//! What a fleet is like, what the candidate does to it, and what goes wrong around both: the scenario file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Labels with their values.
pub type LabelValues = BTreeMap<String, String>;

/// Most devices of a fleet.
const DEVICES_MAX: u64 = 10_000_000;
/// Most strata.
const STRATA_MAX: usize = 256;

/// A field that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct ScenarioError {
    /// Its path, such as `fleet.sigma`.
    pub field: &'static str,
    /// What is allowed.
    pub problem: &'static str,
}

/// A scenario. Every field has a default: 200 alike devices, and a model that changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Scenario {
    /// The devices under the model that they have.
    pub fleet: Fleet,
    /// What the candidate changes.
    pub effect: Effect,
    /// How reports travel.
    pub network: Network,
    /// Times in which everything is bad, whatever model runs.
    pub outages: Vec<Outage>,
    /// Windows until the truth about a window is known.
    pub truth_delay_windows: PerSli,
}

/// A number for all indicators, or one for each by name; who is not named has the default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PerSli {
    /// For all.
    All(f64),
    /// By name of the objective.
    By(BTreeMap<String, f64>),
}

impl Default for PerSli {
    fn default() -> PerSli {
        PerSli::By(BTreeMap::new())
    }
}

impl PerSli {
    /// The number of the indicator with this name.
    #[must_use]
    pub fn of(&self, name: &str, default: f64) -> f64 {
        match self {
            PerSli::All(number) => *number,
            PerSli::By(numbers) => numbers.get(name).copied().unwrap_or(default),
        }
    }

    fn all(&self, holds: impl Fn(f64) -> bool) -> bool {
        match self {
            PerSli::All(number) => holds(*number),
            PerSli::By(numbers) => numbers.values().all(|number| holds(*number)),
        }
    }
}

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
    /// Share of the devices that are replaced by new ones in a day.
    pub churn_per_day: f64,
    /// When devices are out of reach.
    pub offline: Offline,
    /// Windows that devices have lived through before the rollout.
    pub history_windows: u32,
    /// Predictions of a device in a window, for plain evidence.
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
            churn_per_day: 0.0,
            offline: Offline::default(),
            history_windows: 600,
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

/// What the candidate changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Effect {
    /// Rates with the candidate as a multiple of those without, by objective; default 1.
    pub rate_ratio: PerSli,
    /// Share of the devices that are affected at all.
    pub affected_share: f64,
    /// Windows from activation until the rates change.
    pub onset_windows: u32,
    /// Share of the devices on which the candidate does not start, or crashes.
    pub hard_failure_share: f64,
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
            onset_windows: 0,
            hard_failure_share: 0.0,
            silent_share: 0.0,
            strata: Vec::new(),
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
    /// As [`Effect::silent_share`].
    #[serde(default)]
    pub silent_share: f64,
}

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

/// A time in which windows are bad, whatever model runs.
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
}

fn one() -> f64 {
    1.0
}

impl Scenario {
    /// Whether the candidate changes nothing, so that taking it back is false.
    #[must_use]
    pub fn is_harmless(&self) -> bool {
        let effect = &self.effect;
        let harmless =
            |ratio: &PerSli, hard: f64, silent: f64| ratio.all(|r| r <= 1.0) && hard <= 0.0 && silent <= 0.0;
        harmless(&effect.rate_ratio, effect.hard_failure_share, effect.silent_share)
            && effect.strata.iter().all(|s| harmless(&s.rate_ratio, s.hard_failure_share, s.silent_share))
    }

    /// Checks every number.
    ///
    /// # Errors
    /// Names the first field that cannot be used.
    pub fn check(&self) -> Result<(), ScenarioError> {
        let fleet = &self.fleet;
        let rate = |rates: &PerSli| rates.all(|r| (0.0..=1e6).contains(&r));
        let many = (1..=DEVICES_MAX).contains(&fleet.devices);
        rule(many, "fleet.devices", "must be from 1 to 10000000")?;
        rule(fleet.strata.len() <= STRATA_MAX, "fleet.strata", "must be at most 256")?;
        let shares = fleet.strata.iter().all(|s| s.share > 0.0 && s.share.is_finite());
        rule(shares, "fleet.strata.share", "must be above 0")?;
        let factors = fleet.strata.iter().all(|s| (0.0..=1e6).contains(&s.rate_factor));
        rule(factors, "fleet.strata.rateFactor", "must be from 0 to 1000000")?;
        rule((0.0..=5.0).contains(&fleet.sigma), "fleet.sigma", "must be from 0 to 5")?;
        rule(rate(&fleet.base_rate), "fleet.baseRate", "must be from 0 to 1000000")?;
        rule((1.0..=1e6).contains(&fleet.burst), "fleet.burst", "must be from 1 to 1000000")?;
        rule((0.0..=1.0).contains(&fleet.rhythm), "fleet.rhythm", "must be from 0 to 1")?;
        rule((0.0..=1.0).contains(&fleet.churn_per_day), "fleet.churnPerDay", "must be from 0 to 1")?;
        let offline = &fleet.offline;
        rule((0.0..=0.95).contains(&offline.share), "fleet.offline.share", "must be from 0 to 0.95")?;
        let long = (1.0..=1e6).contains(&offline.mean_windows);
        rule(long, "fleet.offline.meanWindows", "must be from 1 to 1000000")?;
        rule(fleet.history_windows <= 60_000, "fleet.historyWindows", "must be at most 60000")?;
        rule(fleet.predictions_per_window > 0, "fleet.predictionsPerWindow", "must be above 0")?;
        self.check_effect()?;
        let share = |x: f64| (0.0..=1.0).contains(&x);
        rule(
            (0.0..1.0).contains(&self.network.report_loss),
            "network.reportLoss",
            "must be from 0 to below 1",
        )?;
        rule(
            self.network.report_delay_windows <= 10_000,
            "network.reportDelayWindows",
            "must be at most 10000",
        )?;
        rule(self.outages.iter().all(|o| share(o.severity)), "outages.severity", "must be from 0 to 1")?;
        let delay = self.truth_delay_windows.all(|w| (0.0..=10_000.0).contains(&w));
        rule(delay, "truthDelayWindows", "must be from 0 to 10000")
    }

    fn check_effect(&self) -> Result<(), ScenarioError> {
        let effect = &self.effect;
        let strata = &effect.strata;
        let share = |x: f64| (0.0..=1.0).contains(&x);
        let rate = |rates: &PerSli| rates.all(|r| (0.0..=1e6).contains(&r));
        let ratios = rate(&effect.rate_ratio) && strata.iter().all(|s| rate(&s.rate_ratio));
        rule(ratios, "effect.rateRatio", "must be from 0 to 1000000")?;
        let affected = share(effect.affected_share) && strata.iter().all(|s| share(s.affected_share));
        rule(affected, "effect.affectedShare", "must be from 0 to 1")?;
        let hard = share(effect.hard_failure_share) && strata.iter().all(|s| share(s.hard_failure_share));
        rule(hard, "effect.hardFailureShare", "must be from 0 to 1")?;
        let silent = share(effect.silent_share) && strata.iter().all(|s| share(s.silent_share));
        rule(silent, "effect.silentShare", "must be from 0 to 1")
    }
}

fn rule(holds: bool, field: &'static str, problem: &'static str) -> Result<(), ScenarioError> {
    if holds { Ok(()) } else { Err(ScenarioError { field, problem }) }
}
