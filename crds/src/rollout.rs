//! `Rollout`: how one version reaches the devices of a namespace, and how it is rolled back.

// Columns of one type are no mistake.
#![allow(clippy::duplicated_attributes)]

mod default_slos;
mod default_stages;
mod delivery;
mod notify;
mod policy;
mod slo;
mod stage;
pub mod status;
mod watch;

pub use default_slos::default_slos;
pub use default_stages::default_stages;
pub use delivery::{Fetch, FetchWindow, Observe, Probation, WindowTimezone};
pub use notify::{NotifyKind, NotifySink};
pub use policy::{RollbackPolicy, RollbackSettings, UndecidedPolicy};
pub use slo::{BreachAction, JudgedBy, RelativeTo, Slo};
pub use stage::{Approval, Stage, StageLimits, StageMode};
pub use status::RolloutStatus;
pub use watch::{AlarmAction, DetectorKind, Watch, WatchDetector};

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::rules::{DEVICE_IDS, DNS_LABEL, RuleText, SEMVER};
use crate::selector::DeviceSelector;
use crate::text::Percent;

const PROMOTE_NAMES_A_STAGE: RuleText = (
    "!has(self.promote) || self.stages.exists(stage, stage.name == self.promote)",
    "promote must be the name of one of the stages",
);
const ABORT_STAYS: RuleText = (
    "!oldSelf.abort || self.abort || (has(self.retryToken) ? self.retryToken : '') != \
     (has(oldSelf.retryToken) ? oldSelf.retryToken : '')",
    "abort cannot return to false by itself; to start again, also set a new retryToken",
);

