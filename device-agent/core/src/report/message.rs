//! The report: the windows of the build that a device observes, for the controller.

use modelfleet_protocol::generated::{History, Report, Window};
use modelfleet_protocol::ids::ModelName;
use modelfleet_protocol::observe::Observe;
use modelfleet_protocol::plan::{Order, Plan};
use modelfleet_protocol::report::REPORT_BYTES_MAX;
use prost::Message as _;

use super::schedule::ReportMode;
use crate::agent::context::StepContext;
use crate::observe::backlog::Backlog;
use crate::observe::build_windows::BuildWindows;
use crate::observe::windows::ObservedWindows;
use crate::saved::Slot;

/// What a report is about.
pub(crate) struct Subject<'a> {
    pub model: &'a ModelName,
    pub plan: &'a Plan,
    /// The newest plan that was accepted.
    pub seen: Order,
    /// The build that is observed.
    pub slot: &'a Slot,
    /// The rollout that brought it; `None` for a stable build.
    pub rollout: Option<String>,
    /// The build that ran before a candidate.
    pub ran_before: Option<&'a Slot>,
    pub mode: ReportMode,
}

/// The report as of now, without its number; `None` while there is nothing to report.
pub(crate) fn compose(
    subject: Subject<'_>,
    windows: &ObservedWindows,
    ctx: &StepContext<'_>,
) -> Option<Report> {
    let Subject { model, plan, seen, slot, rollout, ran_before, mode } = subject;
    let observe = &plan.observe;
    let digest = slot.build.digest;
    let own = windows.of(&digest)?;
    // The history of a stable build is its own past; the history of a candidate is the past of the build before.
    let before = if slot.stable { Some(slot) } else { ran_before };
    let history = before.and_then(|before| history(before, windows.of(&before.build.digest)?, observe, ctx));
    if own.backlog().0.is_empty() && history.is_none() {
        return None;
    }
    let without_windows = Report {
        device: ctx.identity.device.to_string(),
        namespace: ctx.identity.namespace.to_string(),
        model: model.to_string(),
        digest: digest.0.to_vec(),
        rollout: rollout.unwrap_or_default(),
        sequence: 0,
        sent_at_ms: ctx.now.0,
        activated_at_ms: slot.activated.0,
        window_ms: observe.window_ms,
        observe_id: observe.id(),
        windows: Vec::new(),
        history,
        plan_epoch: seen.epoch,
        plan_revision: seen.revision,
    };
    Some(filled(without_windows, own.backlog(), mode, observe, ctx.payload_bytes_max))
}

/// The last windows before the evidence begins, as one tally.
fn history(slot: &Slot, windows: &BuildWindows, observe: &Observe, ctx: &StepContext<'_>) -> Option<History> {
    let since = observe.since.window_index(observe.window_ms);
    if since == 0 {
        return None;
    }
    let past = windows.past();
    let most = ctx.limits.history_windows.max(1);
    let through_index = past.range(0, since).last()?.index;
    let profile = slot.build.profile.as_ref();
    let tally = Some(past.tally(past.last_before(most, since), since, &observe.indicators, profile));
    Some(History { digest: slot.build.digest.0.to_vec(), tally, through_index })
}

/// The report with its windows, within the bytes that are allowed. Histograms are left out first; then old windows are
/// merged. What verdicts rest on, tallies and counters, is always complete.
fn filled(
    mut report: Report,
    windows: &Backlog,
    mode: ReportMode,
    observe: &Observe,
    payload_bytes_max: usize,
) -> Report {
    // The number is filled in later: at most ten bytes.
    let most_bytes = payload_bytes_max.min(REPORT_BYTES_MAX).saturating_sub(16);
    let mut entries = mode.entries_max();
    loop {
        let shown = windows.shown(entries, mode.histograms(observe)).0;
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

    fn counted(report: &Report) -> (u64, u32) {
        let requests = report.windows.iter().filter_map(|w| w.counters).map(|c| c.requests).sum();
        (requests, report.windows.iter().filter_map(|w| w.tally.as_ref()).map(|t| t.known[7]).sum())
    }

    /// Histograms that alone are more than a report may have.
    #[test]
    fn a_report_that_is_too_large_loses_histograms_oldest_first_and_no_counter() {
        let observe = Observe { window_ms: 1, histogram_windows: 64, ..Observe::default() };
        let backlog = backlog(vec![Bins(vec![1_000_000; 21]); 256]);
        let report = filled(Report::default(), &backlog, ReportMode::EveryWindow, &observe, usize::MAX);
        assert!(report.encoded_len() < REPORT_BYTES_MAX);
        assert!(report.windows[0].features.is_empty() && !report.windows[63].features.is_empty());
        assert_eq!((report.windows.len(), counted(&report)), (64, (7 * 64, 64)));
    }

    #[test]
    fn a_report_is_no_larger_than_the_broker_takes_and_counts_the_same() {
        let observe = Observe { window_ms: 1, ..Observe::default() };
        let backlog = backlog(vec![Bins(vec![1_000_000; 21]); 7]);
        let (mut before, mut sizes) = (usize::MAX, Vec::new());
        for most in [1_000_000, 6_000, 4_000, 2_000, 1_000, 400] {
            let report = filled(Report::default(), &backlog, ReportMode::EveryWindow, &observe, most);
            assert!(report.encoded_len() <= most - 16 && report.encoded_len() <= before, "{most}");
            assert_eq!(counted(&report), (7 * 64, 64), "{most}");
            before = report.encoded_len();
            let histograms = report.windows.iter().filter(|w| !w.features.is_empty()).count();
            sizes.push((report.windows.len(), histograms));
        }
        assert_eq!(sizes[0], (64, 4), "with room");
        assert!(sizes.iter().all(|size| size.0 > 0) && sizes[5].0 < 16, "{sizes:?}");
    }

    #[test]
    fn an_idle_report_is_short_and_counts_the_same() {
        let observe = Observe { window_ms: 1, histogram_windows: 9, ..Observe::default() };
        let backlog = backlog(vec![Bins(vec![1_000_000; 21]); 7]);
        let report = filled(Report::default(), &backlog, ReportMode::Idle, &observe, usize::MAX);
        assert!(report.windows.iter().all(|w| w.features.is_empty()) && report.encoded_len() < 1_000);
        assert_eq!((report.windows.len(), counted(&report)), (16, (7 * 64, 64)));
        assert!(report.windows.iter().rev().take(8).all(|w| w.span == 1), "the newest can be told apart");
    }
}
