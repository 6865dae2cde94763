//! Reports: checked when read, so that nothing behind this door meets a malformed one.

use prost::Message as _;

use crate::bins::{Bins, EDGES_MAX};
use crate::generated::{self, Report, Tally};
use crate::ids::{DeviceId, Digest, ModelName, Namespace};
use crate::latency::LatencyHistogram;
use crate::observe::INDICATORS_MAX;
use crate::window::WindowSummary;

/// Most bytes of a report; a larger one is refused unread.
pub const REPORT_BYTES_MAX: usize = 256 * 1024;
/// Most windows in a report; a device merges older ones in place.
pub const WINDOWS_MAX: usize = 64;
/// The last window that there is: numbers beyond would leave no room to count on from. With windows of a millisecond it
/// lies some million years ahead.
pub const INDEX_MAX: u64 = u64::MAX >> 9;
/// Most features that a report counts one by one.
pub const FEATURES_MAX: usize = 4096;
/// Most answers that a device can give in a millisecond: what a window of so many of them can hold.
pub const ANSWERS_PER_MS_MAX: u64 = 1_000;

/// Why a report is refused.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// More bytes than a report may have.
    #[error("report has {0} bytes; at most {REPORT_BYTES_MAX} are allowed")]
    Size(usize),
    /// Not a report.
    #[error("report cannot be read")]
    Decode(#[from] prost::DecodeError),
    /// Its device, namespace or model differ from its topic.
    #[error("report of {0:?} is on the topic of another device, namespace or model")]
    Topic(String),
    /// Fields that contradict each other or exceed a bound.
    #[error("report is invalid: {0}")]
    Content(&'static str),
}

/// Reads the report that arrived on the topic of this namespace, device and model, and holds its bounds.
///
/// # Errors
/// When it is too large, not a report, another device's, or beyond a bound.
pub fn read(
    namespace: &Namespace,
    device: &DeviceId,
    model: &ModelName,
    bytes: &[u8],
) -> Result<Report, ReportError> {
    if bytes.len() > REPORT_BYTES_MAX {
        return Err(ReportError::Size(bytes.len()));
    }
    let report = Report::decode(bytes)?;
    if (report.device.as_str(), report.namespace.as_str(), report.model.as_str())
        != (device.as_str(), namespace.as_str(), model.as_str())
    {
        return Err(ReportError::Topic(report.device.chars().take(80).collect()));
    }
    check(&report)?;
    Ok(report)
}

fn check(report: &Report) -> Result<(), ReportError> {
    let bound = |ok: bool, what| if ok { Ok(()) } else { Err(ReportError::Content(what)) };
    bound(Digest::from_slice(&report.digest).is_some(), "the digest has not 32 bytes")?;
    bound(report.window_ms > 0, "windows of no length")?;
    bound(report.rollout.len() <= 320, "the rollout's name is too long")?;
    bound(report.windows.len() <= WINDOWS_MAX, "too many windows")?;
    let mut next = 0;
    for window in &report.windows {
        bound(window.span > 0 && window.index >= next, "windows overlap or run backwards")?;
        bound(window.index <= INDEX_MAX, "a window beyond the end of time")?;
        next = window.index + u64::from(window.span);
        bound(window.tally.as_ref().is_none_or(|t| fits(t, window.span)), "a tally beyond its windows")?;
        bound(window.features.len() <= FEATURES_MAX, "too many features")?;
        let bins = window.features.iter().chain(&window.confidence);
        bound(bins.clone().all(|b| b.counts.len() <= EDGES_MAX + 1), "too many bins")?;
        bound(holds(window, report.window_ms), "more counted than its windows can hold")?;
        if let Some(latency) = &window.latency {
            bound(LatencyHistogram::try_from(latency).is_ok(), "latency buckets outside 64 octaves")?;
        }
    }
    let history = report.history.as_ref().and_then(|h| h.tally.as_ref());
    bound(history.is_none_or(|t| fits(t, u32::MAX)), "a history beyond its windows")
}

/// Whether a window of this length can hold what it counts.
fn holds(window: &generated::Window, window_ms: u64) -> bool {
    let time_ms = window_ms.saturating_mul(u64::from(window.span));
    let answers = time_ms.saturating_mul(ANSWERS_PER_MS_MAX);
    let readings = answers.saturating_mul(FEATURES_MAX as u64);
    let sum = |counts: &[u64]| counts.iter().fold(0_u64, |sum, count| sum.saturating_add(*count));
    let c = window.counters.unwrap_or_default();
    let counted = [
        c.requests,
        c.errors,
        c.timeouts,
        c.low_confidence,
        c.fallback,
        sum(&[c.true_positive, c.false_positive, c.true_negative, c.false_negative]),
        c.class_known.max(c.class_right),
        c.value_known.max(c.percentage_known),
        c.compared.max(c.agreed),
        window.latency.as_ref().map_or(0, |l| sum(&l.counts).saturating_add(l.zero)),
    ];
    let mut bins = window.features.iter().chain(&window.confidence);
    // Times may be longer than the window: a device's clock is set. They weigh no more for that.
    counted.into_iter().all(|count| count <= answers)
        && [c.readings, c.missing, c.out_of_range].into_iter().all(|count| count <= readings)
        && bins.all(|bins| sum(&bins.counts) <= answers)
}

fn fits(tally: &Tally, windows: u32) -> bool {
    tally.known.len() == tally.bad.len()
        && tally.known.len() <= INDICATORS_MAX
        && tally.known.iter().zip(&tally.bad).all(|(&known, &bad)| bad <= known && known <= windows)
}

/// Adds a tally to another, indicator by indicator.
pub fn add_tally(into: &mut Tally, from: &Tally) {
    let grow = from.known.len().max(into.known.len());
    into.known.resize(grow, 0);
    into.bad.resize(grow, 0);
    into.known.iter_mut().zip(&from.known).for_each(|(a, b)| *a = a.saturating_add(*b));
    into.bad.iter_mut().zip(&from.bad).for_each(|(a, b)| *a = a.saturating_add(*b));
}

impl From<(&WindowSummary, Tally)> for generated::Window {
    fn from((summary, tally): (&WindowSummary, Tally)) -> Self {
        let bins = |b: &Bins| generated::Bins { counts: b.0.clone() };
        generated::Window {
            index: summary.index,
            span: summary.span,
            tally: Some(tally),
            counters: Some(summary.counters),
            latency: (summary.latency.count() > 0).then(|| (&summary.latency).into()),
            confidence: (!summary.confidence.0.is_empty()).then(|| bins(&summary.confidence)),
            features: summary.features.iter().map(bins).collect(),
            resources: Some(generated::Resources {
                cpu_ppm: summary.cpu_ppm,
                memory_bytes: summary.memory_bytes,
                memory_ppm: summary.memory_ppm,
                ..generated::Resources::default()
            }),
        }
    }
}

impl From<&generated::Window> for WindowSummary {
    /// Reads a window that [`read`] has checked; latency buckets that do not fit count as none.
    fn from(wire: &generated::Window) -> Self {
        let bins = |b: &generated::Bins| Bins(b.counts.clone());
        let resources = wire.resources.unwrap_or_default();
        WindowSummary {
            index: wire.index,
            span: wire.span,
            counters: wire.counters.unwrap_or_default(),
            latency: wire.latency.as_ref().and_then(|l| l.try_into().ok()).unwrap_or_default(),
            confidence: wire.confidence.as_ref().map(bins).unwrap_or_default(),
            features: wire.features.iter().map(bins).collect(),
            cpu_ppm: resources.cpu_ppm,
            memory_bytes: resources.memory_bytes,
            memory_ppm: resources.memory_ppm,
        }
    }
}
