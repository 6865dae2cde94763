//! Where a rollout is. The object has the same size at 200 and at 1 000 000 devices.

mod decision;
mod judgement;
mod membership;
mod progress;
mod recovery;
mod telling;
mod trust;
mod verdict;
mod watch;

pub use decision::{DecisionKind, DecisionRecord, DeviceFailure};
pub use judgement::{JudgeState, MarginBasis, StageMargin};
pub use membership::{Membership, MembershipClause, Stratum};
pub use progress::{DeviceCounts, RolloutPhase, StageProgress};
pub use recovery::{Figures, RollbackProgress};
pub use telling::TellingProgress;
pub use trust::{TrustCounts, TrustProgress};
pub use verdict::{Verdict, VerdictJudgedBy, VerdictKind};
pub use watch::WatchProgress;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Where a rollout is. The controller writes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    /// The metadata.generation that this status was computed from. Example: `3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,

    /// Where the rollout is, as one word for people; programs read the conditions. `Queued`: it waits for another rollout of
    /// the model, or for its version to be checked. `Progressing`, `AwaitingApproval`, `Paused`, `RollingBack`,
    /// `RolledBack`, `Succeeded`. `Stalled`: a person must act, because the spec cannot work, the
    /// version was refused, or the rollout paused for a cause that does not end by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<RolloutPhase>,

    /// What the rollout waits for, or why it ended, with numbers and what to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub message: Option<String>,

    /// The stage that the rollout is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<StageProgress>,

    /// The stage as text, for `kubectl get`. Example: `2/4 early-adopter`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 72))]
    pub stage_summary: Option<String>,

    /// Devices that run the version, of all devices that the rollout selects, as text for `kubectl get`. Example:
    /// `5/200`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub updated: Option<String>,

    /// The verdict as text, for `kubectl get`. Example: `Undecided`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub verdict_summary: Option<String>,

    /// How many devices are in which state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<DeviceCounts>,

    /// The trust document that counts for the fleet, and how many of its devices hold it. Absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<TrustProgress>,

    /// Which devices may have the version: a rule that the controller and the devices compute alike, not a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub membership: Option<Membership>,

    /// What the judge needs to continue the same test after a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judge: Option<JudgeState>,

    /// The last verdict on each objective, at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["slo"])
    )]
    pub verdicts: Vec<Verdict>,

    /// The last decisions, oldest first, at most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub decisions: Vec<DecisionRecord>,

    /// Some of the devices that failed, at most 16: a sample for people, not all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub failures: Vec<DeviceFailure>,

    /// The harm that each stage has to rule out, at most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["stage"])
    )]
    pub margins: Vec<StageMargin>,

    /// The versions that devices go back to when this version is rolled back: what was in production when the rollout
    /// began, as a JSON list of selectors and versions. The first selector that matches a device counts. Example:
    /// `[{"selector":{},"version":"1.3.0"}]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2560))]
    pub way_back: Option<String>,

    /// How far the rollback is. Absent without a rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<RollbackProgress>,

    /// What the watch has seen since the version is in production. Absent before that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<WatchProgress>,

    /// How many devices ran the version, how soon harm was found, and how soon the last device was back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub figures: Option<Figures>,

    /// Revision of the newest plan that was sent to devices; it grows with each plan. Example: `17`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub plan_revision: Option<i64>,

    /// Number of the leader that wrote the plan; devices refuse plans with a lower number. Example: `4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub epoch: Option<i64>,

    /// Up to where each event sink was told of this rollout, at most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["sink"])
    )]
    pub telling: Vec<TellingProgress>,

    /// When the rollout left the queue. Example: `2026-08-01T12:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,

    /// When it ended. Example: `2026-09-05T12:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,

    /// The retryToken that this attempt was started with. Absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub retry_token: Option<String>,

    /// Standard conditions, by type: `Ready`, `Progressing`, `Paused`, `Degraded`, `Breached`, `RolledBack` and `Stalled` are
    /// always there. These are added when they apply: `DevicesLeftOut` (the state of some devices breaks a limit; the
    /// message names them), `PlanNotTaken` (connected devices still hold an older plan after ten minutes), `PlanNotRenewed` (the
    /// plan at the broker is near its end), `ClocksWrong` (the clocks of some devices are off by more than ten minutes; the message
    /// names them), `Restored` (the object was applied again without its status), `EventsNotDelivered` (an event sink takes no
    /// events; the message names it), `TrustDocument` (whether a trust document protects the fleet, and how many devices hold
    /// it), `Alarm` (whether the watch over a version in production has raised an alarm; the message says what and where).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::conditions::condition_list")]
    pub conditions: Vec<Condition>,
}
