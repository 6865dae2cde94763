//! What is watched once a version is in production.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules::LONGER_THAN_ZERO;
use crate::text::DurationText;

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
        Self { enabled: on(), false_alarm_every: a_year(), on_alarm: AlarmAction::default() }
    }
}

fn on() -> bool {
    true
}

fn a_year() -> DurationText {
    DurationText::from("365d")
}
