//! The past of one build: its last windows in short form. A plan that names other indicators later can still be answered
//! from them.

use std::collections::VecDeque;

use modelfleet_protocol::bins::{kl_micros, psi_micros};
use modelfleet_protocol::generated::{Counters, Tally};
use modelfleet_protocol::metric::{Metric, Reading, TABLE};
use modelfleet_protocol::model::Profile;
use modelfleet_protocol::observe::Indicator;
use modelfleet_protocol::window::{WindowSummary, add_counters, replace_truth, truth_alone};
use prost::Message;

/// Features whose drift is kept one by one; the worst of all is always kept.
pub const DRIFT_FEATURES_MAX: usize = 16;

/// Percentiles of the latency, in millionths of the requests, that have a field of their own.
const OWN_FIELDS_PPM: [u32; 3] = [500_000, 950_000, 990_000];

/// Numbers of the distances that are kept of each feature: see [`modelfleet_protocol::metric::Distance`].
const PSI: u32 = 1;
const KL: u32 = 2;

/// The percentiles that metrics are read from.
fn percentiles() -> impl Iterator<Item = u32> {
    TABLE.iter().filter_map(|entry| match entry.reading {
        Reading::Quantile { ppm } => Some(ppm),
        _ => None,
    })
}

/// A base window in short form: what its indicators can be computed from, without histograms.
#[derive(Clone, PartialEq, Message)]
pub struct PastWindow {
    /// The base window.
    #[prost(uint64, tag = "1")]
    pub index: u64,
    /// Integer counters.
    #[prost(message, required, tag = "2")]
    pub counters: Counters,
    /// Durations counted.
    #[prost(uint64, tag = "3")]
    pub latency_count: u64,
    /// Latency of half of the requests, nanoseconds.
    #[prost(uint64, tag = "4")]
    pub latency_p50_ns: u64,
    /// Latency of 95 % of the requests, nanoseconds.
    #[prost(uint64, tag = "5")]
    pub latency_p95_ns: u64,
    /// Latency of 99 % of the requests, nanoseconds.
    #[prost(uint64, tag = "6")]
    pub latency_p99_ns: u64,
    /// Highest share of one core, millionths.
    #[prost(uint32, tag = "7")]
    pub cpu_ppm: u32,
    /// Highest share of the memory allowance, millionths.
    #[prost(uint32, tag = "8")]
    pub memory_ppm: u32,
    /// Drift from the profile: the worst feature's first, then of each of the first features.
    #[prost(message, repeated, tag = "9")]
    pub drift: Vec<Drift>,
    /// Further percentiles of the latency.
    #[prost(message, repeated, tag = "10")]
    pub latency: Vec<Percentile>,
}

/// A percentile of the latency.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Percentile {
    /// Millionths of the requests that do not exceed it.
    #[prost(uint32, tag = "1")]
    pub ppm: u32,
    /// Nanoseconds.
    #[prost(uint64, tag = "2")]
    pub nanos: u64,
}

/// Distance of a feature from the reference profile.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Drift {
    /// Population stability index, millionths.
    #[prost(uint64, tag = "1")]
    pub psi_micros: u64,
    /// Values that it rests on; 0: not known.
    #[prost(uint64, tag = "2")]
    pub psi_samples: u64,
    /// Kullback-Leibler divergence, millionths.
    #[prost(uint64, tag = "3")]
    pub kl_micros: u64,
    /// Values that it rests on; 0: not known.
    #[prost(uint64, tag = "4")]
    pub kl_samples: u64,
}

fn drift(window: &WindowSummary, profile: &Profile) -> Vec<Drift> {
    let worst = |metric| window.value(metric, None, Some(profile)).unwrap_or((0, 0));
    let (psi, kl) = (worst(Metric::FeaturePsi), worst(Metric::FeatureKl));
    let first = Drift { psi_micros: psi.0, psi_samples: psi.1, kl_micros: kl.0, kl_samples: kl.1 };
    let features = profile.features.iter().zip(&window.features).take(DRIFT_FEATURES_MAX);
    let each = features.map(|(reference, seen)| {
        let known = |distance: Option<u64>| distance.map_or((0, 0), |d| (d, seen.total()));
        let (psi, kl) =
            (known(psi_micros(seen, &reference.counts)), known(kl_micros(seen, &reference.counts)));
        Drift { psi_micros: psi.0, psi_samples: psi.1, kl_micros: kl.0, kl_samples: kl.1 }
    });
    std::iter::once(first).chain(each).collect()
}

