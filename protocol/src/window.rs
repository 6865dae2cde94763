//! One window of one model on one device: integer counters, exact to merge, and what a metric makes of them.

use crate::bins::Bins;
use crate::generated::Counters;
use crate::latency::LatencyHistogram;
use crate::metric::{Metric, Reading, mean, rate_micros, root_mean_micros};
use crate::model::Profile;
use crate::observe::Indicator;

/// What a device saw in one window, or in several adjacent ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WindowSummary {
    /// The first base window covered.
    pub index: u64,
    /// How many base windows are merged here.
    pub span: u32,
    /// Integer counters.
    pub counters: Counters,
    /// Durations of the requests.
    pub latency: LatencyHistogram,
    /// Confidence over the profile's bins; empty where there is no profile.
    pub confidence: Bins,
    /// Feature values over the profile's bins, in the profile's order.
    pub features: Vec<Bins>,
    /// Highest share of one core, millionths.
    pub cpu_ppm: u32,
    /// Highest resident memory, bytes.
    pub memory_bytes: u64,
    /// Highest share of the memory allowance, millionths.
    pub memory_ppm: u32,
}

fn ratio_micros(part: u64, whole: u64) -> Option<u64> {
    if whole == 0 {
        return None;
    }
    u64::try_from(u128::from(part) * 1_000_000 / u128::from(whole)).ok()
}

/// Adds counters field by field, without overflow.
pub fn add_counters(into: &mut Counters, from: &Counters) {
    let Counters {
        requests,
        errors,
        timeouts,
        low_confidence,
        true_positive,
        false_positive,
        true_negative,
        false_negative,
        readings,
        missing,
        out_of_range,
        available_ms,
        observed_ms,
        fallback,
        refused,
        class_known,
        class_right,
        value_known,
        absolute_error_micros,
        squared_error_micros,
        percentage_known,
        percentage_error_ppm,
        compared,
        agreed,
    } = from;
    for (sum, more) in [
        (&mut into.requests, requests),
        (&mut into.errors, errors),
        (&mut into.timeouts, timeouts),
        (&mut into.low_confidence, low_confidence),
        (&mut into.true_positive, true_positive),
        (&mut into.false_positive, false_positive),
        (&mut into.true_negative, true_negative),
        (&mut into.false_negative, false_negative),
        (&mut into.readings, readings),
        (&mut into.missing, missing),
        (&mut into.out_of_range, out_of_range),
        (&mut into.available_ms, available_ms),
        (&mut into.observed_ms, observed_ms),
        (&mut into.fallback, fallback),
        (&mut into.refused, refused),
        (&mut into.class_known, class_known),
        (&mut into.class_right, class_right),
        (&mut into.value_known, value_known),
        (&mut into.absolute_error_micros, absolute_error_micros),
        (&mut into.squared_error_micros, squared_error_micros),
        (&mut into.percentage_known, percentage_known),
        (&mut into.percentage_error_ppm, percentage_error_ppm),
        (&mut into.compared, compared),
        (&mut into.agreed, agreed),
    ] {
        *sum = sum.saturating_add(*more);
    }
}

/// The counters that ground truth fills, in a fixed order.
fn truth_counters(counters: &mut Counters) -> [&mut u64; 11] {
    [
        &mut counters.true_positive,
        &mut counters.false_positive,
        &mut counters.true_negative,
        &mut counters.false_negative,
        &mut counters.class_known,
        &mut counters.class_right,
        &mut counters.value_known,
        &mut counters.absolute_error_micros,
        &mut counters.squared_error_micros,
        &mut counters.percentage_known,
        &mut counters.percentage_error_ppm,
    ]
}

/// Puts what ground truth says `now` of a window in the place of what it said `before`. Other counters stay.
pub fn replace_truth(into: &mut Counters, mut before: Counters, mut now: Counters) {
    let (before, now) = (truth_counters(&mut before), truth_counters(&mut now));
    for ((sum, before), now) in truth_counters(into).into_iter().zip(before).zip(now) {
        *sum = sum.saturating_sub(*before).saturating_add(*now);
    }
}

/// The counters that ground truth fills, alone.
#[must_use]
pub fn truth_alone(counters: &Counters) -> Counters {
    let mut alone = Counters::default();
    replace_truth(&mut alone, Counters::default(), *counters);
    alone
}

impl WindowSummary {
    /// Adds what another window saw. Counters and histograms add exactly, in any order; the index becomes the
    /// earlier one and the span the number of base windows of both.
    pub fn merge(&mut self, other: &WindowSummary) {
        self.index = if self.span == 0 { other.index } else { self.index.min(other.index) };
        self.span = self.span.saturating_add(other.span);
        add_counters(&mut self.counters, &other.counters);
        self.latency.merge(&other.latency);
        self.confidence.merge(&other.confidence);
        if self.features.len() < other.features.len() {
            self.features.resize(other.features.len(), Bins::default());
        }
        self.features.iter_mut().zip(&other.features).for_each(|(a, b)| a.merge(b));
        self.cpu_ppm = self.cpu_ppm.max(other.cpu_ppm);
        self.memory_bytes = self.memory_bytes.max(other.memory_bytes);
        self.memory_ppm = self.memory_ppm.max(other.memory_ppm);
    }

    /// The metric's value in its unit, and on how many samples it rests. `None` where nothing is known.
    #[must_use]
    pub fn value(
        &self,
        metric: Metric,
        feature: Option<&str>,
        profile: Option<&Profile>,
    ) -> Option<(u64, u64)> {
        match metric.entry()?.reading {
            Reading::Ratio { part, whole } => {
                let (part, whole) = (part(&self.counters), whole(&self.counters));
                ratio_micros(part, whole).map(|value| (value, whole))
            }
            Reading::Rate { count, per_ms } => {
                let observed_ms = self.counters.observed_ms;
                let value = rate_micros(count(&self.counters), per_ms, observed_ms);
                value.map(|value| (value, observed_ms))
            }
            Reading::Mean { sum, count } => {
                let samples = count(&self.counters);
                mean(sum(&self.counters), samples).map(|value| (value, samples))
            }
            Reading::RootMean { sum, count } => {
                let samples = count(&self.counters);
                root_mean_micros(sum(&self.counters), samples).map(|value| (value, samples))
            }
            Reading::Quantile { ppm } => {
                self.latency.quantile(ppm).map(|value| (value, self.latency.count()))
            }
            Reading::Distance(distance) => self.worst(feature, profile?, distance.between),
            Reading::Highest(value) => (self.span > 0).then(|| (value(self), u64::from(self.span))),
        }
    }

    /// Whether the window lies beyond the indicator's threshold; `None` where it has too little data to say.
    #[must_use]
    pub fn is_bad(&self, indicator: &Indicator, profile: Option<&Profile>) -> Option<bool> {
        let (value, samples) = self.value(indicator.metric, indicator.feature.as_deref(), profile)?;
        (samples >= indicator.min_samples).then(|| indicator.metric.is_beyond(value, indicator.threshold))
    }

    fn worst(
        &self,
        feature: Option<&str>,
        profile: &Profile,
        distance: impl Fn(&Bins, &Bins) -> Option<u64>,
    ) -> Option<(u64, u64)> {
        let named = profile.features.iter().zip(&self.features);
        named
            .filter(|(reference, _)| feature.is_none_or(|name| reference.name == name))
            .filter_map(|(reference, seen)| Some((distance(seen, &reference.counts)?, seen.total())))
            .max()
    }
}
