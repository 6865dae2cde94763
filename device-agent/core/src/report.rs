//! The report: what a device says of the build that its evidence is about.

use modelfleet_protocol::generated::{History, Report, Window};
use modelfleet_protocol::report::REPORT_BYTES_MAX;
use prost::Message as _;

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
        let windows: Vec<Window> =
            book.backlog.0.iter().map(|entry| (&entry.summary, entry.tally.clone()).into()).collect();
        if windows.is_empty() && history.is_none() {
            return None;
        }
        let report = Report {
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
            windows,
            history,
        };
        Some(fitted(report))
    }

    /// The build that ran before a candidate.
    fn former(&self, candidate: &modelfleet_protocol::ids::Digest) -> Option<&crate::saved::Slot> {
        let others = self.kept.slots.iter().filter(|slot| &slot.build.digest != candidate && slot.proven);
        others.max_by_key(|slot| (Some(slot.build.digest) == self.stable(), slot.activated))
    }
}

/// Leaves out histograms for people, oldest first, until the report is small enough. What verdicts rest on,
/// tallies and counters, always fits.
fn fitted(mut report: Report) -> Report {
    // The number is filled in later: at most ten bytes.
    let most = REPORT_BYTES_MAX - 16;
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
    use modelfleet_protocol::generated::{Bins, Counters};

    use super::*;

    #[test]
    fn a_report_that_is_too_large_loses_histograms_oldest_first_and_no_counter() {
        let bins = Bins { counts: vec![1_000_000; 21] };
        let window = |index| Window {
            index,
            span: 1,
            counters: Some(Counters { requests: 7, ..Counters::default() }),
            features: vec![bins.clone(); 256],
            ..Window::default()
        };
        let report = fitted(Report { windows: (0..64).map(window).collect(), ..Report::default() });
        assert!(report.encoded_len() < REPORT_BYTES_MAX);
        assert!(report.windows[0].features.is_empty() && !report.windows[63].features.is_empty());
        assert!(report.windows.iter().all(|w| w.counters.is_some_and(|c| c.requests == 7)));
    }
}