impl PastWindow {
    /// The short form of a window.
    #[must_use]
    pub fn of(window: &WindowSummary, profile: Option<&Profile>) -> PastWindow {
        let quantile = |ppm| window.latency.quantile(ppm).unwrap_or_default();
        let further = percentiles().filter(|ppm| !OWN_FIELDS_PPM.contains(ppm));
        let latency = match window.latency.count() {
            0 => Vec::new(),
            _ => further.map(|ppm| Percentile { ppm, nanos: quantile(ppm) }).collect(),
        };
        PastWindow {
            index: window.index,
            counters: window.counters,
            latency_count: window.latency.count(),
            latency_p50_ns: quantile(500_000),
            latency_p95_ns: quantile(950_000),
            latency_p99_ns: quantile(990_000),
            cpu_ppm: window.cpu_ppm,
            memory_ppm: window.memory_ppm,
            latency,
            drift: profile
                .filter(|p| !p.features.is_empty() && !window.features.is_empty())
                .map(|profile| drift(window, profile))
                .unwrap_or_default(),
        }
    }

    /// The window without its histograms: exact counters.
    #[must_use]
    pub fn summary(&self) -> WindowSummary {
        WindowSummary {
            index: self.index,
            span: 1,
            counters: self.counters,
            cpu_ppm: self.cpu_ppm,
            memory_ppm: self.memory_ppm,
            ..WindowSummary::default()
        }
    }

    /// The same answer as [`WindowSummary::is_bad`] on the whole window.
    fn is_bad(&self, indicator: &Indicator, profile: Option<&Profile>) -> Option<bool> {
        let (value, samples) = match indicator.metric.entry()?.reading {
            Reading::Quantile { ppm } => (self.percentile(ppm)?, self.latency_count),
            Reading::Distance(distance) => {
                self.distance(distance.kept_as, indicator.feature.as_deref(), profile)?
            }
            Reading::Ratio { .. }
            | Reading::Rate { .. }
            | Reading::Mean { .. }
            | Reading::RootMean { .. }
            | Reading::Highest(_) => {
                return self.summary().is_bad(indicator, profile);
            }
        };
        (samples >= indicator.min_samples).then(|| indicator.metric.is_beyond(value, indicator.threshold))
    }

    fn percentile(&self, ppm: u32) -> Option<u64> {
        let nanos = match ppm {
            500_000 => self.latency_p50_ns,
            950_000 => self.latency_p95_ns,
            990_000 => self.latency_p99_ns,
            _ => self.latency.iter().find(|kept| kept.ppm == ppm)?.nanos,
        };
        (self.latency_count > 0).then_some(nanos)
    }

    /// A distance from the profile and the values that it rests on: of one feature, or of the one that is farthest.
    fn distance(&self, kept_as: u32, feature: Option<&str>, profile: Option<&Profile>) -> Option<(u64, u64)> {
        let drift = match feature {
            None => self.drift.first()?,
            Some(name) => {
                let at = profile?.features.iter().position(|f| f.name == name)?;
                self.drift.get(at + 1)?
            }
        };
        let kept = match kept_as {
            PSI => (drift.psi_micros, drift.psi_samples),
            KL => (drift.kl_micros, drift.kl_samples),
            _ => return None,
        };
        (kept.1 > 0).then_some(kept)
    }

    /// Adds another part of the same window. Counters add exactly; latency and drift are those of the part
    /// that rests on more.
    fn add(&mut self, more: PastWindow) {
        add_counters(&mut self.counters, &more.counters);
        self.cpu_ppm = self.cpu_ppm.max(more.cpu_ppm);
        self.memory_ppm = self.memory_ppm.max(more.memory_ppm);
        if more.latency_count > self.latency_count {
            self.latency_count = more.latency_count;
            self.latency_p50_ns = more.latency_p50_ns;
            self.latency_p95_ns = more.latency_p95_ns;
            self.latency_p99_ns = more.latency_p99_ns;
            self.latency = more.latency;
            self.drift = more.drift;
        }
    }
}

/// The last base windows of one build, by index.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Past(pub VecDeque<PastWindow>);

