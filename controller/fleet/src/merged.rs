//! Windows merged over each arm of a rollout, for the plain rule and the incident watch.
//!
//! Only for models that are being rolled out, and with fewer devices for those whose last rollout has succeeded; of each
//! arm only the devices whose ids hash lowest, so that the cost is bounded and a restarted controller keeps the same
//! ones. Whole reports are kept, not sums: ground truth that arrives late changes windows of the past, and a newer report
//! then simply replaces the older one.

use std::collections::BTreeMap;
use std::sync::Arc;

use modelfleet_evidence::{MERGED_WINDOWS_MAX, SAMPLE_MAX};
use modelfleet_judge::Arm;
use modelfleet_protocol::generated::{Report, Tally, Window};
use modelfleet_protocol::ids::{DeviceId, Digest};
use modelfleet_protocol::membership::rank;
use modelfleet_protocol::metric::Metric;
use modelfleet_protocol::model::Profile;
use modelfleet_protocol::report::add_tally;
use modelfleet_protocol::time::Time;
use modelfleet_protocol::window::WindowSummary;

use crate::fair;
use crate::windows::Counting;

/// Most of them after the end, when what all devices suffer from is told and nothing is decided.
pub const ENDED_SAMPLE_MAX: usize = 64;

/// Most bytes that the reports of one arm take; the largest go first. A report of 30 windows with 7 features takes 20 kB, so
/// that honest fleets keep all their devices.
const ARM_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Reports of some devices of each arm. A copy shares the windows.
#[derive(Clone, Debug)]
pub struct Samples {
    candidate: Digest,
    counting: Counting,
    /// Most devices of an arm.
    most: usize,
    canaries: BTreeMap<(u64, DeviceId), Arc<SampledDevice>>,
    controls: BTreeMap<(u64, DeviceId), Arc<SampledDevice>>,
}

/// The windows of one device.
#[derive(Debug)]
struct SampledDevice {
    /// What they take, about.
    bytes: usize,
    /// The build that they are of.
    digest: Digest,
    /// When it activated the build that they are of, by its own clock.
    activated: Time,
    windows: Box<[Sampled]>,
}

/// One window of one device.
#[derive(Debug)]
struct Sampled {
    summary: WindowSummary,
    /// By indicator.
    tally: Tally,
}

/// What a window takes when it is kept: its counters, and eight bytes for each number of a list.
fn bytes_of(window: &Window) -> usize {
    let of_features: usize = window.features.iter().map(|bins| bins.counts.len()).sum();
    let of_latency = window.latency.as_ref().map_or(0, |latency| latency.counts.len());
    let of_confidence = window.confidence.as_ref().map_or(0, |bins| bins.counts.len());
    let of_tally = window.tally.as_ref().map_or(0, |tally| tally.known.len() + tally.bad.len());
    let numbers = of_features + of_latency + of_confidence + of_tally;
    size_of::<Sampled>() + 8 * numbers + 32 * window.features.len()
}

/// Lets the largest reports go until the others fit.
fn fit(arm: &mut BTreeMap<(u64, DeviceId), Arc<SampledDevice>>, most: usize) {
    let mut total: usize = arm.values().map(|device| device.bytes).sum();
    while total > most {
        // Of several that are alike the last one, as where there are too many devices.
        let largest = arm.iter().max_by_key(|(_, device)| device.bytes).map(|(key, _)| key.clone());
        let Some(gone) = largest.and_then(|key| arm.remove(&key)) else { return };
        total -= gone.bytes;
    }
}

/// One window of all devices of an arm.
#[derive(Debug, Default)]
pub struct Merged<'a> {
    /// What each of them saw.
    devices: Vec<&'a WindowSummary>,
    /// Device-windows known and bad, by indicator.
    pub tally: Tally,
}

