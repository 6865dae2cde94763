//! What happens by itself, without a person.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happens when a stage has no verdict at its deadline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum UndecidedPolicy {
    /// The rollout pauses until a person decides.
    #[default]
    Hold,
    /// The next stage starts without a verdict.
    Promote,
    /// The version is rolled back.
    RollBack,
}

/// How a version is rolled back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RollbackSettings {
    /// What rolls back a version that does harm: `Automatic` (the controller, at once), `Manual` (the rollout pauses until
    /// a person sets `abort`). Default: `Automatic`.
    #[serde(default)]
    pub policy: RollbackPolicy,
}

/// What rolls back a version that does harm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RollbackPolicy {
    /// The controller, at once.
    #[default]
    Automatic,
    /// A person.
    Manual,
}