impl Past {
    /// Adds a window; beyond `most` before `since`, and beyond `most` from there on, the oldest of either makes room.
    /// True when its index was not there.
    ///
    /// Two bounds, because a device that waits for the candidate goes on adding windows: with one bound its past would
    /// shrink while that of a device with the candidate stands still, and the two could not be compared.
    pub fn add(&mut self, window: PastWindow, most: usize, since: u64) -> bool {
        let at = self.0.partition_point(|w| w.index < window.index);
        match self.0.get_mut(at) {
            Some(known) if known.index == window.index => {
                known.add(window);
                return false;
            }
            _ => self.0.insert(at, window),
        }
        let before = self.0.partition_point(|w| w.index < since);
        let after = self.0.len() - before;
        if after > most {
            self.0.drain(before..before + after - most);
        }
        self.0.drain(..before.saturating_sub(most));
        true
    }

    /// Puts the short form of a whole window in the place of what is known of it.
    pub fn replace(&mut self, window: PastWindow) {
        let at = self.0.partition_point(|w| w.index < window.index);
        if let Some(known) = self.0.get_mut(at).filter(|known| known.index == window.index) {
            *known = window;
        }
    }

    /// Sets what ground truth says of the window with this index. Returns what it said before; `None`: the window is not kept.
    pub fn set_truth(&mut self, index: u64, now: Counters) -> Option<Counters> {
        let at = self.0.partition_point(|w| w.index < index);
        let known = self.0.get_mut(at).filter(|known| known.index == index)?;
        let before = truth_alone(&known.counters);
        replace_truth(&mut known.counters, before, now);
        Some(before)
    }

    /// Windows from `from` to before `to`.
    pub fn range(&self, from: u64, to: u64) -> impl Iterator<Item = &PastWindow> {
        let start = self.0.partition_point(|w| w.index < from);
        self.0.iter().skip(start).take_while(move |w| w.index < to)
    }

    /// Counts the windows from `from` to before `to`, indicator by indicator.
    #[must_use]
    pub fn tally(&self, from: u64, to: u64, indicators: &[Indicator], profile: Option<&Profile>) -> Tally {
        let mut tally = empty_tally(indicators.len());
        for window in self.range(from, to) {
            count(&mut tally, indicators, |indicator| window.is_bad(indicator, profile));
        }
        tally
    }

    /// Where the last `most` windows before `to` begin.
    #[must_use]
    pub fn last_before(&self, most: usize, to: u64) -> u64 {
        let end = self.0.partition_point(|w| w.index < to);
        self.0.get(end.saturating_sub(most)).map_or(to, |window| window.index)
    }
}

/// A tally of nothing.
#[must_use]
pub fn empty_tally(indicators: usize) -> Tally {
    Tally { known: vec![0; indicators], bad: vec![0; indicators] }
}

/// Counts one window into a tally.
pub fn count(tally: &mut Tally, indicators: &[Indicator], is_bad: impl Fn(&Indicator) -> Option<bool>) {
    for (i, indicator) in indicators.iter().enumerate() {
        if let (Some(bad), Some(known)) = (is_bad(indicator), tally.known.get_mut(i)) {
            *known = known.saturating_add(1);
            if let Some(count) = tally.bad.get_mut(i).filter(|_| bad) {
                *count = count.saturating_add(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(index: u64) -> PastWindow {
        PastWindow { index, ..PastWindow::default() }
    }

    /// A device with the candidate adds no more windows of the build before; a device without it goes on.
    #[test]
    fn the_past_is_equal_however_long_a_device_goes_on() {
        let (most, since) = (600, 2_000);
        let grown = |until: u64| {
            let mut past = Past::default();
            (0..until).for_each(|index| {
                past.add(window(index), most, since);
            });
            past
        };
        let with_candidate = grown(since + 3);
        for after in [4, 60, 504, 600, 601, 5_000] {
            let without = grown(since + after);
            for past in [&with_candidate, &without] {
                let from = past.last_before(most, since);
                assert_eq!(
                    (from, past.range(from, since).count()),
                    (since - 600, 600),
                    "{after} windows later"
                );
            }
            assert!(without.0.len() <= 2 * most, "bounded");
            assert_eq!(without.0.back().map(|w| w.index), Some(since + after - 1), "the newest stays");
        }
    }

    #[test]
    fn a_later_rollout_finds_the_newest_windows_before_it() {
        let mut past = Past::default();
        (0..1_000).for_each(|index| {
            past.add(window(index), 600, 700);
        });
        assert_eq!(past.last_before(600, 1_000), 400);
        past.add(window(1_000), 600, 1_000);
        assert_eq!((past.0.len(), past.0.front().map(|w| w.index)), (601, Some(400)));
    }
}
