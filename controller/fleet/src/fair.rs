//! One value of one window for many devices, in which none has more weight than the others: of a device that counted
//! more than the typical one, its shares count and not its numbers. So one that forges its counts moves the value no
//! further than one of them can.

use modelfleet_protocol::bins::Bins;
use modelfleet_protocol::generated::Counters;
use modelfleet_protocol::latency::LatencyHistogram;
use modelfleet_protocol::metric::{Metric, Reading, mean, rate_micros, root_mean_micros};
use modelfleet_protocol::model::Profile;
use modelfleet_protocol::window::WindowSummary;

/// The weight of a device that counted as much as the typical one or more.
const WHOLE: u64 = 1 << 32;

/// How much each device counts: its total up to the typical one's, in parts of [`WHOLE`].
struct Weights {
    each: Vec<u64>,
    /// The totals, those beyond the typical one cut to it.
    samples: u64,
}

impl Weights {
    /// `None` where nothing was counted.
    fn of(totals: &[u64]) -> Option<Weights> {
        let mut sorted: Vec<u64> = totals.iter().copied().filter(|total| *total > 0).collect();
        sorted.sort_unstable();
        // The lower one of two in the middle: half of the devices or more then weigh the whole.
        let typical = *sorted.get(sorted.len().checked_sub(1)? / 2)?;
        let weight = |total: &u64| scaled(WHOLE, (*total).min(typical), typical);
        let samples = totals.iter().fold(0_u64, |sum, total| sum.saturating_add((*total).min(typical)));
        Some(Weights { each: totals.iter().map(weight).collect(), samples })
    }

    fn sum(&self) -> u64 {
        self.each.iter().sum()
    }
}

/// `number * part / whole` to the nearest, which is no more than `number`.
fn scaled(number: u64, part: u64, whole: u64) -> u64 {
    let whole = whole.max(1);
    let exact = u128::from(number) * u128::from(part.min(whole)) + u128::from(whole / 2);
    u64::try_from(exact / u128::from(whole)).unwrap_or(number)
}

/// The value of a metric in its unit over the same window of some devices, and on how many samples it rests. `None`
/// where nothing is known.
#[must_use]
pub fn value(
    devices: &[&WindowSummary],
    metric: Metric,
    feature: Option<&str>,
    profile: Option<&Profile>,
) -> Option<(u64, u64)> {
    match metric.entry()?.reading {
        Reading::Ratio { part, whole } => share(devices, part, whole),
        Reading::Rate { count, per_ms } => rate(devices, count, per_ms),
        Reading::Mean { sum, count } => mean_of(devices, count, |c| mean(sum(c), count(c))),
        // Over devices the mean of their roots: one device's square would outweigh all others.
        Reading::RootMean { sum, count } => mean_of(devices, count, |c| root_mean_micros(sum(c), count(c))),
        Reading::Quantile { ppm } => quantile(devices, ppm),
        Reading::Distance(distance) => worst(devices, feature, profile?, distance.between),
        // The typical device: the highest of all would be any one's to say.
        Reading::Highest(value) => typical(devices.iter().map(|window| value(window))),
    }
}

fn share(
    devices: &[&WindowSummary],
    part: fn(&Counters) -> u64,
    whole: fn(&Counters) -> u64,
) -> Option<(u64, u64)> {
    let parts: Vec<(u64, u64)> =
        devices.iter().map(|window| (part(&window.counters), whole(&window.counters))).collect();
    let weights = Weights::of(&parts.iter().map(|(_, whole)| *whole).collect::<Vec<_>>())?;
    let each = parts.iter().zip(&weights.each).map(|((part, whole), weight)| scaled(*weight, *part, *whole));
    Some((scaled(1_000_000, each.sum(), weights.sum()), weights.samples))
}

/// A rate has no end that a device could not go beyond by lying: the highest counts as the second highest.
fn rate(devices: &[&WindowSummary], count: fn(&Counters) -> u64, per_ms: u64) -> Option<(u64, u64)> {
    let observed: Vec<u64> = devices.iter().map(|window| window.counters.observed_ms).collect();
    let weights = Weights::of(&observed)?;
    let rates = devices
        .iter()
        .map(|window| rate_micros(count(&window.counters), per_ms, window.counters.observed_ms).unwrap_or(0));
    let mut sorted: Vec<u64> = rates.clone().collect();
    sorted.sort_unstable();
    let second = sorted.len().saturating_sub(2);
    let most = sorted.get(second).copied().unwrap_or(u64::MAX);
    let each =
        rates.zip(&weights.each).map(|(rate, weight)| u128::from(rate.min(most)) * u128::from(*weight));
    let mean = each.sum::<u128>() / u128::from(weights.sum()).max(1);
    Some((u64::try_from(mean).unwrap_or(u64::MAX), weights.samples))
}

