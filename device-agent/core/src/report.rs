//! The report: what a device says of the build that its evidence is about.

use modelfleet_protocol::generated::{History, Report, Window};
use modelfleet_protocol::observe::Observe;
use modelfleet_protocol::report::REPORT_BYTES_MAX;
use prost::Message as _;

use crate::backlog::Backlog;
use crate::pace::Pace;
use crate::turn::Turn;
use crate::unit::Unit;

impl Unit {
    /// The report as of now, without its number; none while there is nothing to say.
    pub fn compose(&self, turn: &Turn<'_>) -> Option<Report> {
        let plan = self.kept.plan.as_ref()?;
        let observe = &plan.observe;
        let subject = self.subject()?;
        let slot = self.slot(&subject)?;
        let book = self.observation.book(&subject)?;
        let attempts = self.kept.attempts.iter().rev();
        let shadow = self.work.shadow == Some(subject);
        let rollout = if shadow {
            attempts.clone().find(|t| t.attempt.digest == subject).map(|t| t.attempt.rollout.clone())
        } else {
            self.kept
                .active
                .as_ref()
                .filter(|a| a.digest == subject && !slot.stable)
                .map(|a| a.rollout.clone())
        };
        let since = observe.since.window_index(observe.window_ms);
        // A device with the stable build is its own past; one with the candidate has that of the build before.
        let before = if slot.stable { Some(slot) } else { self.former(&subject) };
        let history = before.filter(|_| since > 0).and_then(|before| {
            let past = &self.observation.book(&before.build.digest)?.past;
            let most = turn.limits.history_windows.max(1);
            let through_index = past.range(0, since).last()?.index;
            let profile = before.build.profile.as_ref();
            let tally = Some(past.tally(past.last_before(most, since), since, &observe.indicators, profile));
            Some(History { digest: before.build.digest.0.to_vec(), tally, through_index })
        });
        if book.backlog.0.is_empty() && history.is_none() {
            return None;
        }
        let bare = Report {
            device: turn.identity.device.to_string(),
            namespace: turn.identity.namespace.to_string(),
            model: self.model.to_string(),
            digest: subject.0.to_vec(),
            rollout: rollout.unwrap_or_default(),
            sequence: 0,
            sent_at_ms: turn.now.0,
            activated_at_ms: slot.activated.0,
            window_ms: observe.window_ms,
            observe_id: observe.id(),
            windows: Vec::new(),
            history,
            plan_epoch: self.kept.seen.epoch,
            plan_revision: self.kept.seen.revision,
        };
        Some(filled(bare, &book.backlog, self.pace(), observe, turn.payload_bytes_max))
    }

    /// The build that ran before a candidate.
    fn former(&self, candidate: &modelfleet_protocol::ids::Digest) -> Option<&crate::saved::Slot> {
        let others = self.kept.slots.iter().filter(|slot| &slot.build.digest != candidate && slot.proven);
        others.max_by_key(|slot| (Some(slot.build.digest) == self.stable(), slot.activated))
    }
}

/// The report with its windows, in at most so many bytes. Histograms go first; then old windows become one: what
/// verdicts rest on, tallies and counters, is always there in whole.
fn filled(
    mut report: Report,
    windows: &Backlog,
    pace: Pace,
    observe: &Observe,
    payload_bytes_max: usize,
) -> Report {
    // The number is filled in later: at most ten bytes.
    let most_bytes = payload_bytes_max.min(REPORT_BYTES_MAX).saturating_sub(16);
    let mut entries = pace.entries_max();
    loop {
        let shown = windows.shown(entries, pace.histograms(observe)).0;
        report.windows = shown.iter().map(|entry| (&entry.summary, entry.tally.clone()).into()).collect();
        report = trimmed(report, most_bytes);
        if report.encoded_len() <= most_bytes || entries <= 1 {
            return report;
        }
        entries /= 2;
    }
}

