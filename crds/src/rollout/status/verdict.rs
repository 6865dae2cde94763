//! What the judge says about one objective, with the numbers behind it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the judge says about one objective, with the numbers behind it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// Name of the objective. Example: `error-rate`.
    #[schemars(length(max = 63))]
    pub slo: String,

    /// The verdict: `Healthy` (harm of the stage's margin or more is ruled out), `Degraded` (harm is shown),
    /// `Undecided` (neither), `Incident` (the bound is broken by devices without the version alike, so it is
    /// not the version).
    pub verdict: VerdictKind,

    /// What it rests on: `Statistical`, `Plain` (no error rate is guaranteed), `HardStop` (failures that need
    /// no test).
    pub evidence: VerdictEvidence,

    /// The measured value. Example: `2.4%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 24))]
    pub value: Option<String>,

    /// The bound that was applied. Example: `1%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 24))]
    pub threshold: Option<String>,

    /// The estimated ratio of the rate of harm with the version to the rate without it. Example: `2.1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 24))]
    pub estimate: Option<String>,

    /// Lower end of the confidence interval of the estimate. Example: `1.3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 24))]
    pub low: Option<String>,

    /// Upper end of the confidence interval of the estimate. Example: `3.2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 24))]
    pub high: Option<String>,

    /// Devices that it rests on. Example: `20`.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub devices: i64,

    /// Windows of devices that it rests on. Example: `3360`.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub windows: i64,

    /// Error budget that this objective has spent, in parts per million. Example: `310`.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub spent_ppm: i64,

    /// The verdict as a sentence with numbers, at most 200 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200))]
    pub sentence: Option<String>,

    /// When it was given. Example: `2026-08-01T12:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
}

/// What the judge says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum VerdictKind {
    /// Harm of the stage's margin or more is ruled out.
    Healthy,
    /// Harm is shown.
    Degraded,
    /// Neither.
    #[default]
    Undecided,
    /// The bound is broken by devices without the version alike.
    Incident,
}

/// What a verdict rests on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum VerdictEvidence {
    /// A test within the error budget.
    #[default]
    Statistical,
    /// The merged value, so many windows in a row.
    Plain,
    /// Failures that need no test.
    HardStop,
}
