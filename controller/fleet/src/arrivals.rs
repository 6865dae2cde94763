//! What a report tells for the first time: the windows after the last one that the device had reported before.
//!
//! It is what counters of arrivals grow by. Windows count when they come, however late, and never twice. Ground truth that
//! comes later for a window that was reported is not in it: the share of right answers is read from the newest windows.

use modelfleet_protocol::generated::{Counters, Report};
use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::latency::LatencyHistogram;
use modelfleet_protocol::window::add_counters;

/// What a report tells for the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// The build that it is about.
    pub digest: Digest,
    /// Windows.
    pub windows: u64,
    /// Their counters.
    pub counters: Counters,
    /// Latencies of the windows that have a histogram.
    pub latency: LatencyHistogram,
}

impl Arrived {
    /// What is new in a report of a device that has reported every window before `end`. `None`: nothing.
    #[must_use]
    pub fn of(report: &Report, end: u64) -> Option<Arrived> {
        let digest = Digest::from_slice(&report.digest)?;
        let mut arrived = Arrived {
            digest,
            windows: 0,
            counters: Counters::default(),
            latency: LatencyHistogram::default(),
        };
        for window in report.windows.iter().filter(|window| window.index >= end) {
            arrived.windows = arrived.windows.saturating_add(u64::from(window.span));
            add_counters(&mut arrived.counters, &window.counters.unwrap_or_default());
            let latency =
                window.latency.as_ref().and_then(|latency| LatencyHistogram::try_from(latency).ok());
            if let Some(latency) = latency {
                arrived.latency.merge(&latency);
            }
        }
        (arrived.windows > 0).then_some(arrived)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use modelfleet_protocol::generated::Window;

    #[test]
    fn each_window_counts_once() {
        let window = |index, span, requests| Window {
            index,
            span,
            counters: Some(Counters { requests, errors: 1, ..Counters::default() }),
            ..Window::default()
        };
        let mut report = Report { digest: vec![7; 32], ..Report::default() };
        report.windows = vec![window(10, 4, 40), window(14, 1, 9)];
        let first = Arrived::of(&report, 0).unwrap();
        assert_eq!((first.windows, first.counters.requests, first.counters.errors), (5, 49, 2));
        report.windows.push(window(15, 1, 8));
        let next = Arrived::of(&report, 15).unwrap();
        assert_eq!((next.windows, next.counters.requests), (1, 8));
        assert_eq!(Arrived::of(&report, 16), None, "the same report again");
        report.digest = Vec::new();
        assert_eq!(Arrived::of(&report, 0), None);
    }
}
