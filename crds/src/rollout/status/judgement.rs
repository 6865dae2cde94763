//! What the judge needs to continue after a restart, and what a stage can prove.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the judge needs to continue the same test after a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct JudgeState {
    /// Probability of a false rollback that the rollout may spend, in parts per million. Example: `10000`,
    /// which is 1 %.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub error_budget_ppm: i64,

    /// How much of it is spent, in parts per million. Example: `1250`.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub spent_ppm: i64,

    /// Planned looks of the current stage that were reached. Example: `3`.
    #[schemars(range(min = 0))]
    pub looks: i64,

    /// The judge's state, which begins with the version of its format, at most 8192 characters. Do not edit it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 8192))]
    pub state: String,
}

/// The harm that a stage has to rule out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct StageMargin {
    /// Name of the stage. Example: `canary`.
    #[schemars(length(max = 63))]
    pub stage: String,

    /// The rate of harm with the version divided by the rate without it, in parts per million. Example: `5000000`, a
    /// fivefold rise.
    #[schemars(range(min = 0))]
    pub margin_ppm: i64,

    /// Where the ratio comes from: `Planner` (the smallest that the stage can rule out), `User` (`margin` in the spec).
    pub basis: MarginBasis,
}

/// Where a margin comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum MarginBasis {
    /// The smallest that the stage can rule out.
    #[default]
    Planner,
    /// Set in the spec.
    User,
}
