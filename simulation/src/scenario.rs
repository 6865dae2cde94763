//! What a fleet is like, what the candidate does to it, and what goes wrong around both: the scenario file.

mod check;
mod effect;
mod fleet;
mod network;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use effect::{Effect, StratumEffect};
pub use fleet::{Fleet, Offline, OfflinePattern, StratumShare};
pub use network::{Network, Outage, Partition, ShortReports, ShortenedArm};

/// Labels with their values.
pub type LabelValues = BTreeMap<String, String>;

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
}
