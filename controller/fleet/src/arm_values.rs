//! What an arm measured: the value of a metric over its devices, with an interval that knows that windows of one device are
//! alike.
//!
//! The interval comes from leaving out a tenth of the devices at a time (Quenouille and Tukey's jackknife by groups, with
//! Student's t): devices differ, and ten thousand requests of one device say little about the others. A share has Wilson's
//! interval (JASA 1927) for as many samples as that spread is worth (Kish's design effect, Survey Sampling, 1965), so that
//! none bad of few is not told as none at all.

use std::collections::BTreeMap;

use modelfleet_judge::Arm;
use modelfleet_protocol::metric::{Measured, Metric, Reading, Unit};
use modelfleet_protocol::model::Profile;
use modelfleet_protocol::time::Time;
use modelfleet_protocol::window::WindowSummary;

use crate::fair;
use crate::merged::Samples;

/// Groups of devices that are left out in turn.
const GROUPS: usize = 10;
/// Fewer groups give no interval.
const GROUPS_MIN: usize = 3;
/// Student's t at 97.5 % for one degree of freedom less than so many groups, from [`GROUPS_MIN`] on, in thousandths.
const T_MILLI: [u64; GROUPS + 1 - GROUPS_MIN] = [4_303, 3_182, 2_776, 2_571, 2_447, 2_365, 2_306, 2_262];
/// The normal distribution's 97.5 % point.
const Z: f64 = 1.959_964;

/// The windows of an arm, added up device by device.
#[derive(Debug, Default)]
pub struct ArmWindows {
    /// In the order of the sample, which is random.
    devices: Vec<WindowSummary>,
}

/// What a metric is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The metric.
    pub metric: Metric,
    /// The feature, for metrics of features.
    pub feature: Option<&'a str>,
    /// The reference profile.
    pub profile: Option<&'a Profile>,
}

impl Samples {
    /// The newest windows of an arm, added up device by device: of each device from the window on that `first` says for the
    /// time of its activation.
    #[must_use]
    pub fn arm_windows(&self, arm: Arm, first: impl Fn(Time) -> u64) -> ArmWindows {
        let mut devices = Vec::new();
        self.each_device(arm, |activated, windows| {
            let first = first(activated);
            let mut sum = WindowSummary::default();
            windows.filter(|window| window.index >= first).for_each(|window| sum.merge(window));
            if sum.span > 0 {
                devices.push(sum);
            }
        });
        ArmWindows { devices }
    }

    /// The newest window that at least half of the sampled devices of an arm have reported, with what each of them saw.
    #[must_use]
    pub fn last_window(&self, arm: Arm) -> Option<(u64, ArmWindows)> {
        let mut by_index: BTreeMap<u64, usize> = BTreeMap::new();
        let mut devices = 0;
        self.each_device(arm, |_, windows| {
            devices += 1;
            windows.for_each(|window| *by_index.entry(window.index).or_default() += 1);
        });
        let (&last, _) = by_index.iter().rev().find(|(_, count)| **count * 2 >= devices)?;
        let mut found = ArmWindows::default();
        self.each_device(arm, |_, windows| {
            found.devices.extend(windows.filter(|window| window.index == last).cloned());
        });
        Some((last, found))
    }
}

impl ArmWindows {
    /// How many devices there are.
    #[must_use]
    pub fn devices(&self) -> usize {
        self.devices.len()
    }

    /// The value of a metric alone, without its interval.
    #[must_use]
    pub fn merged(&self, wanted: Wanted<'_>) -> Option<u64> {
        let devices: Vec<&WindowSummary> = self.devices.iter().collect();
        fair::value(&devices, wanted.metric, wanted.feature, wanted.profile).map(|(value, _)| value)
    }

    /// The value of a metric, with its interval. `None` where nothing is known.
    #[must_use]
    pub fn value(&self, wanted: Wanted<'_>) -> Option<Measured> {
        let reading = wanted.metric.entry()?.reading;
        let known: Vec<&WindowSummary> =
            self.devices.iter().filter(|device| has_samples(device, reading)).collect();
        let value =
            |devices: &[&WindowSummary]| fair::value(devices, wanted.metric, wanted.feature, wanted.profile);
        let (all, samples) = value(&known)?;
        // A distance is a sum over bins of which few are in use: it has no normal error.
        let spread = match reading {
            Reading::Distance(_) => None,
            _ => spread(&known, |devices| value(devices).map(|(value, _)| value)),
        };
        let interval = spread.map(|(error, t_milli)| match wanted.metric.unit() {
            Unit::Share if matches!(reading, Reading::Ratio { .. }) => share_interval(all, samples, error),
            _ => {
                let half = error.saturating_mul(t_milli) / 1_000;
                (all.saturating_sub(half), all.saturating_add(half))
            }
        });
        let devices = u32::try_from(known.len()).unwrap_or(u32::MAX);
        Some(Measured { value: all, interval, samples, devices })
    }
}

fn has_samples(window: &WindowSummary, reading: Reading) -> bool {
    match reading {
        Reading::Ratio { whole, .. } => whole(&window.counters) > 0,
        Reading::Rate { .. } => window.counters.observed_ms > 0,
        Reading::Mean { count, .. } | Reading::RootMean { count, .. } => count(&window.counters) > 0,
        Reading::Quantile { .. } => window.latency.count() > 0,
        Reading::Distance(_) => window.features.iter().any(|bins| bins.total() > 0),
        Reading::Highest(_) => window.span > 0,
    }
}

/// The standard error of a value by leaving out groups of devices, and Student's t for so many groups in thousandths. `None`
/// with too few devices.
fn spread(
    devices: &[&WindowSummary],
    value: impl Fn(&[&WindowSummary]) -> Option<u64>,
) -> Option<(u64, u64)> {
    let groups = devices.len().min(GROUPS);
    let t_milli = *T_MILLI.get(groups.checked_sub(GROUPS_MIN)?)?;
    let without = |group: usize| -> Vec<&WindowSummary> {
        let kept = devices.iter().enumerate().filter(|(at, _)| at % groups != group);
        kept.map(|(_, device)| *device).collect()
    };
    let values: Option<Vec<u64>> = (0..groups).map(|group| value(&without(group))).collect();
    let values = values?;
    let count = groups as u128;
    let mean = values.iter().map(|value| u128::from(*value)).sum::<u128>() / count;
    let squares = values.iter().map(|value| u128::from(*value).abs_diff(mean).saturating_pow(2));
    let sum = squares.fold(0_u128, u128::saturating_add);
    let variance = sum / count * (count - 1);
    Some((u64::try_from(variance.isqrt()).unwrap_or(u64::MAX), t_milli))
}

/// Wilson's interval of a share in millionths, for as many samples as its standard error is worth.
fn share_interval(value: u64, samples: u64, error: u64) -> (u64, u64) {
    const WHOLE: f64 = 1e6;
    let (p, n) = (value.min(1_000_000) as f64 / WHOLE, samples.max(1) as f64);
    let of_one = p * (1.0 - p);
    let error = error as f64 / WHOLE;
    let worth = if error * error * n > of_one && of_one > 0.0 { of_one / (error * error) } else { n };
    let z2 = Z * Z / worth;
    let middle = (p + z2 / 2.0) / (1.0 + z2);
    let half = (of_one / worth * Z * Z + z2 * z2 / 4.0).sqrt() / (1.0 + z2);
    let millionths = |share: f64| (share.clamp(0.0, 1.0) * WHOLE).round() as u64;
    (millionths(middle - half).min(value), millionths(middle + half).max(value))
}

#[cfg(test)]
mod tests;
