//! One step on the way to the whole fleet.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules::{DNS_LABEL, RuleText};
use crate::selector::DeviceSelector;
use crate::text::{Amount, Decimal, DurationText, Percent};

// The rules of the list. CEL has no index in `all`, hence the literal indices of what eight stages have.
pub(super) const LAST_IS_EVERYONE: RuleText =
    ("self[size(self) - 1].devices == '100%'", "the last stage must have devices: 100%");
pub(super) const NO_COUNT_AFTER_PERCENT: RuleText = (
    "[0, 1, 2, 3, 4, 5, 6].all(i, i + 1 >= size(self) || !self[i].devices.endsWith('%') || self[i + \
     1].devices.endsWith('%'))",
    "devices of a stage after one with a percent must be a percent too, such as 10%",
);
pub(super) const SIZES_GROW: RuleText = (
    "[0, 1, 2, 3, 4, 5, 6].all(i, i + 1 >= size(self) || self[i].devices.endsWith('%') != self[i + \
     1].devices.endsWith('%') || double(self[i].devices.replace('%', '')) <= double(self[i + \
     1].devices.replace('%', '')))",
    "devices of a stage must not be fewer than those of the stage before it",
);
pub(super) const NAMES_STAY: RuleText = (
    "self.map(stage, stage.name) == oldSelf.map(stage, stage.name)",
    "names and order of stages are immutable: create a new Rollout instead",
);
pub(super) const NEVER_SHRINK: RuleText = (
    "[0, 1, 2, 3, 4, 5, 6, 7].all(i, i >= size(self) || i >= size(oldSelf) || \
     (self[i].devices.endsWith('%') == oldSelf[i].devices.endsWith('%') && \
     double(self[i].devices.replace('%', '')) >= double(oldSelf[i].devices.replace('%', ''))))",
    "devices of a stage must not shrink nor change between a number and a percent: create a new Rollout \
     instead",
);

/// One step on the way to the whole fleet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    /// Name of the stage, unique in the rollout: a DNS label of at most 63 characters. Required. Example:
    /// `canary`.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = DNS_LABEL)]
    pub name: String,

    /// How many devices have the version at the end of the stage, those of earlier stages included: a number
    /// or a percent of the rollout's devices, more than none. Required. Example: `2.5%`.
    #[x_kube(validation = ("self.matches('[1-9]')", "must be more than no device, such as 5 or 2.5%"))]
    pub devices: Amount,

    /// Label keys over whose values the stage's devices are spread in proportion, at most 4, so that it
    /// covers the operating range. Default: none, devices are picked at random. Example: `[age, load]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4), inner(length(min = 1, max = 317)), extend("x-kubernetes-list-type" = "set"))]
    pub spread_by: Vec<String>,

    /// Narrows the stage's new devices to those with these labels; the rollout's selector must hold too.
    /// Default: none. Example: `{matchLabels: {ring: test-bench}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<DeviceSelector>,

    /// Shortest time that the stage watches its devices before it may end. Default: `0s`, the verdict alone
    /// decides. Example: `7d`.
    #[serde(default = "no_time")]
    pub bake: DurationText,

    /// Who lets the stage begin: `Automatic` (a Healthy verdict of the stage before), `Required` (that, and a
    /// person who sets `promote`). Default: `Automatic`.
    #[serde(default)]
    pub approval: Approval,

    /// How long the stage waits for a person when approval is `Required`, before the rollout is Stalled.
    /// Default: as long as it takes. Example: `3d`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_timeout: Option<DurationText>,

    /// What the stage tolerates, and how much it must have seen.
    #[serde(default)]
    pub limits: StageLimits,

    /// Time in which all reachable devices of this stage must be back on the version before when it is rolled
    /// back. Default: `15m`. Example: `2h`.
    #[serde(default = "default_rollback_deadline")]
    #[x_kube(validation = crate::rules::LONGER_THAN_ZERO)]
    pub rollback_deadline: DurationText,

    /// How long after `bake` the stage may wait for a verdict, before `onUndecided` says what happens.
    /// Default: as long as `bake` once more, and at least a day. Example: `7d`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_wait: Option<DurationText>,

    /// The harm that must be ruled out, as a ratio of the rate of harm with the version to the rate without
    /// it: a decimal number above 1. Default: the smallest ratio that the stage's size can rule out, written
    /// in the status. Example: `"1.25"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = (
        "self.matches('^[0-9]{1,6}([.][0-9]{1,6})?$') && double(self) > 1.0",
        "must be a decimal number above 1 with at most six decimals, such as 1.25"
    ))]
    pub margin: Option<Decimal>,

    /// What the version does on the stage's devices: `Live` (its answers are used), `Shadow` (it runs beside
    /// the version before, and its answers are only compared). Default: `Live`.
    #[serde(default)]
    pub mode: StageMode,
}

/// What a stage tolerates, and how much it must have seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct StageLimits {
    /// Devices of the stage that may fail to take the version: a number, or a percent rounded up. More pause the
    /// rollout at once. Apart from this, from the second failure on the failed devices are compared with those
    /// that did not get the version, and the version is taken back when that shows it. Default: `5%`. Example: `1`.
    #[serde(default = "default_max_failed")]
    pub max_failed: Amount,

    /// Devices of the stage that may be out of reach, as a number or a percent: with more the stage waits.
    /// They count neither as failed nor as healthy. Default: `50%`. Example: `20%`.
    #[serde(default = "default_max_unreachable")]
    pub max_unreachable: Amount,

    /// Devices that must have the version confirmed before a Healthy verdict. Default: what the stage's
    /// margin asks for. Example: `5`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub min_devices: Option<i64>,

    /// Windows that a device must have reported before it counts, 1 to 1000. Default: `5`.
    #[serde(default = "default_min_windows")]
    #[schemars(range(min = 1, max = 1000))]
    pub min_windows: i64,

    /// Share of the stage's reachable devices that must have reported so many windows before a Healthy
    /// verdict, as a percent. Default: `80%`. Example: `95%`.
    #[serde(default = "default_min_reporting")]
    pub min_reporting: Percent,
}

impl Default for StageLimits {
    fn default() -> Self {
        Self {
            max_failed: default_max_failed(),
            max_unreachable: default_max_unreachable(),
            min_devices: None,
            min_windows: default_min_windows(),
            min_reporting: default_min_reporting(),
        }
    }
}

/// Who lets a stage begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Approval {
    /// A Healthy verdict of the stage before.
    #[default]
    Automatic,
    /// That, and a person.
    Required,
}

/// What the version does on the devices of a stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum StageMode {
    /// Its answers are used.
    #[default]
    Live,
    /// It runs beside the version before, and its answers are only compared.
    Shadow,
}

fn no_time() -> DurationText {
    DurationText::from("0s")
}

fn default_rollback_deadline() -> DurationText {
    DurationText::from("15m")
}

fn default_max_failed() -> Amount {
    Amount::from("5%")
}

fn default_max_unreachable() -> Amount {
    Amount::from("50%")
}

fn default_min_windows() -> i64 {
    5
}

fn default_min_reporting() -> Percent {
    Percent::from("80%")
}