/// Leaves out histograms for people, oldest first, until the report is small enough.
fn trimmed(mut report: Report, most: usize) -> Report {
    let mut bytes = report.encoded_len();
    let mut trim = |report: &mut Report, strip: fn(&mut Window)| {
        for at in 0..report.windows.len() {
            if bytes <= most {
                return;
            }
            bytes -= report.windows[at].encoded_len();
            strip(&mut report.windows[at]);
            bytes += report.windows[at].encoded_len();
        }
        bytes = report.encoded_len();
    };
    trim(&mut report, |window| window.features.clear());
    trim(&mut report, |window| window.confidence = None);
    trim(&mut report, |window| window.latency = None);
    report
}

#[cfg(test)]
mod tests {
    use modelfleet_protocol::bins::Bins;
    use modelfleet_protocol::generated::{Counters, Tally};
    use modelfleet_protocol::window::WindowSummary;

    use super::*;

    fn backlog(features: Vec<Bins>) -> Backlog {
        let mut backlog = Backlog::default();
        for index in 0..64 {
            let counters = Counters { requests: 7, ..Counters::default() };
            let window =
                WindowSummary { index, counters, features: features.clone(), ..WindowSummary::default() };
            backlog.add(&window, true, |_| Tally { known: vec![1; 8], bad: vec![0; 8] });
        }
        backlog
    }

    fn told(report: &Report) -> (u64, u32) {
        let requests = report.windows.iter().filter_map(|w| w.counters).map(|c| c.requests).sum();
        (requests, report.windows.iter().filter_map(|w| w.tally.as_ref()).map(|t| t.known[7]).sum())
    }

    /// Histograms that alone are more than a report may have.
    #[test]
    fn a_report_that_is_too_large_loses_histograms_oldest_first_and_no_counter() {
        let observe = Observe { window_ms: 1, histogram_windows: 64, ..Observe::default() };
        let backlog = backlog(vec![Bins(vec![1_000_000; 21]); 256]);
        let report = filled(Report::default(), &backlog, Pace::Watched, &observe, usize::MAX);
        assert!(report.encoded_len() < REPORT_BYTES_MAX);
        assert!(report.windows[0].features.is_empty() && !report.windows[63].features.is_empty());
        assert_eq!((report.windows.len(), told(&report)), (64, (7 * 64, 64)));
    }

    #[test]
    fn a_report_is_no_larger_than_the_broker_takes_and_counts_the_same() {
        let observe = Observe { window_ms: 1, ..Observe::default() };
        let backlog = backlog(vec![Bins(vec![1_000_000; 21]); 7]);
        let (mut before, mut shapes) = (usize::MAX, Vec::new());
        for most in [1_000_000, 6_000, 4_000, 2_000, 1_000, 400] {
            let report = filled(Report::default(), &backlog, Pace::Watched, &observe, most);
            assert!(report.encoded_len() <= most - 16 && report.encoded_len() <= before, "{most}");
            assert_eq!(told(&report), (7 * 64, 64), "{most}");
            before = report.encoded_len();
            let histograms = report.windows.iter().filter(|w| !w.features.is_empty()).count();
            shapes.push((report.windows.len(), histograms));
        }
        assert_eq!(shapes[0], (64, 4), "with room");
        assert!(shapes.iter().all(|shape| shape.0 > 0) && shapes[5].0 < 16, "{shapes:?}");
    }

    #[test]
    fn an_idle_report_is_short_and_counts_the_same() {
        let observe = Observe { window_ms: 1, histogram_windows: 9, ..Observe::default() };
        let backlog = backlog(vec![Bins(vec![1_000_000; 21]); 7]);
        let report = filled(Report::default(), &backlog, Pace::Idle, &observe, usize::MAX);
        assert!(report.windows.iter().all(|w| w.features.is_empty()) && report.encoded_len() < 1_000);
        assert_eq!((report.windows.len(), told(&report)), (16, (7 * 64, 64)));
        assert!(report.windows.iter().rev().take(8).all(|w| w.span == 1), "the newest can be told apart");
    }
}
