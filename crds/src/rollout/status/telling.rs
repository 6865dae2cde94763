//! How far the outside was told of a rollout.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::progress::RolloutPhase;

/// Up to where one event sink was told. The controller goes on from here after a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TellingProgress {
    /// Name of the sink: a hash of its kind and of its URL or Secret. Example: `5f0c1b9e77aa0d24`.
    #[schemars(length(min = 1, max = 16))]
    pub sink: String,

    /// Id of the last decision that the sink was told. Empty before the first one. Example: `9c56cc51b374c3ba189210d5b6d4bf57`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 32))]
    pub last: String,

    /// The phase that the sink knows of. Absent before the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<RolloutPhase>,
}