/// How one version of a model reaches the devices of a namespace. Only one rollout of a model is active in a
/// namespace at a time; the others wait in a queue, and their status says for which rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "modelfleet.io",
    version = "v1alpha1",
    kind = "Rollout",
    namespaced,
    status = "RolloutStatus",
    shortname = "mro",
    category = "modelfleet",
    derive = "PartialEq",
    doc = "Rolls one version of a model out to a fleet of devices in stages, and rolls it back when it does harm.",
    selectable = ".spec.model",
    selectable = ".status.phase",
    printcolumn(name = "Model", type_ = "string", json_path = ".spec.model"),
    printcolumn(name = "Version", type_ = "string", json_path = ".spec.version"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Stage", type_ = "string", json_path = ".status.stageSummary"),
    printcolumn(name = "Updated", type_ = "string", json_path = ".status.updated"),
    printcolumn(name = "Verdict", type_ = "string", json_path = ".status.verdictSummary"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Failed", type_ = "integer", json_path = ".status.counts.failed", priority = 1),
    printcolumn(
        name = "Silent",
        type_ = "integer",
        json_path = ".status.counts.silentAfterActivation",
        priority = 1
    ),
    printcolumn(name = "Spent", type_ = "integer", json_path = ".status.judge.spentPpm", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", priority = 1)
)]
#[x_kube(validation = PROMOTE_NAMES_A_STAGE, validation = ABORT_STAYS)]
pub struct RolloutSpec {
    /// Name of the model: a DNS label of at most 63 characters. Immutable. Required. Example: `pump-anomaly`.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = DNS_LABEL)]
    #[x_kube(validation = ("self == oldSelf", "model is immutable: create a new Rollout instead"))]
    pub model: String,

    /// Version to roll out, as in `spec.version` of a ModelVersion of the same model and namespace.
    /// Immutable. Required. Example: `1.4.0`.
    #[schemars(length(min = 5, max = 64))]
    #[x_kube(validation = SEMVER)]
    #[x_kube(validation = ("self == oldSelf", "version is immutable: create a new Rollout instead"))]
    pub version: String,

    /// Devices that the rollout is for, by label. Immutable. Default: empty, all devices of the namespace.
    /// Example: `{matchLabels: {site: north}}`.
    #[serde(default)]
    #[x_kube(validation = ("self == oldSelf", "selector is immutable: create a new Rollout instead"))]
    pub selector: DeviceSelector,

    /// The stages of the rollout, in order, 1 to 8. Names and order are immutable, sizes may only grow, and the
    /// last stage must have `devices: 100%`. Default: canary 2.5% (bake 7d), early-adopter 10% (bake 14d), broad 50%
    /// (bake 14d), full 100% (bake 0s).
    #[serde(default = "default_stages")]
    #[schemars(
        length(min = 1, max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    #[x_kube(validation = stage::LAST_IS_EVERYONE, validation = stage::NO_COUNT_AFTER_PERCENT)]
    #[x_kube(validation = stage::SIZES_GROW, validation = stage::NAMES_STAY, validation = stage::NEVER_SHRINK)]
    pub stages: Vec<Stage>,

    /// Service level objectives: the limits that the version must meet, at most 16. With an empty list only devices
    /// that fail or fall silent are judged. Default: error-rate 1%, timeout-rate 1%, latency-p95 500ms, availability
    /// 99.9%.
    #[serde(default = "default_slos")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub slos: Vec<Slo>,

    /// How devices measure: how long a window is, which windows do not count, how often devices report.
    #[serde(default)]
    pub observe: Observe,

    /// What a device must prove after it has activated the version. A device that does not prove it in time goes back
    /// to the previous version by itself.
    #[serde(default)]
    pub probation: Probation,

    /// Share of the devices that never get the version in this rollout, not even in the last stage, so that there is a
    /// control group: a percentage from 0% to 50%. Default: `0%`. Example: `2%`.
    #[serde(default = "default_holdback")]
    #[x_kube(validation = (
        "!self.matches('^(5[0-9]|[6-9][0-9]|100)') || !self.endsWith('%') || self.matches('^50([.]0+)?%$')",
        "must be a percentage from 0% to 50%, such as 2%"
    ))]
    pub holdback: Percent,

    /// How devices download: spread over how much time, how fast, and at which time of day.
    #[serde(default)]
    pub fetch: Fetch,

    /// The probability of a false rollback that you accept, for the whole rollout: all objectives with `Statistical`
    /// evidence, failed and silent devices, all stages and looks. Objectives that are judged by `Plain` are not covered. A
    /// percentage from 0.01% to 50%. Default: `1%`. Example: `0.1%`.
    #[serde(default = "default_error_budget")]
    #[x_kube(validation = (
        "double(self.replace('%', '')) >= 0.01 && double(self.replace('%', '')) <= 50.0",
        "must be a percentage from 0.01% to 50%, such as 1%"
    ))]
    pub error_budget: Percent,

    /// What happens when a stage has no verdict at its deadline, which is `bake` plus `maxWait`: `Hold` (the rollout pauses
    /// until a person decides), `Promote` (the next stage starts without a verdict), `RollBack` (the version is rolled
    /// back). Default: `Hold`.
    #[serde(default)]
    pub on_undecided: UndecidedPolicy,

    /// How the version is rolled back.
    #[serde(default)]
    pub rollback: RollbackSettings,

    /// What is watched once the version is in production, and what an alarm does.
    #[serde(default)]
    pub watch: Watch,

    /// Receivers of what happens to this rollout, at most 4, besides those of the controller. docs/events.md describes the events.
    /// Default: none. Example: `[{kind: Slack, secretName: slack}]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4), extend("x-kubernetes-list-type" = "atomic"))]
    pub notify: Vec<NotifySink>,

    /// Pauses the rollout: no further device gets the version, and devices that have it keep it. Harm that is shown
    /// meanwhile still rolls it back. Default: `false`.
    #[serde(default)]
    pub paused: bool,

    /// Ends the rollout now and rolls the version back on every device. It can only return to `false` together with a
    /// new `retryToken`. Default: `false`.
    #[serde(default)]
    pub abort: bool,

    /// Name of a stage to start now. It approves that stage and skips the rest of the stages before it; it never overrides
    /// harm that was shown. Default: none. Example: `broad`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub promote: Option<String>,

    /// Devices that this rollout leaves out, by id, at most 64: they run what they ran before, and count in no verdict, no
    /// number of devices and no limit. Devices that are added while the rollout goes on go back, and what failed on them
    /// counts no more. `kubectl modelfleet set-aside` edits the list; the controller never does. Default: none. Example:
    /// `[pump-017, pump-044]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 64)),
        extend("x-kubernetes-list-type" = "set")
    )]
    #[x_kube(validation = DEVICE_IDS)]
    pub set_aside: Vec<String>,

    /// Any text of at most 64 characters. A new text starts a new attempt of a rollout that was rolled back or aborted,
    /// and lifts the rejection of its version. Default: none. Example: `2026-08-01-after-sensor-fix`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub retry_token: Option<String>,
}

impl RolloutSpec {
    /// The spec that the API server makes of an object with these two fields only.
    #[must_use]
    pub fn new(model: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            model: model.into(),
            version: version.into(),
            selector: DeviceSelector::default(),
            stages: default_stages(),
            slos: default_slos(),
            observe: Observe::default(),
            probation: Probation::default(),
            holdback: default_holdback(),
            fetch: Fetch::default(),
            error_budget: default_error_budget(),
            on_undecided: UndecidedPolicy::default(),
            rollback: RollbackSettings::default(),
            watch: Watch::default(),
            notify: Vec::new(),
            paused: false,
            abort: false,
            promote: None,
            set_aside: Vec::new(),
            retry_token: None,
        }
    }
}

fn default_holdback() -> Percent {
    Percent::from("0%")
}

fn default_error_budget() -> Percent {
    Percent::from("1%")
}
