//! The metrics that an objective or a baseline can name.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A metric of a model, as devices measure it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Metric {
    /// Share of predictions that failed.
    ErrorRate,
    /// Share of predictions that were not ready in time.
    TimeoutRate,
    /// Median time of a prediction in a window.
    LatencyP50,
    /// 95th percentile of the time of a prediction in a window.
    LatencyP95,
    /// 99th percentile of the time of a prediction in a window.
    LatencyP99,
    /// Share of negative cases that the model called positive, from ground truth.
    FalsePositiveRate,
    /// Share of positive cases that the model did not call positive, from ground truth.
    MissedDetectionRate,
    /// Share of predictions that ground truth confirmed. Higher is better.
    Accuracy,
    /// Share of answers with a confidence below `baseline.confidence.lowBelow`.
    LowConfidenceRate,
    /// Share of input values that were missing.
    MissingFeatureRate,
    /// Share of input values outside the expected range.
    OutOfRangeRate,
    /// Population stability index of a feature against the baseline.
    FeaturePsi,
    /// Kullback-Leibler divergence of a feature against the baseline.
    FeatureKl,
    /// Share of processor time that the agent and the model use.
    CpuUsage,
    /// Share of memory that the agent and the model use.
    MemoryUsage,
    /// Share of prediction requests that the model itself answered. Higher is better.
    Availability,
}

impl Metric {
    /// Whether the limit is a duration.
    #[must_use]
    pub fn is_latency(self) -> bool {
        matches!(self, Self::LatencyP50 | Self::LatencyP95 | Self::LatencyP99)
    }

    /// Whether a value below the limit, not above it, is a breach.
    #[must_use]
    pub fn higher_is_better(self) -> bool {
        matches!(self, Self::Accuracy | Self::Availability)
    }

    /// Whether it is about one input feature.
    #[must_use]
    pub fn is_per_feature(self) -> bool {
        matches!(self, Self::FeaturePsi | Self::FeatureKl)
    }
}
