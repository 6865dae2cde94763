//! What happens without a person.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happens when the evidence is not enough at the end of the waiting time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum UndecidedPolicy {
    /// A person decides.
    #[default]
    Hold,
    /// The next stage starts.
    Promote,
    /// The version is taken back.
    RollBack,
}

/// How a version is taken back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RollbackSettings {
    /// Who takes a version back that did harm: `Automatic` (the controller, at once), `Manual` (the rollout
    /// stands still until a person sets `abort`). Default: `Automatic`.
    #[serde(default)]
    pub policy: RollbackPolicy,
}

/// Who takes a version back that did harm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RollbackPolicy {
    /// The controller, at once.
    #[default]
    Automatic,
    /// A person.
    Manual,
}
