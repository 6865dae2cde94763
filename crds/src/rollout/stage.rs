//! One stage of a rollout.

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
    "devices of a stage that follows a stage with a percentage must be a percentage too, such as 10%",
);
pub(super) const SIZES_GROW: RuleText = (
    "[0, 1, 2, 3, 4, 5, 6].all(i, i + 1 >= size(self) || self[i].devices.endsWith('%') != self[i + \
     1].devices.endsWith('%') || double(self[i].devices.replace('%', '')) <= double(self[i + \
     1].devices.replace('%', '')))",
    "a stage must not have fewer devices than the stage before it",
);
pub(super) const NAMES_STAY: RuleText = (
    "self.map(stage, stage.name) == oldSelf.map(stage, stage.name)",
    "names and order of the stages are immutable: create a new Rollout instead",
);
pub(super) const NEVER_SHRINK: RuleText = (
    "[0, 1, 2, 3, 4, 5, 6, 7].all(i, i >= size(self) || i >= size(oldSelf) || \
     (self[i].devices.endsWith('%') == oldSelf[i].devices.endsWith('%') && \
     double(self[i].devices.replace('%', '')) >= double(oldSelf[i].devices.replace('%', ''))))",
    "devices of a stage must not become fewer, nor change between a number and a percentage: create a new \
     Rollout instead",
);

/// One stage of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    /// Name of the stage, unique in the rollout: a DNS label of at most 63 characters. Required. Example:
    /// `canary`.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = DNS_LABEL)]
    pub name: String,

    /// How many devices get the version up to and including this stage: a number, or a percentage of the devices that
    /// the rollout selects; at least one device. A percentage grows with the fleet. A number up to 512 stays that number
    /// when devices join later; a larger one that takes a part of the fleet grows with it. Required. Example: `2.5%`.
    #[x_kube(validation = ("self.matches('[1-9]')", "must be at least one device, such as 5 or 2.5%"))]
    pub devices: Amount,

    /// A share of the selected devices up to which a stage of a percentage grows in a small fleet: it then takes the
    /// fewest devices with which statistics can show harm at all. With 2.5% of 40 devices, which is one device, no
    /// outcome would be rare enough; with 4 it can be. Where more than this share would be needed, nothing is raised.
    /// A percentage from 0% to 50%; 0%: the stage is as large as `devices` says. Default: `0%`; the canary of the
    /// default stages has `20%`. Example: `20%`.
    #[serde(default = "default_provable_up_to")]
    #[x_kube(validation = (
        "!self.matches('^(5[0-9]|[6-9][0-9]|100)') || !self.endsWith('%') || self.matches('^50([.]0+)?%$')",
        "must be a percentage from 0% to 50%, such as 20%"
    ))]
    pub provable_up_to: Percent,

    /// Label keys, at most 4. The stage selects devices in proportion to the values of these labels, so that it covers
    /// the operating range. Default: none, devices are selected at random. Example: `[age, load]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4), inner(length(min = 1, max = 317)), extend("x-kubernetes-list-type" = "set"))]
    pub spread_by: Vec<String>,

    /// Label keys, at most 4, in whose values the judge looks for harm, whatever the stage is spread by: a version that is bad on
    /// one firmware of twenty is found there, although it is good on the mean. Each label is taken by itself, and the 64 values
    /// that most devices have are watched. The tests have a part of the error budget that is for harm to a few devices; a
    /// Healthy verdict says which rise in any one of these groups it rules out. A label of `spreadBy` need not be named again.
    /// Default: none. Example: `[firmware, supplier]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4), inner(length(min = 1, max = 317)), extend("x-kubernetes-list-type" = "set"))]
    pub watch_by: Vec<String>,

    /// Devices that the stage may select, in addition to the rollout's selector, which must match as well. Default:
    /// none. Example: `{matchLabels: {ring: test-bench}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<DeviceSelector>,

    /// Shortest time for which the stage watches its devices. Default: `0s`, the stage ends with its verdict. Example:
    /// `7d`.
    #[serde(default = "no_time")]
    pub bake: DurationText,

    /// What starts the stage: `Automatic` (a Healthy verdict on the stage before), `Required` (that verdict, and a
    /// person who sets `promote` to the name of this stage). Default: `Automatic`.
    #[serde(default)]
    pub approval: Approval,

    /// How long the rollout waits for approval when `approval` is `Required`, before it pauses and is Stalled. Default:
    /// no limit. Example: `3d`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_timeout: Option<DurationText>,

    /// What the stage tolerates, and how much evidence it needs.
    #[serde(default)]
    pub limits: StageLimits,

    /// Time within which all reachable devices must be back on the previous version when the version is rolled back in
    /// this stage. Default: `15m`. Example: `2h`.
    #[serde(default = "default_rollback_deadline")]
    #[x_kube(validation = crate::rules::LONGER_THAN_ZERO)]
    pub rollback_deadline: DurationText,

    /// How long the stage may wait for a verdict after `bake` and after the time in which nothing can be known: the windows of
    /// `warmupWindows` and `settlingWindows` and the longest `labelDelay`. Then `onUndecided` says what happens. Default: as
    /// long as `bake`, at least `1d`. Example: `7d`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_wait: Option<DurationText>,

    /// The harm that must be ruled out before the stage is Healthy, as the rate with the version divided by the rate
    /// without it: a decimal number above 1. Default: the smallest ratio that the stage can rule out, which the status
    /// shows in `margins`. Example: `"1.25"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = (
        "self.matches('^[0-9]{1,6}([.][0-9]{1,6})?$') && double(self) > 1.0",
        "must be a decimal number above 1 with at most six decimals, such as 1.25"
    ))]
    pub margin: Option<Decimal>,

    /// What the version does on the stage's devices: `Live` (its answers are used), `Shadow` (it runs beside the previous
    /// version, whose answers are used). Default: `Live`.
    #[serde(default)]
    pub mode: StageMode,
}

