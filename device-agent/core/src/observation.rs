//! What was observed of one model: a book for each build, kept apart so that nobody's past is another's, and
//! the moments at which it is written and reported.

use modelfleet_protocol::generated::{Counters, Tally};
use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::model::Profile;
use modelfleet_protocol::observe::{Indicator, Observe};
use modelfleet_protocol::report::INDEX_MAX;
use modelfleet_protocol::time::Time;
use modelfleet_protocol::window::WindowSummary;

use crate::backlog::Backlog;
use crate::history::{Past, PastWindow, count, empty_tally};
use crate::pace::{News, Pace};
use crate::turn::Turn;
use crate::unit::Unit;
use crate::words::{Output, Record, Role, Why};

/// Builds whose observations are kept: what answers, the way back, what runs in shadow, and one going.
pub const BOOKS_MAX: usize = 4;

#[derive(Clone, Debug, Default)]
pub(crate) struct Observation {
    pub books: Vec<Book>,
    live: Option<(Digest, u64)>,
    shadow: Option<(Digest, u64)>,
    /// What the tallies count: identity, first window of evidence, window length.
    pub basis: (u64, u64, u64),
    /// How often was reported so far; nothing before the first plan was looked at.
    pace: Option<Pace>,
    due: Option<Time>,
    last_report: Option<Time>,
    unsaved_since: Option<Time>,
    /// Unsaved windows are to be saved now.
    save: bool,
}

/// What was observed of one build.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Book {
    pub digest: Digest,
    pub past: Past,
    pub backlog: Backlog,
}

impl Observation {
    /// What was written before.
    pub fn restored(books: Vec<Book>, basis: (u64, u64, u64)) -> Observation {
        Observation { books, basis, ..Observation::default() }
    }

    pub fn book(&self, digest: &Digest) -> Option<&Book> {
        self.books.iter().find(|book| &book.digest == digest)
    }

    fn book_mut(&mut self, digest: Digest) -> &mut Book {
        let at = self.books.iter().position(|book| book.digest == digest).unwrap_or_else(|| {
            if self.books.len() >= BOOKS_MAX {
                self.books.remove(0);
            }
            self.books.push(Book { digest, past: Past::default(), backlog: Backlog::default() });
            self.books.len() - 1
        });
        &mut self.books[at]
    }

    pub fn watched(&self, role: Role) -> Option<(Digest, u64)> {
        if role == Role::Live { self.live } else { self.shadow }
    }

    pub fn set_watched(&mut self, role: Role, key: Option<(Digest, u64)>) {
        *(if role == Role::Live { &mut self.live } else { &mut self.shadow }) = key;
    }

    /// There is something to write, and to report when `pace` says.
    fn dirty(&mut self, pace: Pace, news: News, observe: &Observe, turn: &Turn<'_>) {
        self.unsaved_since.get_or_insert(turn.now);
        let at = pace.due(news, observe, self.last_report, turn);
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }
}

fn judge<'a>(
    indicators: &'a [Indicator],
    profile: Option<&'a Profile>,
) -> impl Fn(&WindowSummary) -> Tally + 'a {
    move |window| {
        let mut tally = empty_tally(indicators.len());
        count(&mut tally, indicators, |indicator| window.is_bad(indicator, profile));
        tally
    }
}

impl Unit {
    /// The build that reports speak of: the candidate while it runs in shadow, else what answers.
    pub fn subject(&self) -> Option<Digest> {
        self.work.shadow.or(self.serving)
    }

    /// The recorder closed a window.
    pub fn window_closed(&mut self, digest: Digest, window_ms: u64, window: &WindowSummary, turn: &Turn<'_>) {
        let Some(plan) = self.kept.plan.clone() else { return };
        let Some(slot) = self.slot(&digest).cloned() else { return };
        // No clock comes to such a window, and no reader takes it.
        if window_ms != plan.observe.window_ms || window_ms == 0 || window.index > INDEX_MAX {
            return;
        }
        let judge = judge(&plan.observe.indicators, slot.build.profile.as_ref());
        let short = PastWindow::of(window, slot.build.profile.as_ref());
        let since = self.observation.basis.1;
        let book = self.observation.book_mut(digest);
        let new = book.past.add(short, turn.limits.history_windows.max(1), since);
        if window.index >= since
            && let Some(whole) = book.backlog.add(window, new, judge)
        {
            book.past.replace(PastWindow::of(whole, slot.build.profile.as_ref()));
        }
        self.observation.dirty(self.pace(), News::Window, &plan.observe, turn);
        self.observation.save |= window_ms >= turn.limits.save_window_ms;
    }

