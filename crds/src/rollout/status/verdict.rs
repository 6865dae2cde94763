//! The verdict on one objective, with its numbers.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The verdict on one objective, with its numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// Name of the objective. Example: `error-rate`.
    #[schemars(length(max = 63))]
    pub slo: String,

    /// The verdict: `Healthy` (harm of the stage's margin or more is ruled out), `Exposed`
    /// (too few events to rule out any rise, and nothing speaks against the version), `Degraded` (harm is shown), `Undecided`
    /// (neither), `Incident` (devices without the version are outside the limit as well, so the version is not the
    /// cause; or no device is left without the version, so nothing shows what the cause is).
    pub verdict: VerdictKind,

    /// How it was judged: `Statistical` (a test within the error budget), `Plain` (no bound on false rollbacks). `HardStop`
    /// is reserved.
    pub judged_by: VerdictJudgedBy,

    /// Share of the windows of devices with the version that were outside the limit. Example: `2.4%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 24))]
    pub value: Option<String>,

    /// Reserved; the limit is in `spec.slos`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 24))]
    pub threshold: Option<String>,

    /// What devices measured over their newest windows, with a 95 % interval, beside the devices without the version and the
    /// limit, and how many devices that rests on: at most 512 with the version and 512 without it, taken at random. Absent
    /// while nothing is known. Example: `P95 latency 612 ms (600 to 625), controls 480 ms, at most 500 ms; 20 and 60
    /// devices`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 160))]
    pub measured: Option<String>,

    /// Estimate of the rate of harm with the version divided by the rate without it. Example: `2.1`.
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

/// The verdict in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum VerdictKind {
    /// Harm of the stage's margin or more is ruled out.
    Healthy,
    /// Too few events to rule out any rise; nothing speaks against the version.
    Exposed,
    /// Harm is shown.
    Degraded,
    /// Neither.
    #[default]
    Undecided,
    /// Devices without the version are outside the limit as well, or none is left to compare with.
    Incident,
}

/// What a verdict rests on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum VerdictJudgedBy {
    /// A test within the error budget.
    #[default]
    Statistical,
    /// The merged value in several windows in a row.
    Plain,
    /// Exact Poisson tests against a limit by device and year.
    Poisson,
    /// Reserved.
    HardStop,
}
