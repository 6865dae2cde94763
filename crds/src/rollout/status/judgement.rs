//! What the judge needs to go on after a restart, and what a stage can prove.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the judge needs to go on with the same test after a restart.
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

    /// How many times the judge looked. Example: `42`.
    #[schemars(range(min = 0))]
    pub looks: i64,

    /// The sufficient statistics in the judge's own form, which begins with its version. At most 8192
    /// characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 8192))]
    pub state: String,
}

/// The harm that a stage rules out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct StageMargin {
    /// Name of the stage. Example: `canary`.
    #[schemars(length(max = 63))]
    pub stage: String,

    /// The ratio of the rate of harm with the version to the rate without it, in parts per million. Example:
    /// `5000000`, a fivefold rise.
    #[schemars(range(min = 0))]
    pub margin_ppm: i64,

    /// Where the ratio is from: `Planner` (the smallest that the stage can rule out), `User` (`margin` in the
    /// spec).
    pub basis: MarginBasis,
}

/// Where a margin is from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum MarginBasis {
    /// The smallest that the stage can rule out.
    #[default]
    Planner,
    /// Set in the spec.
    User,
}