impl Merged<'_> {
    /// The metric's value in its unit, and on how many samples it rests; see [`fair`].
    #[must_use]
    pub fn value(
        &self,
        metric: Metric,
        feature: Option<&str>,
        profile: Option<&Profile>,
    ) -> Option<(u64, u64)> {
        fair::value(&self.devices, metric, feature, profile)
    }
}

impl Samples {
    /// No reports yet of devices with `candidate` and of others, counted so.
    #[must_use]
    pub fn new(candidate: Digest, counting: Counting) -> Samples {
        Samples {
            candidate,
            counting,
            most: SAMPLE_MAX,
            canaries: BTreeMap::new(),
            controls: BTreeMap::new(),
        }
    }

    /// Whether they are about this candidate and this way of counting.
    #[must_use]
    pub fn are_of(&self, candidate: &Digest, counting: Counting) -> bool {
        &self.candidate == candidate && self.counting == counting
    }

    /// Whether it keeps at most so many devices of an arm.
    pub(crate) fn is_bound_to(&self, most: usize) -> bool {
        self.most == most
    }

    /// Keeps at most so many devices of an arm from now on.
    pub(crate) fn bound(&mut self, most: usize) {
        self.most = most;
        for arm in [&mut self.canaries, &mut self.controls] {
            while arm.len() > most {
                arm.pop_last();
            }
        }
    }

    fn has(&self, key: &(u64, DeviceId)) -> bool {
        self.canaries.contains_key(key) || self.controls.contains_key(key)
    }

    fn remove_key(&mut self, key: &(u64, DeviceId)) {
        self.canaries.remove(key);
        self.controls.remove(key);
    }

    /// A device is gone. Samples that do not have it are not copied.
    pub(crate) fn remove(samples: &mut Arc<Samples>, device: &DeviceId) {
        let key = (rank("sample", device), device.clone());
        if samples.has(&key) {
            Arc::make_mut(samples).remove_key(&key);
        }
    }

    /// A device's newest report. Samples that neither have the device nor take it are not copied.
    pub(crate) fn take(samples: &mut Arc<Samples>, device: &DeviceId, report: &Report) {
        let key = (rank("sample", device), device.clone());
        let Report { observe_id, window_ms, .. } = *report;
        let counts = samples.counting == Counting { observe_id, window_ms };
        let canary = report.digest == samples.candidate.0;
        let arm = if canary { &samples.canaries } else { &samples.controls };
        let full = arm.len() >= samples.most && arm.last_key_value().is_some_and(|(last, _)| *last < key);
        if !samples.has(&key) && (!counts || full) {
            return;
        }
        let samples = Arc::make_mut(samples);
        samples.remove_key(&key);
        if counts {
            samples.insert(canary, key, report);
        }
    }

    fn insert(&mut self, canary: bool, key: (u64, DeviceId), report: &Report) {
        let arm = if canary { &mut self.canaries } else { &mut self.controls };
        if arm.len() >= self.most && arm.last_key_value().is_some_and(|(last, _)| *last < key) {
            return;
        }
        let sampled = |window: &Window| Sampled {
            summary: WindowSummary::from(window),
            tally: window.tally.clone().unwrap_or_default(),
        };
        let kept = || report.windows.iter().filter(|w| w.span == 1);
        let (bytes, windows) = (kept().map(bytes_of).sum(), kept().map(sampled).collect());
        let digest = Digest::from_slice(&report.digest).unwrap_or(self.candidate);
        let activated = Time(report.activated_at_ms);
        arm.insert(key, Arc::new(SampledDevice { bytes, digest, activated, windows }));
        if arm.len() > self.most {
            arm.pop_last();
        }
        fit(arm, ARM_BYTES_MAX);
    }

    /// Calls `visit` for each device of an arm, with the time of its activation and its windows, oldest first.
    pub(crate) fn each_device(
        &self,
        arm: Arm,
        mut visit: impl FnMut(Time, &mut dyn Iterator<Item = &WindowSummary>),
    ) {
        let devices = match arm {
            Arm::Canary => &self.canaries,
            Arm::Control => &self.controls,
        };
        for device in devices.values() {
            visit(device.activated, &mut device.windows.iter().map(|window| &window.summary));
        }
    }