/// A mean over devices, each by the samples that it may weigh. Like a rate, a mean has no end that a device could not go
/// beyond by lying: the highest counts as the second highest.
fn mean_of(
    devices: &[&WindowSummary],
    count: fn(&Counters) -> u64,
    value: impl Fn(&Counters) -> Option<u64>,
) -> Option<(u64, u64)> {
    let counts: Vec<u64> = devices.iter().map(|window| count(&window.counters)).collect();
    let weights = Weights::of(&counts)?;
    let values: Vec<u64> = devices.iter().map(|window| value(&window.counters).unwrap_or(0)).collect();
    let mut sorted = values.clone();
    sorted.sort_unstable();
    let most = sorted.get(sorted.len().saturating_sub(2)).copied().unwrap_or(u64::MAX);
    let each = values
        .iter()
        .zip(&weights.each)
        .map(|(value, weight)| u128::from((*value).min(most)) * u128::from(*weight));
    let mean = each.sum::<u128>() / u128::from(weights.sum()).max(1);
    Some((u64::try_from(mean).unwrap_or(u64::MAX), weights.samples))
}

fn quantile(devices: &[&WindowSummary], ppm: u32) -> Option<(u64, u64)> {
    let (sum, samples) = weighted_latency(devices)?;
    Some((sum.quantile(ppm)?, samples))
}

/// Latencies in parts of [`WHOLE`], and on how many samples they rest.
fn weighted_latency(devices: &[&WindowSummary]) -> Option<(LatencyHistogram, u64)> {
    let totals: Vec<u64> = devices.iter().map(|window| window.latency.count()).collect();
    let weights = Weights::of(&totals)?;
    let mut sum = LatencyHistogram::default();
    devices.iter().zip(&weights.each).for_each(|(window, weight)| sum.merge_as(&window.latency, *weight));
    Some((sum, weights.samples))
}

/// The latencies of one window over some devices, as many as they rest on: those that [`value`] reads its quantiles from.
#[must_use]
pub fn latency(devices: &[&WindowSummary]) -> LatencyHistogram {
    let mut latency = LatencyHistogram::default();
    if let Some((sum, samples)) = weighted_latency(devices) {
        latency.merge_as(&sum, samples);
    }
    latency
}

fn worst(
    devices: &[&WindowSummary],
    feature: Option<&str>,
    profile: &Profile,
    distance: impl Fn(&Bins, &Bins) -> Option<u64>,
) -> Option<(u64, u64)> {
    let wanted =
        profile.features.iter().enumerate().filter(|(_, f)| feature.is_none_or(|name| f.name == name));
    let one = |(at, reference): (usize, &modelfleet_protocol::model::FeatureProfile)| {
        let seen = bins(devices, at, reference.counts.0.len())?;
        Some((distance(&seen, &reference.counts)?, seen.total()))
    };
    wanted.filter_map(one).max()
}

/// The bins of one feature. Small in number where devices have seen few values: what an empty bin says hangs on that.
fn bins(devices: &[&WindowSummary], feature: usize, shape: usize) -> Option<Bins> {
    let seen: Vec<&Bins> = devices.iter().filter_map(|window| window.features.get(feature)).collect();
    merged_bins(seen, shape)
}

/// Bins of several devices as one, in which none has more weight than the others. `None` where nothing was counted.
#[must_use]
pub fn merged_bins(seen: Vec<&Bins>, shape: usize) -> Option<Bins> {
    let seen: Vec<&Bins> = seen.into_iter().filter(|bins| bins.0.len() == shape).collect();
    let totals: Vec<u64> = seen.iter().map(|bins| bins.total()).collect();
    let weights = Weights::of(&totals)?;
    let of = |bin: usize| {
        let each = seen.iter().zip(&totals).zip(&weights.each);
        let sum = each.map(|((bins, total), weight)| scaled(*weight, bins.0[bin], *total)).sum();
        scaled(weights.samples, sum, weights.sum())
    };
    Some(Bins((0..shape).map(of).collect()))
}

fn typical(values: impl Iterator<Item = u64>) -> Option<(u64, u64)> {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    let middle = values.len().checked_sub(1)? / 2;
    Some((*values.get(middle)?, values.len() as u64))
}

#[cfg(test)]
mod tests;
