//! Where a rollout stands. The object has the same size at 200 and at 1 000 000 devices.

mod decision;
mod judgement;
mod membership;
mod progress;
mod recovery;
mod verdict;

pub use decision::{DecisionKind, DecisionRecord, DeviceFailure};
pub use judgement::{JudgeState, MarginBasis, StageMargin};
pub use membership::{Membership, MembershipClause, Stratum};
pub use progress::{DeviceCounts, RolloutPhase, StageProgress};
pub use recovery::{Figures, RollbackProgress};
pub use verdict::{Verdict, VerdictEvidence, VerdictKind};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Where a rollout stands. Written by the controller.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    /// The metadata.generation that this status was computed from. Example: `3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,

    /// Where the rollout stands in one word, for people; programs read the conditions: `Queued` (another
    /// rollout of the model is active), `Progressing`, `AwaitingApproval`, `Paused`, `RollingBack`,
    /// `RolledBack`, `Succeeded`, `Stalled` (needs a person).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<RolloutPhase>,

    /// What it waits for or why it ended, as a sentence with numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub message: Option<String>,

    /// The stage that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<StageProgress>,

    /// The stage as text, for `kubectl get`. Example: `2/4 early-adopter`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 72))]
    pub stage_summary: Option<String>,

    /// Devices that run the version, of all that it is for, as text for `kubectl get`. Example: `5/200`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub updated: Option<String>,

    /// The verdict as text, for `kubectl get`. Example: `Undecided`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub verdict_summary: Option<String>,

    /// Devices by what is known about them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<DeviceCounts>,

    /// Which devices have got the version: a rule that controller and devices compute alike, not a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub membership: Option<Membership>,

    /// What the judge needs to go on with the same test after a restart.
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

    /// The harm that each stage rules out, at most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["stage"])
    )]
    pub margins: Vec<StageMargin>,

    /// What devices go back to if the rollout is taken back: what was in production when it began, as a JSON list of
    /// selectors and versions, of which the first that selects a device counts. Example:
    /// `[{"selector":{},"version":"1.3.0"}]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2560))]
    pub way_back: Option<String>,

    /// How far taking back is. Absent when nothing is or was taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<RollbackProgress>,

    /// How many devices were exposed to harm and how fast it was found and removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub figures: Option<Figures>,

    /// Revision of the plan that devices were sent last; grows with each. Example: `17`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub plan_revision: Option<i64>,

    /// Number of the leader that wrote the plan: devices refuse plans of an earlier one. Example: `4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub epoch: Option<i64>,

    /// When the rollout left the queue. Example: `2026-08-01T12:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,

    /// When it ended. Example: `2026-09-05T12:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,

    /// The retryToken that this attempt was started with. Empty when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub retry_token: Option<String>,

    /// Standard conditions, by type: `Ready`, `Progressing`, `Paused`, `Degraded`, `RolledBack`, `Stalled`; and about the
    /// fleet, once there is something to tell: `DevicesLeftOut` (their state breaks a limit; the message names them)
    /// and `PlanNotTaken` (connected devices hold another plan than the newest after ten minutes).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::conditions::condition_list")]
    pub conditions: Vec<Condition>,
}
