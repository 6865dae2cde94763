//! What can be watched. Every metric ends as a 0/1 per device and window: beyond the threshold or not.

use serde::{Deserialize, Serialize};

/// A metric of one model on one device over one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Metric {
    /// Requests answered with an error, of all.
    ErrorRate,
    /// Requests that ran out of time, of all.
    TimeoutRate,
    /// The latency that half of the requests do not exceed.
    LatencyP50,
    /// The latency that 95 % of the requests do not exceed.
    LatencyP95,
    /// The latency that 99 % of the requests do not exceed.
    LatencyP99,
    /// False alarms, of all requests whose truth is known to be normal.
    FalsePositiveRate,
    /// Missed detections, of all requests whose truth is known to be positive.
    MissedDetectionRate,
    /// Right answers, of all requests whose truth is known; bad when *below* its threshold.
    Accuracy,
    /// Requests whose confidence was under the model's bound, of all.
    LowConfidenceRate,
    /// Missing or non-finite feature values, of all readings.
    MissingFeatureRate,
    /// Feature values outside the expected range, of all readings.
    OutOfRangeRate,
    /// Population stability index of a feature against the reference profile.
    FeaturePsi,
    /// Kullback-Leibler divergence of a feature from the reference profile.
    FeatureKl,
    /// Highest share of one core.
    CpuUsage,
    /// Highest share of the memory allowance.
    MemoryUsage,
    /// Share of the window in which the model could answer; bad when *below* its threshold.
    Availability,
    /// A metric of a newer controller: never known here.
    #[serde(other)]
    Unknown,
}

/// The unit that a metric's threshold and values are whole numbers of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Millionths: of a share, or of a distance without a unit.
    Micros,
    /// Nanoseconds.
    Nanos,
}

impl Metric {
    /// The unit of thresholds and values.
    #[must_use]
    pub fn unit(self) -> Unit {
        match self {
            Metric::LatencyP50 | Metric::LatencyP95 | Metric::LatencyP99 => Unit::Nanos,
            _ => Unit::Micros,
        }
    }

    /// Whether small values are the bad ones.
    #[must_use]
    pub fn bad_below(self) -> bool {
        matches!(self, Metric::Accuracy | Metric::Availability)
    }

    /// Whether it is read from a histogram; all others are read from counters.
    #[must_use]
    pub fn rests_on_histogram(self) -> bool {
        use Metric::{FeatureKl, FeaturePsi, LatencyP50, LatencyP95, LatencyP99};
        matches!(self, LatencyP50 | LatencyP95 | LatencyP99 | FeaturePsi | FeatureKl)
    }

    /// Whether a feature may be named with it.
    #[must_use]
    pub fn of_feature(self) -> bool {
        matches!(self, Metric::FeaturePsi | Metric::FeatureKl)
    }
}