    /// Ground truth for predictions of a window that was closed before.
    pub fn truth_arrived(
        &mut self,
        digest: Digest,
        window_ms: u64,
        index: u64,
        counters: &Counters,
        turn: &Turn<'_>,
    ) {
        let Some(plan) = self.kept.plan.clone() else { return };
        let Some(slot) = self.slot(&digest).cloned() else { return };
        if window_ms != plan.observe.window_ms || self.observation.book(&digest).is_none() {
            return;
        }
        let judge = judge(&plan.observe.indicators, slot.build.profile.as_ref());
        let book = self.observation.book_mut(digest);
        book.past.amend(index, counters);
        if let Some(whole) = book.backlog.amend(index, counters, judge) {
            book.past.replace(PastWindow::of(whole, slot.build.profile.as_ref()));
        }
        self.observation.dirty(self.pace(), News::Truth, &plan.observe, turn);
    }

    /// The plan has changed: what counts as evidence, and by which indicators, is worked out anew from what is
    /// kept. Windows of another length mean nothing any more.
    pub fn observe_anew(&mut self, turn: &Turn<'_>) {
        let Some(plan) = self.kept.plan.clone() else { return };
        let observe = &plan.observe;
        let window_ms = observe.window_ms;
        let basis = (observe.id(), observe.since.window_index(window_ms), window_ms);
        let before = std::mem::replace(&mut self.observation.basis, basis);
        let pace = self.pace();
        let hurries = self.observation.pace.replace(pace) == Some(Pace::Idle) && pace == Pace::Watched;
        if before == basis {
            if hurries && !self.observation.books.is_empty() {
                self.observation.dirty(pace, News::Plan, observe, turn);
            }
            return;
        }
        if before.2 != window_ms && before.2 != 0 {
            self.observation.books.clear();
        }
        for book in &mut self.observation.books {
            let slot = self.kept.slots.iter().find(|slot| slot.build.digest == book.digest);
            let profile = slot.and_then(|slot| slot.build.profile.as_ref());
            book.rebase(basis.1, before.0 == basis.0, &observe.indicators, profile);
        }
        if !self.observation.books.is_empty() {
            self.observation.dirty(pace, News::Plan, observe, turn);
        }
    }

    /// Publishes what is due, after writing it: nothing is reported that could be forgotten.
    pub fn report(&mut self, turn: &mut Turn<'_>) {
        let keep: Vec<Digest> = self.kept.slots.iter().map(|slot| slot.build.digest).collect();
        self.observation.books.retain(|book| keep.contains(&book.digest));
        if let Some(since) = &mut self.observation.unsaved_since {
            *since = (*since).min(turn.now);
            let at = since.after_ms(turn.limits.save_windows_every_ms);
            if at <= turn.now || self.observation.save {
                self.save_windows(turn);
            } else {
                turn.wake_at(at, Why::SaveWindows);
            }
        }
        let Some(due) = self.observation.due.filter(|_| turn.connected) else { return };
        let longest_ms = self.kept.plan.as_ref().map_or(0, |plan| self.pace().longest_ms(&plan.observe));
        let due = due.min(turn.now.after_ms(longest_ms));
        if due > turn.now {
            self.observation.due = Some(due);
            return turn.wake_at(due, Why::Report);
        }
        self.observation.due = None;
        if !turn.writable && self.kept.report_sequence.is_used_up() {
            return; // A number that a restart would use again; the next window asks anew.
        }
        if let Some(mut report) = self.compose(turn) {
            self.observation.last_report = Some(turn.now);
            let (sequence, write) = self.kept.report_sequence.take();
            turn.save |= write;
            report.sequence = sequence;
            self.save_unsaved(turn);
            turn.emit(Output::PublishReport { model: self.model.clone(), report: Box::new(report) });
        }
    }

    /// Writes what is not on disk yet.
    pub fn save_unsaved(&mut self, turn: &mut Turn<'_>) {
        if self.observation.unsaved_since.is_some() {
            self.save_windows(turn);
        }
    }

    fn save_windows(&mut self, turn: &mut Turn<'_>) {
        self.observation.unsaved_since = None;
        self.observation.save = false;
        turn.emit(Output::Save(Record::Windows(self.model.clone())));
    }
}

impl Book {
    /// Evidence begins at another window, or other indicators count.
    fn rebase(&mut self, since: u64, same: bool, indicators: &[Indicator], profile: Option<&Profile>) {
        self.backlog.0.retain(|entry| entry.summary.index >= since);
        let judge = judge(indicators, profile);
        let missing: Vec<WindowSummary> = {
            let covered = |w: &&PastWindow| {
                self.backlog.0.iter().any(|e| e.summary.index <= w.index && w.index <= e.last)
            };
            self.past.range(since, u64::MAX).filter(|w| !covered(w)).map(PastWindow::summary).collect()
        };
        for window in &missing {
            self.backlog.add(window, true, &judge);
        }
        for entry in &mut self.backlog.0 {
            let end = entry.last.saturating_add(1);
            let held = self.past.range(entry.summary.index, end).count() as u64;
            // What the past no longer holds whole keeps its tally while the same things count.
            if !same || held >= u64::from(entry.summary.span) {
                entry.tally = self.past.tally(entry.summary.index, end, indicators, profile);
            }
        }
    }
}