    /// The build that canaries have.
    #[must_use]
    pub fn candidate(&self) -> Digest {
        self.candidate
    }

    /// How the reports count.
    #[must_use]
    pub fn counting(&self) -> Counting {
        self.counting
    }

    /// Calls `visit` for each window of each device of an arm, with the device and its build.
    pub(crate) fn each_window<'a>(
        &'a self,
        arm: Arm,
        mut visit: impl FnMut(&'a DeviceId, Digest, &'a WindowSummary),
    ) {
        let devices = match arm {
            Arm::Canary => &self.canaries,
            Arm::Control => &self.controls,
        };
        for ((_, id), device) in devices {
            device.windows.iter().for_each(|window| visit(id, device.digest, &window.summary));
        }
    }

    /// What the devices of an arm saw in one window.
    #[must_use]
    pub fn window(&self, arm: Arm, index: u64) -> Vec<&WindowSummary> {
        let devices = match arm {
            Arm::Canary => &self.canaries,
            Arm::Control => &self.controls,
        };
        let windows = devices.values().flat_map(|device| &device.windows);
        windows.map(|window| &window.summary).filter(|summary| summary.index == index).collect()
    }

    /// The last windows of an arm merged over its devices, by index: of each device from the window on that `first` says for
    /// the time of its activation.
    #[must_use]
    pub fn merged(&self, arm: Arm, first: impl Fn(Time) -> u64) -> BTreeMap<u64, Merged<'_>> {
        let devices = match arm {
            Arm::Canary => &self.canaries,
            Arm::Control => &self.controls,
        };
        let mut merged: BTreeMap<u64, Merged<'_>> = BTreeMap::new();
        for device in devices.values() {
            let first = first(device.activated);
            for window in device.windows.iter().filter(|w| w.summary.index >= first) {
                let sum = merged.entry(window.summary.index).or_default();
                sum.devices.push(&window.summary);
                add_tally(&mut sum.tally, &window.tally);
                if merged.len() as u64 > MERGED_WINDOWS_MAX {
                    merged.pop_first();
                }
            }
        }
        merged
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use modelfleet_protocol::generated::Bins;

    /// A report of one window with so many numbers.
    fn report(numbers: usize) -> Report {
        let features = vec![Bins { counts: vec![1; numbers] }];
        let window = Window { index: 7, span: 1, features, ..Window::default() };
        Report { digest: vec![1; 32], window_ms: 1_000, windows: vec![window], ..Report::default() }
    }

    #[test]
    fn large_reports_take_no_more_room_than_there_is_and_small_ones_stay() {
        let counting = Counting { observe_id: 0, window_ms: 1_000 };
        let mut samples = Arc::new(Samples::new(Digest([1; 32]), counting));
        let device = |n: usize| -> DeviceId { format!("pump-{n:03}").parse().unwrap() };
        // Liars report as much as they can, and honest devices little.
        for n in 0..SAMPLE_MAX {
            let numbers = if n % 2 == 0 { 100_000 } else { 200 };
            Samples::take(&mut samples, &device(n), &report(numbers));
        }
        let taken: usize = samples.canaries.values().map(|device| device.bytes).sum();
        assert!(taken <= ARM_BYTES_MAX, "{taken} bytes");
        let honest = (0..SAMPLE_MAX).filter(|n| n % 2 == 1);
        assert!(honest.clone().all(|n| samples.has(&(rank("sample", &device(n)), device(n)))));
        assert!(samples.canaries.len() > honest.count(), "some of the large ones fit");
        // One that reports little again is back.
        Samples::take(&mut samples, &device(0), &report(200));
        assert!(samples.has(&(rank("sample", &device(0)), device(0))));
    }
}
