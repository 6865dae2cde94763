//! The windows of one build: its past, and the evidence since the rollout began.

use modelfleet_protocol::generated::{Counters, Tally};
use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::model::Profile;
use modelfleet_protocol::observe::Indicator;
use modelfleet_protocol::window::{WindowSummary, replace_truth, truth_alone};

use super::backlog::Backlog;
use super::history::{Past, PastWindow, count, empty_tally};

/// The windows of one build.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BuildWindows {
    digest: Digest,
    past: Past,
    backlog: Backlog,
}

/// What a window is cut to 0/1 by.
#[derive(Clone, Copy)]
pub(crate) struct Cut<'a> {
    pub indicators: &'a [Indicator],
    pub profile: Option<&'a Profile>,
}

impl Cut<'_> {
    /// One window, cut to 0/1 per indicator.
    fn tally(&self, window: &WindowSummary) -> Tally {
        let mut tally = empty_tally(self.indicators.len());
        count(&mut tally, self.indicators, |indicator| window.is_bad(indicator, self.profile));
        tally
    }
}

impl BuildWindows {
    pub fn new(digest: Digest) -> BuildWindows {
        BuildWindows { digest, past: Past::default(), backlog: Backlog::default() }
    }

    pub fn restored(digest: Digest, past: Past, backlog: Backlog) -> BuildWindows {
        BuildWindows { digest, past, backlog }
    }

    pub fn digest(&self) -> Digest {
        self.digest
    }

    pub fn past(&self) -> &Past {
        &self.past
    }

    /// The evidence since the rollout began.
    pub fn backlog(&self) -> &Backlog {
        &self.backlog
    }

    /// Adds a window, or a part of one, that was closed. `since`: the first window of evidence. `past_max`: windows that
    /// the past holds before and after it.
    pub fn add(&mut self, window: &WindowSummary, since: u64, past_max: usize, cut: Cut<'_>) {
        let new = self.past.add(PastWindow::of(window, cut.profile), past_max, since);
        if window.index >= since
            && let Some(whole) = self.backlog.add(window, new, |window| cut.tally(window))
        {
            self.past.replace(PastWindow::of(whole, cut.profile));
        }
    }

    /// All that ground truth says of a closed window by now, in the place of what it said before. Returns whether that has
    /// changed anything; a window that is not kept any more does not change.
    pub fn set_truth(&mut self, index: u64, now: &Counters, cut: Cut<'_>) -> bool {
        let now = truth_alone(now);
        let Some(before) = self.past.set_truth(index, now).filter(|before| *before != now) else {
            return false;
        };
        let replace = |counters: &mut Counters| replace_truth(counters, before, now);
        if let Some(whole) = self.backlog.amend(index, replace, |window| cut.tally(window)) {
            self.past.replace(PastWindow::of(whole, cut.profile));
        }
        true
    }

    /// The evidence begins at another window, or other indicators count (`same` is false).
    pub fn rebase(&mut self, since: u64, same: bool, cut: Cut<'_>) {
        self.backlog.0.retain(|entry| entry.summary.index >= since);
        let missing: Vec<WindowSummary> = {
            let covered = |w: &&PastWindow| {
                self.backlog.0.iter().any(|e| e.summary.index <= w.index && w.index <= e.last)
            };
            self.past.range(since, u64::MAX).filter(|w| !covered(w)).map(PastWindow::summary).collect()
        };
        for window in &missing {
            self.backlog.add(window, true, |window| cut.tally(window));
        }
        for entry in &mut self.backlog.0 {
            let end = entry.last.saturating_add(1);
            let held = self.past.range(entry.summary.index, end).count() as u64;
            // An entry whose windows the past no longer holds keeps its tally while the same indicators count.
            if !same || held >= u64::from(entry.summary.span) {
                entry.tally = self.past.tally(entry.summary.index, end, cut.indicators, cut.profile);
            }
        }
    }
}
