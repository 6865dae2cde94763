//! Detectors by name: what people know from elsewhere, over one stream each and without a promise.
//!
//! `docs/detectors.md` has their measured run lengths. Of each watched stream the newest [`HISTORY_WINDOWS`] values are kept, and a
//! detector that began with the first of them is asked whether it calls at the newest one. So a restart changes nothing.

use std::collections::BTreeMap;

use modelfleet_monitor::detect::{
    Adwin, Cusum, Ddm, Detector, Eddm, Ewma, HddmA, Kswin, PageHinkley, Signal, ZScore,
};

use crate::stream::Stream;

/// Values that are kept of a stream: two weeks of hourly windows.
pub const HISTORY_WINDOWS: usize = 336;
/// Most detectors.
pub const NAMED_MAX: usize = 4;
/// Values without which a threshold that is learned says nothing.
const LEARNED_MIN: usize = 24;
/// The same of one hour of the day.
const SEASON_MIN: usize = 5;

/// A detector or threshold by name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NamedKind {
    /// ADWIN.
    Adwin,
    /// DDM.
    Ddm,
    /// EDDM.
    Eddm,
    /// HDDM-A.
    Hddm,
    /// KSWIN.
    Kswin,
    /// Page-Hinkley.
    PageHinkley,
    /// The CUSUM chart.
    Cusum,
    /// The EWMA chart.
    Ewma,
    /// Three standard deviations.
    ThreeSigma,
    /// Above a share, in millionths.
    Above(u32),
    /// Above the mean of the windows before by so many thousandths of a standard deviation.
    Dynamic(u32),
    /// The same against the same hour of the days before.
    Seasonal(u32),
    /// Above this percentile of the windows before, in millionths.
    Percentile(u32),
    /// More than so many millionths beyond or below the window before, as a share of that one.
    RateOfChange(u32),
}

/// One of them over one stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    /// What it is called in the spec.
    pub name: String,
    /// What it does.
    pub kind: NamedKind,
    /// What it watches.
    pub stream: Stream,
}

/// The newest values of the streams that detectors watch, millionths, the newest last.
pub type History = BTreeMap<Stream, Vec<u32>>;

/// Keeps a value.
pub fn note(history: &mut History, stream: &Stream, value_ppm: u32) {
    let values = history.entry(stream.clone()).or_default();
    if values.len() >= HISTORY_WINDOWS {
        values.drain(..=values.len() - HISTORY_WINDOWS);
    }
    values.push(value_ppm);
}

/// Whether a detector calls at the newest value. `of_day`: windows of a day; 0 or 1 for windows as long as a day.
#[must_use]
pub fn calls(kind: NamedKind, values: &[u32], of_day: usize) -> bool {
    let Some((&last, before)) = values.split_last() else { return false };
    let replayed = |detector: &mut dyn Detector| {
        let mut signals = values.iter().map(|value| detector.update(f64::from(*value) / 1e6));
        signals.by_ref().last() == Some(Signal::Drift)
    };
    match kind {
        NamedKind::Adwin => replayed(&mut Adwin::default()),
        NamedKind::Ddm => replayed(&mut Ddm::default()),
        NamedKind::Eddm => replayed(&mut Eddm::default()),
        NamedKind::Hddm => replayed(&mut HddmA::default()),
        NamedKind::Kswin => replayed(&mut Kswin::default()),
        NamedKind::PageHinkley => replayed(&mut PageHinkley::default()),
        NamedKind::Cusum => replayed(&mut Cusum::default()),
        NamedKind::Ewma => replayed(&mut Ewma::default()),
        NamedKind::ThreeSigma => replayed(&mut ZScore::default()),
        NamedKind::Above(most) => last > most,
        NamedKind::Dynamic(width) => before.len() >= LEARNED_MIN && is_beyond(last, before, width),
        NamedKind::Seasonal(width) => {
            let same: Vec<u32> =
                before.iter().rev().skip(of_day.max(1) - 1).step_by(of_day.max(1)).copied().collect();
            same.len() >= SEASON_MIN && is_beyond(last, &same, width)
        }
        NamedKind::Percentile(ppm) => before.len() >= LEARNED_MIN && last > percentile(before, ppm),
        NamedKind::RateOfChange(most) => before.last().is_some_and(|&previous| {
            let off = u64::from(last.abs_diff(previous)) * 1_000_000;
            off > u64::from(previous.max(1)) * u64::from(most)
        }),
    }
}

fn is_beyond(last: u32, before: &[u32], width_milli: u32) -> bool {
    let count = before.len() as f64;
    let mean = before.iter().map(|value| f64::from(*value)).sum::<f64>() / count;
    let variance =
        before.iter().map(|value| (f64::from(*value) - mean) * (f64::from(*value) - mean)).sum::<f64>()
            / count;
    f64::from(last) > mean + f64::from(width_milli) / 1_000.0 * libm::sqrt(variance)
}

fn percentile(before: &[u32], ppm: u32) -> u32 {
    let mut sorted = before.to_vec();
    sorted.sort_unstable();
    let at = sorted.len() as u64 * u64::from(ppm) / 1_000_000;
    let at = usize::try_from(at).unwrap_or(usize::MAX).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fourteen days of 24 windows with a rhythm, then `last`.
    fn rhythm(last: u32) -> Vec<u32> {
        let hour = |at: u32| 10_000 + 1_000 * (at % 24) + at * 7 % 13;
        (0..335).map(hour).chain([last]).collect()
    }

    #[test]
    fn thresholds_call_beyond_them_and_not_at_them() {
        // The last value is of the hour 23 of its day.
        let [usual, odd] = [rhythm(33_000), rhythm(34_000)];
        assert!(!calls(NamedKind::Above(33_000), &usual, 24));
        assert!(calls(NamedKind::Above(33_000), &odd, 24));
        assert!(!calls(NamedKind::Seasonal(3_000), &usual, 24));
        assert!(calls(NamedKind::Seasonal(3_000), &odd, 24), "odd for this hour");
        assert!(!calls(NamedKind::Dynamic(3_000), &odd, 24), "not odd for all hours");
        assert!(calls(NamedKind::Dynamic(3_000), &rhythm(60_000), 24));
        assert!(calls(NamedKind::Percentile(990_000), &odd, 24));
        assert!(!calls(NamedKind::Percentile(990_000), &rhythm(20_000), 24));
        assert!(calls(NamedKind::RateOfChange(500_000), &rhythm(60_000), 24));
        assert!(!calls(NamedKind::RateOfChange(500_000), &usual, 24));
        assert!(!calls(NamedKind::Dynamic(3_000), &[1, 2, 90], 24), "too little is known");
    }

    #[test]
    fn detectors_call_when_their_stream_has_changed() {
        use NamedKind as K;
        let quiet = |at: u32| 10_000 + at * 7_919 % 1_000;
        for kind in [K::Adwin, K::Kswin, K::Cusum, K::Ewma, K::ThreeSigma] {
            let mut history = History::new();
            let mut called = |value| {
                note(&mut history, &Stream::Silence, value);
                calls(kind, &history[&Stream::Silence], 24)
            };
            assert!((0..100).any(|at| !called(quiet(at))));
            assert!((0..60).any(|at| called(300_000 + quiet(at))), "{kind:?}");
        }
    }

    #[test]
    fn the_history_is_bounded() {
        let mut history = History::new();
        (0..1_000).for_each(|value| note(&mut history, &Stream::Silence, value));
        assert_eq!(history[&Stream::Silence].len(), HISTORY_WINDOWS);
        assert_eq!(history[&Stream::Silence].last(), Some(&999));
    }
}