/// What a stage tolerates, and how much evidence it needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct StageLimits {
    /// Devices with the version that may fail, as a number or as a percentage that is rounded up. When more fail, the
    /// rollout pauses at once. Apart from this limit, failed devices are compared with devices that did not get the
    /// version from the second failure on, and the version is rolled back when the comparison shows that it is the
    /// cause. Default: `5%`. Example: `1`.
    #[serde(default = "default_max_failed")]
    pub max_failed: Amount,

    /// Devices with the version that may be unreachable, as a number or a percentage. When more are, the stage waits.
    /// Unreachable devices count neither as failed nor as healthy. Default: `50%`. Example: `20%`.
    #[serde(default = "default_max_unreachable")]
    pub max_unreachable: Amount,

    /// Devices that must have confirmed the version, and have reported `minWindows` windows, before the stage can be
    /// Healthy, 1 to 10000000. Default: `1`. Example: `5`.
    #[serde(default = "default_min_devices")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub min_devices: i64,

    /// Windows that a device must have reported before it counts as evidence, 1 to 1000. Default: `5`.
    #[serde(default = "default_min_windows")]
    #[schemars(range(min = 1, max = 1000))]
    pub min_windows: i64,

    /// Share of the devices with the version that must be reporting, and that must have reported `minWindows` windows,
    /// before the stage can be Healthy, as a percentage. Default: `80%`. Example: `95%`.
    #[serde(default = "default_min_reporting")]
    pub min_reporting: Percent,
}

impl Default for StageLimits {
    fn default() -> Self {
        Self {
            max_failed: default_max_failed(),
            max_unreachable: default_max_unreachable(),
            min_devices: default_min_devices(),
            min_windows: default_min_windows(),
            min_reporting: default_min_reporting(),
        }
    }
}

/// What starts a stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Approval {
    /// A Healthy verdict on the stage before.
    #[default]
    Automatic,
    /// That verdict, and the approval of a person.
    Required,
}

/// What the version does on the devices of a stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum StageMode {
    /// Its answers are used.
    #[default]
    Live,
    /// It runs beside the previous version, whose answers are used.
    Shadow,
}

fn no_time() -> DurationText {
    DurationText::from("0s")
}

fn default_provable_up_to() -> Percent {
    Percent::from("0%")
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

fn default_min_devices() -> i64 {
    1
}

fn default_min_windows() -> i64 {
    5
}

fn default_min_reporting() -> Percent {
    Percent::from("80%")
}
