//! The table of metrics. A new metric is an entry here, and a counter where no window has what it is read from.

use serde::{Deserialize, Serialize};

use super::Needs::{Confidence, Nothing, Profile, Ranges, Truth};
use super::Reading::{self, Highest, Quantile};
use super::Unit::{Duration, Number, PerSecond, PerYear, Share};
use super::Worse::{Above, Below};
use super::{Distance, Entry};
use crate::bins::{kl_micros, psi_micros};
use crate::generated::Counters;

macro_rules! metrics {
    ($($(#[doc = $doc:literal])+ $name:ident { $($field:ident: $value:expr),+ $(,)? })+) => {
        /// A metric of one model on one device over one window.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Metric {
            $($(#[doc = $doc])+ $name,)+
            /// A metric of a newer controller: never known here.
            #[serde(other)]
            Unknown,
        }

        /// Every metric, in the order of the names.
        pub static TABLE: &[Entry] = &[
            $(Entry {
                metric: Metric::$name,
                name: stringify!($name),
                doc: concat!($($doc),+),
                $($field: $value),+
            }),+
        ];
    };
}

/// A year of 365 days.
const YEAR_MS: u64 = 365 * 24 * 3_600_000;

const fn ratio(part: fn(&Counters) -> u64, whole: fn(&Counters) -> u64) -> Reading {
    Reading::Ratio { part, whole }
}

/// Cases that ground truth calls positive.
fn positive(c: &Counters) -> u64 {
    c.true_positive.saturating_add(c.false_negative)
}

/// Cases that ground truth calls negative.
fn negative(c: &Counters) -> u64 {
    c.true_negative.saturating_add(c.false_positive)
}

/// Cases whose ground truth is known.
fn known(c: &Counters) -> u64 {
    positive(c).saturating_add(negative(c))
}

fn twice_right_alarms(c: &Counters) -> u64 {
    c.true_positive.saturating_mul(2)
}

fn twice_right_alarms_and_errors(c: &Counters) -> u64 {
    twice_right_alarms(c).saturating_add(c.false_positive).saturating_add(c.false_negative)
}

fn completed(c: &Counters) -> u64 {
    c.requests.saturating_sub(c.errors).saturating_sub(c.timeouts)
}

fn right(c: &Counters) -> u64 {
    if c.class_known > 0 { c.class_right } else { c.true_positive.saturating_add(c.true_negative) }
}

fn confirmable(c: &Counters) -> u64 {
    if c.class_known > 0 { c.class_known } else { known(c) }
}

metrics! {
    /// Share of predictions that failed.
    ErrorRate {
        unit: Share, worse: Above, needs: Nothing,
        reading: ratio(|c| c.errors, |c| c.requests),
        breach: "too many errors", label: "errors", prometheus: "prediction_errors",
    }
    /// Share of predictions that were not ready in time.
    TimeoutRate {
        unit: Share, worse: Above, needs: Nothing,
        reading: ratio(|c| c.timeouts, |c| c.requests),
        breach: "too many timeouts", label: "timeouts", prometheus: "prediction_timeouts",
    }
    /// Predictions that one device completed in a second, by the model or the fallback: neither failed nor timed out.
    Throughput {
        unit: PerSecond, worse: Below, needs: Nothing,
        reading: Reading::Rate { count: completed, per_ms: 1_000 },
        breach: "too few predictions", label: "throughput", prometheus: "predictions",
    }
    /// Median time of a prediction in a window.
    LatencyP50 {
        unit: Duration, worse: Above, needs: Nothing,
        reading: Quantile { ppm: 500_000 },
        breach: "slow answers", label: "P50 latency", prometheus: "latency_p50",
    }
    /// 90th percentile of the time of a prediction in a window.
    LatencyP90 {
        unit: Duration, worse: Above, needs: Nothing,
        reading: Quantile { ppm: 900_000 },
        breach: "slow answers", label: "P90 latency", prometheus: "latency_p90",
    }
    /// 95th percentile of the time of a prediction in a window.
    LatencyP95 {
        unit: Duration, worse: Above, needs: Nothing,
        reading: Quantile { ppm: 950_000 },
        breach: "slow answers", label: "P95 latency", prometheus: "latency_p95",
    }
    /// 99th percentile of the time of a prediction in a window.
    LatencyP99 {
        unit: Duration, worse: Above, needs: Nothing,
        reading: Quantile { ppm: 990_000 },
        breach: "slow answers", label: "P99 latency", prometheus: "latency_p99",
    }
    /// Share of negative cases that the model called positive, from ground truth.
    FalsePositiveRate {
        unit: Share, worse: Above, needs: Truth,
        reading: ratio(|c| c.false_positive, negative),
        breach: "too many false alarms", label: "false alarms", prometheus: "false_positive",
    }
    /// Share of positive cases that the model did not call positive, from ground truth.
    MissedDetectionRate {
        unit: Share, worse: Above, needs: Truth,
        reading: ratio(|c| c.false_negative, positive),
        breach: "too many missed detections", label: "missed detections", prometheus: "missed_detections",
    }
    /// Share of predictions that ground truth confirmed: of the classes, where it names classes, else of alarms and no alarms.
    Accuracy {
        unit: Share, worse: Below, needs: Truth,
        reading: ratio(right, confirmable),
        breach: "too few correct answers", label: "accuracy", prometheus: "accuracy",
    }
    /// Share of positive answers that ground truth confirmed: TP / (TP + FP).
    Precision {
        unit: Share, worse: Below, needs: Truth,
        reading: ratio(|c| c.true_positive, |c| c.true_positive.saturating_add(c.false_positive)),
        breach: "too many of the alarms are false", label: "precision", prometheus: "precision",
    }
    /// Share of positive cases that the model called positive, from ground truth: TP / (TP + FN).
    Recall {
        unit: Share, worse: Below, needs: Truth,
        reading: ratio(|c| c.true_positive, positive),
        breach: "too few cases detected", label: "recall", prometheus: "recall",
    }
    /// Harmonic mean of precision and recall, from ground truth: 2 TP / (2 TP + FP + FN).
    F1 {
        unit: Share, worse: Below, needs: Truth,
        reading: ratio(twice_right_alarms, twice_right_alarms_and_errors),
        breach: "too low an F1 score", label: "F1 score", prometheus: "f1",
    }
    /// Share of negative cases that the model called negative, from ground truth: TN / (TN + FP).
    Specificity {
        unit: Share, worse: Below, needs: Truth,
        reading: ratio(|c| c.true_negative, negative),
        breach: "too low a specificity", label: "specificity", prometheus: "specificity",
    }
    /// False alarms of one device in a year, from ground truth: those that are known by now, over the time that was observed.
    FalsePositivesPerYear {
        unit: PerYear, worse: Above, needs: Truth,
        reading: Reading::Rate { count: |c| c.false_positive, per_ms: YEAR_MS },
        breach: "too many false alarms a year", label: "false alarms a year", prometheus: "false_positives",
    }
    /// Missed detections of one device in a year, from ground truth: those that are known by now, over the time that was
    /// observed.
    FalseNegativesPerYear {
        unit: PerYear, worse: Above, needs: Truth,
        reading: Reading::Rate { count: |c| c.false_negative, per_ms: YEAR_MS },
        breach: "too many missed detections a year", label: "missed detections a year", prometheus: "false_negatives",
    }
    /// Mean absolute error of answers that are a number, from ground truth.
    MeanAbsoluteError {
        unit: Number, worse: Above, needs: Truth,
        reading: Reading::Mean { sum: |c| c.absolute_error_micros, count: |c| c.value_known },
        breach: "too large errors", label: "mean absolute error", prometheus: "mean_absolute_error",
    }
    /// Root of the mean squared error of answers that are a number, from ground truth.
    RootMeanSquaredError {
        unit: Number, worse: Above, needs: Truth,
        reading: Reading::RootMean { sum: |c| c.squared_error_micros, count: |c| c.value_known },
        breach: "too large errors", label: "root mean squared error", prometheus: "root_mean_squared_error",
    }
    /// Mean error of answers that are a number as a share of the true value, from ground truth; true values of zero are left out.
    MeanAbsolutePercentageError {
        unit: Share, worse: Above, needs: Truth,
        reading: Reading::Mean { sum: |c| c.percentage_error_ppm, count: |c| c.percentage_known },
        breach: "too large errors", label: "mean percentage error", prometheus: "mean_absolute_percentage_error",
    }
    /// Share of the rows that a build in shadow answered like the build that answers: the same class, the same alarm, or a
    /// number within 1 %. Measured in stages with `mode: Shadow`; it cannot be an objective, because live stages have no shadow.
    ShadowAgreement {
        unit: Share, worse: Below, needs: Nothing,
        reading: ratio(|c| c.agreed, |c| c.compared),
        breach: "too many answers of the shadow differ", label: "agreement of the shadow", prometheus: "shadow_agreement",
    }
    /// Share of predictions that the fallback answered, because a pre-filter kept the row from the model or the model could
    /// not answer.
    FallbackRate {
        unit: Share, worse: Above, needs: Nothing,
        reading: ratio(|c| c.fallback, |c| c.requests),
        breach: "too many answers of the fallback", label: "fallback answers", prometheus: "fallback_answers",
    }
    /// Share of requests that were refused, because their inputs have another type, shape or name than the model takes.
    RefusedRate {
        unit: Share, worse: Above, needs: Nothing,
        reading: ratio(|c| c.refused, |c| c.requests.saturating_add(c.refused)),
        breach: "too many requests of the wrong type", label: "refused requests", prometheus: "refused_requests",
    }
    /// Share of answers with a confidence below `baseline.confidence.lowBelow`.
    LowConfidenceRate {
        unit: Share, worse: Above, needs: Confidence,
        reading: ratio(|c| c.low_confidence, |c| c.requests),
        breach: "too many answers with low confidence", label: "low confidence", prometheus: "low_confidence",
    }
    /// Share of input values that were missing.
    MissingFeatureRate {
        unit: Share, worse: Above, needs: Nothing,
        reading: ratio(|c| c.missing, |c| c.readings),
        breach: "too many missing input values", label: "missing inputs", prometheus: "missing_readings",
    }
    /// Share of input values outside the expected range.
    OutOfRangeRate {
        unit: Share, worse: Above, needs: Ranges,
        reading: ratio(|c| c.out_of_range, |c| c.readings),
        breach: "too many input values out of range", label: "inputs out of range",
        prometheus: "out_of_range_readings",
    }
    /// Population stability index of a feature against the baseline: the sum over bins of
    /// (actual - expected) ln(actual / expected).
    FeaturePsi {
        unit: Number, worse: Above, needs: Profile,
        reading: Reading::Distance(Distance { kept_as: 1, between: psi_micros }),
        breach: "drift", label: "PSI of inputs", prometheus: "feature_psi",
    }
    /// Kullback-Leibler divergence of a feature against the baseline, in nats: the sum over bins of
    /// actual ln(actual / expected).
    FeatureKl {
        unit: Number, worse: Above, needs: Profile,
        reading: Reading::Distance(Distance { kept_as: 2, between: kl_micros }),
        breach: "drift", label: "KL divergence of inputs", prometheus: "feature_kl",
    }
    /// Share of processor time that the agent and the model use: the highest of a window.
    CpuUsage {
        unit: Share, worse: Above, needs: Nothing,
        reading: Highest(|w| u64::from(w.cpu_ppm)),
        breach: "too much CPU time", label: "CPU", prometheus: "device_cpu_usage",
    }
    /// Share of memory that the agent and the model use: the highest of a window.
    MemoryUsage {
        unit: Share, worse: Above, needs: Nothing,
        reading: Highest(|w| u64::from(w.memory_ppm)),
        breach: "too much memory", label: "memory", prometheus: "device_memory_usage",
    }
    /// Share of the observed time in which the model could answer.
    Availability {
        unit: Share, worse: Below, needs: Nothing,
        reading: ratio(|c| c.available_ms, |c| c.observed_ms),
        breach: "too little availability", label: "availability", prometheus: "availability",
    }
}
