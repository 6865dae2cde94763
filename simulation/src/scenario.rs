//! What a fleet is like, what the candidate does to it, and what goes wrong around both: the scenario file.

mod check;
mod effect;
mod fleet;
mod liars;
mod network;
mod per_sli;
mod rates;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use effect::{Effect, Hours, StratumEffect};
pub use fleet::{Broken, Fleet, Offline, OfflinePattern, StratumShare};
pub use liars::Liars;
pub use network::{Network, Outage, Partition, ShortReports, ShortenedArm};
pub use per_sli::PerSli;
pub use rates::{Autocorrelation, Season};

/// Labels with their values.
pub type LabelValues = BTreeMap<String, String>;

/// A field that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongField {
    /// Its path, such as `fleet.strata[1].share`.
    pub field: String,
    /// What is allowed.
    pub problem: &'static str,
}

/// A scenario with fields that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .fields.iter().map(|wrong| format!("{}: {}", wrong.field, wrong.problem)).collect::<Vec<_>>().join("; "))]
pub struct ScenarioError {
    /// All of them, at least one.
    pub fields: Vec<WrongField>,
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

fn one() -> f64 {
    1.0
}

impl Scenario {
    /// Whether the candidate changes nothing, so that taking it back is false.
    #[must_use]
    pub fn is_harmless(&self) -> bool {
        let effect = &self.effect;
        let harmless = |ratio: &PerSli, affected: f64, hard: f64, silent: f64| {
            (affected <= 0.0 || ratio.all(|r| r <= 1.0)) && hard <= 0.0 && silent <= 0.0
        };
        harmless(&effect.rate_ratio, effect.affected_share, effect.hard_failure_share, effect.silent_share)
            && effect
                .strata
                .iter()
                .all(|s| harmless(&s.rate_ratio, s.affected_share, s.hard_failure_share, s.silent_share))
    }
}
