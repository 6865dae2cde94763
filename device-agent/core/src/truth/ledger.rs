//! The ledger: predictions, what was told about them, and what that makes of each window.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use modelfleet_protocol::generated::Counters;
use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::time::Time;
use modelfleet_protocol::window::replace_truth;

use super::counting::{AlarmRule, Answer, contribution, label_key, true_class};
use super::kept::{Given, Kept, Queue, flags, numbered};
use super::quality::{BuildQuality, Counted, OTHER};
use super::saved::Event;
use super::told::{About, Booking, Refused, Told, Truth};
use crate::recorder::key;

/// Builds whose predictions are kept.
pub(super) const BUILDS_MAX: usize = 8;
/// Changes of the build that answers, of which the times are kept.
const RUNS_MAX: usize = 64;
/// Spans that are kept.
const SPANS_MAX: usize = 1_024;
/// Names of classes that are kept.
const CLASSES_MAX: usize = 64;
/// Events that wait to be written, before the whole ledger is to be written instead.
const UNSAVED_MAX: usize = 65_536;
/// A line may be so far in the future of this device's clock, milliseconds.
const FUTURE_MS: u64 = 5 * 60_000;
/// So many lines are looked up one by one.
const FEW: usize = 4;
const DAY_MS: u64 = 24 * 3_600_000;
/// Bytes that one prediction takes of the bound: alarms, other predictions and what was told have the same share of it.
const BYTES_EACH: usize = 160;

/// What a ledger keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerLimits {
    /// Bytes on disk, and about as many in memory.
    pub bytes: usize,
    /// Days.
    pub days: u32,
}

impl Default for LedgerLimits {
    fn default() -> LedgerLimits {
        LedgerLimits { bytes: 4 * 1024 * 1024, days: 35 }
    }
}

/// The build that answers, and how its windows and alarms are read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AnsweringBuild {
    /// The build.
    pub digest: Digest,
    /// Length of its windows, milliseconds.
    pub window_ms: u64,
    /// How it decides.
    pub rule: AlarmRule,
}

/// A span that was told, and the event at its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Span {
    pub at: Time,
    pub alarm: bool,
    pub from: Time,
    pub until: Time,
    /// Build and window that the event counts to, and the lead time of the first alarm.
    pub booked: Option<(u8, u64, Option<u64>)>,
}

impl Span {
    fn rank(&self) -> (Time, bool, Time, Time) {
        (self.at, self.alarm, self.from, self.until)
    }
}

/// For how long a build answered, in the windows of its predictions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Run {
    pub build: u8,
    pub first: Time,
    pub last: Time,
}

/// The ledger of the builds that run in one role.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TruthLedger {
    pub(super) limits: LedgerLimits,
    pub(super) builds: BTreeMap<u8, AnsweringBuild>,
    pub(super) current: Option<u8>,
    pub(super) runs: VecDeque<Run>,
    pub(super) sequence: u64,
    pub(super) alarms: Queue,
    pub(super) others: Queue,
    pub(super) told: BTreeMap<u64, (Time, Truth)>,
    pub(super) spans: BTreeMap<u64, Span>,
    /// No span that ended before this is taken any more.
    pub(super) spans_from: Time,
    pub(super) totals: BTreeMap<(u8, u64), Counters>,
    pub(super) counted: BTreeMap<u8, Counted>,
    pub(super) classes: BTreeMap<u64, Box<str>>,
    pub(super) refused: BTreeMap<Refused, u64>,
    pub(super) changed: BTreeSet<(u8, u64)>,
    pub(super) journal: bool,
    pub(super) unsaved: Vec<Event>,
    pub(super) rewrite: bool,
}

impl TruthLedger {
    /// An empty ledger.
    #[must_use]
    pub fn new(limits: LedgerLimits) -> TruthLedger {
        TruthLedger { limits, ..TruthLedger::default() }
    }

    /// Predictions, alarms and lines that are kept, each.
    fn most(&self) -> usize {
        (self.limits.bytes / BYTES_EACH).max(1)
    }

    fn kept_ms(&self) -> u64 {
        u64::from(self.limits.days).saturating_mul(DAY_MS)
    }

    fn time(&self, kept: &Kept) -> Time {
        let window_ms = self.builds.get(&kept.build).map_or(0, |build| build.window_ms);
        Time(kept.index.saturating_mul(window_ms))
    }

    fn note(&mut self, event: impl FnOnce() -> Event) {
        if !self.journal || self.rewrite {
            return;
        }
        if self.unsaved.len() >= UNSAVED_MAX {
            self.unsaved = Vec::new();
            self.rewrite = true;
        } else {
            self.unsaved.push(event());
        }
    }

    /// Another build answers from now on.
    pub fn answered_by(&mut self, build: AnsweringBuild) {
        if self.current.and_then(|current| self.builds.get(&current)) == Some(&build) {
            return;
        }
        let known = self.builds.iter().find(|(_, known)| **known == build).map(|(id, _)| *id);
        let id = known.unwrap_or_else(|| self.free_build());
        self.set_build(id, build);
        self.note(|| Event::Build(id, build));
    }

    /// A number for another build; the build that answered longest ago makes room.
    fn free_build(&mut self) -> u8 {
        let used = |id: &u8| self.builds.contains_key(id);
        let free = (0..).take(BUILDS_MAX).filter_map(|id| u8::try_from(id).ok()).find(|id| !used(id));
        free.unwrap_or_else(|| {
            let last = |id: &u8| self.runs.iter().rev().find(|run| run.build == *id).map(|run| run.last);
            self.builds.keys().copied().min_by_key(last).unwrap_or_default()
        })
    }

    pub(super) fn set_build(&mut self, id: u8, build: AnsweringBuild) {
        self.current = Some(id);
        if self.builds.get(&id) == Some(&build) {
            return;
        }
        self.builds.insert(id, build);
        let told = &mut self.told;
        for queue in [&mut self.alarms, &mut self.others] {
            queue.retain(|kept| {
                if kept.build == id {
                    told.remove(&kept.sequence);
                }
                kept.build != id
            });
        }
        self.runs.retain(|run| run.build != id);
        self.totals.retain(|(of, _), _| *of != id);
        self.changed.retain(|(of, _)| *of != id);
        self.counted.remove(&id);
        self.spans.values_mut().for_each(|span| span.booked = span.booked.filter(|(of, ..)| *of != id));
    }

    /// Keeps a prediction of the build that answers.
    pub fn remember(&mut self, key: u64, index: u64, positive: Option<bool>, answer: Answer<'_>) {
        let Some(build) = self.current else { return };
        let given = match answer {
            Answer::None => Given::Nothing,
            Answer::Label(label) => self.class(label_key(label), || label.to_string().into()),
            Answer::Word(word) => self.class(self::key(word), || word.into()),
            Answer::Number(number) => Given::Number(number),
        };
        // Of a quiet prediction without an id nothing can be told.
        if positive.is_none() && given.is_nothing() || key == 0 && positive != Some(true) {
            return;
        }
        let (sequence, flags, value) = (self.sequence, flags(positive, given), given.value());
        let kept = Kept { key, sequence, index, value, build, flags };
        self.keep(kept);
        self.note(|| Event::Kept(kept));
    }

    fn class(&mut self, class: u64, name: impl FnOnce() -> Box<str>) -> Given {
        self.name_class(class, name);
        Given::Class(class)
    }

    fn name_class(&mut self, class: u64, name: impl FnOnce() -> Box<str>) {
        if self.classes.len() < CLASSES_MAX && !self.classes.contains_key(&class) {
            let name = name();
            self.classes.insert(class, name.clone());
            self.note(|| Event::Class(class, name));
        }
    }

    pub(super) fn keep(&mut self, kept: Kept) {
        self.sequence = kept.sequence.saturating_add(1);
        let now = self.time(&kept);
        match self.runs.back_mut().filter(|run| run.build == kept.build) {
            Some(run) if run.last == now => {}
            Some(run) => {
                run.last = run.last.max(now);
                self.forget_before(Time(now.0.saturating_sub(self.kept_ms())));
            }
            None => {
                self.runs.push_back(Run { build: kept.build, first: now, last: now });
                if self.runs.len() > RUNS_MAX {
                    self.runs.pop_front();
                }
            }
        }
        let most = self.most();
        let queue = if kept.is_alarm() { &mut self.alarms } else { &mut self.others };
        queue.push_back(kept);
        if queue.len() > most
            && let Some(gone) = queue.pop_front()
        {
            self.told.remove(&gone.sequence);
        }
    }

    /// What is older than the days that are kept.
    fn forget_before(&mut self, from: Time) {
        let builds = &self.builds;
        let start = |id: &u8, index: u64| builds.get(id).map_or(0, |b| b.window_ms).saturating_mul(index);
        // A clock that was set may have left earlier predictions behind later ones.
        let is_kept = |kept: &Kept| start(&kept.build, kept.index) >= from.0;
        for queue in [&mut self.alarms, &mut self.others] {
            queue.iter().filter(|kept| !is_kept(kept)).for_each(|kept| {
                self.told.remove(&kept.sequence);
            });
            queue.retain(is_kept);
        }
        self.totals.retain(|(id, index), _| start(id, *index) >= from.0);
        while let Some(key) = self.spans.iter().find(|(_, span)| span.until < from).map(|(key, _)| *key) {
            self.forget_span(key);
        }
    }

    /// A span makes room. What it covered was counted for good.
    fn forget_span(&mut self, key: u64) {
        let Some(span) = self.spans.remove(&key) else { return };
        self.spans_from = self.spans_from.max(Time(span.until.0.saturating_add(1)));
        let covered: Vec<u64> =
            self.alarms.iter().filter(|kept| self.covers(&span, kept)).map(|kept| kept.sequence).collect();
        let told = &self.told;
        self.alarms.retain(|kept| {
            told.contains_key(&kept.sequence) || covered.binary_search(&kept.sequence).is_err()
        });
    }

    fn covers(&self, span: &Span, kept: &Kept) -> bool {
        let window_ms = self.builds.get(&kept.build).map_or(0, |build| build.window_ms);
        let start = self.time(kept);
        start < span.until && start.after_ms(window_ms) > span.from
    }

    /// Books lines, in their order, and says what became of each.
    pub fn book(&mut self, now: Time, lines: &[Told]) -> Vec<Booking> {
        let newest = self.newest(lines);
        let each = |line: &Told| {
            let sequence = match line.about {
                About::Prediction(key) => newest.get(&key).copied().flatten(),
                About::Span { .. } => None,
            };
            let booking = self.check(now, line).and_then(|()| self.book_line(line, sequence));
            booking.unwrap_or_else(|refused| {
                *self.refused.entry(refused).or_default() += 1;
                Booking::Refused(refused)
            })
        };
        lines.iter().map(each).collect()
    }

    /// The newest predictions that these lines are about, by key.
    fn newest(&self, lines: &[Told]) -> BTreeMap<u64, Option<u64>> {
        let key = |line: &Told| match line.about {
            About::Prediction(key) if key != 0 => Some(key),
            _ => None,
        };
        let mut newest: BTreeMap<u64, Option<u64>> =
            lines.iter().filter_map(key).map(|key| (key, None)).collect();
        if newest.len() <= FEW {
            // They are mostly about what was just predicted.
            let last = |queue: &Queue, key| {
                queue.iter().rev().find(|kept| kept.key == key).map(|kept| kept.sequence)
            };
            for (key, found) in &mut newest {
                *found = last(&self.alarms, *key).max(last(&self.others, *key));
            }
            return newest;
        }
        for kept in self.alarms.iter().chain(&self.others) {
            if let Some(found) = newest.get_mut(&kept.key) {
                *found = (*found).max(Some(kept.sequence));
            }
        }
        newest
    }

    fn check(&self, now: Time, line: &Told) -> Result<(), Refused> {
        if matches!(line.truth, Truth::Number(number) if !number.is_finite()) {
            return Err(Refused::NotFinite);
        }
        let latest = now.after_ms(FUTURE_MS);
        let About::Span { from, until, .. } = line.about else {
            return if line.at > latest { Err(Refused::Future) } else { Ok(()) };
        };
        match () {
            () if until > latest || line.at > latest => Err(Refused::Future),
            () if from >= until || until.since_ms(from) > self.kept_ms() => Err(Refused::WrongSpan),
            () if now.since_ms(until) > self.kept_ms() || until < self.spans_from => Err(Refused::TooOld),
            () => Ok(()),
        }
    }

    fn book_line(&mut self, line: &Told, sequence: Option<u64>) -> Result<Booking, Refused> {
        match (line.about, &line.truth) {
            (About::Prediction(_), truth) => {
                let sequence = sequence.ok_or(Refused::UnknownPrediction)?;
                let booking = self.tell(sequence, line.at, truth)?;
                if booking != Booking::Older {
                    self.note(|| Event::Told(sequence, line.at, truth.clone()));
                }
                Ok(booking)
            }
            (About::Span { key, from, until }, Truth::Alarm(alarm)) => {
                let span = Span { at: line.at, alarm: *alarm, from, until, booked: None };
                let booking = self.tell_span(key, span)?;
                if booking != Booking::Older {
                    self.note(|| Event::Span(key, span));
                }
                Ok(booking)
            }
            (About::Span { .. }, _) => Err(Refused::WrongType),
        }
    }

    fn find(&self, sequence: u64) -> Option<Kept> {
        numbered(&self.alarms, sequence).or_else(|| numbered(&self.others, sequence)).copied()
    }

    fn rule(&self, build: u8) -> AlarmRule {
        self.builds.get(&build).map_or(AlarmRule::None, |build| build.rule)
    }

    /// Books the truth of one prediction.
    pub(super) fn tell(&mut self, sequence: u64, at: Time, truth: &Truth) -> Result<Booking, Refused> {
        let kept = self.find(sequence).ok_or(Refused::UnknownPrediction)?;
        contribution(&kept, self.rule(kept.build), truth)?;
        let booking = match self.told.get_mut(&sequence) {
            None => Booking::Booked,
            Some((then, known)) if known == truth => {
                // A correction that was made in between, and comes later, does not undo it.
                *then = (*then).max(at);
                return Ok(Booking::Known);
            }
            Some((then, known)) if (*then, known.rank()) > (at, truth.rank()) => return Ok(Booking::Older),
            Some(_) => Booking::Replaced,
        };
        if let Some((class, name)) = true_class(truth) {
            self.name_class(class, || name);
        }
        let before = self.holds_of(&kept);
        if booking == Booking::Booked && self.told.len() >= self.most() {
            self.settle_oldest();
        }
        self.told.insert(sequence, (at, truth.clone()));
        self.count(&kept, before.as_ref(), Some(truth));
        Ok(booking)
    }

    /// The oldest prediction of which something was told makes room for others: what was told of it stays counted.
    fn settle_oldest(&mut self) {
        if let Some((sequence, _)) = self.told.pop_first() {
            for queue in [&mut self.alarms, &mut self.others] {
                queue.retain(|kept| kept.sequence != sequence);
            }
        }
    }

    /// What is known of a prediction: what was told of it alone, else what spans say of it.
    fn holds_of(&self, kept: &Kept) -> Option<Truth> {
        if let Some((_, truth)) = self.told.get(&kept.sequence) {
            return Some(truth.clone());
        }
        if !kept.is_alarm() {
            return None;
        }
        let covering = self.spans.values().filter(|span| self.covers(span, kept));
        covering.map(|span| span.alarm).max().map(Truth::Alarm)
    }

    fn count(&mut self, kept: &Kept, before: Option<&Truth>, after: Option<&Truth>) {
        if before == after {
            return;
        }
        let rule = self.rule(kept.build);
        let adds = |truth: Option<&Truth>| {
            truth.and_then(|truth| contribution(kept, rule, truth).ok()).unwrap_or_default()
        };
        self.move_counts(kept.build, kept.index, adds(before), adds(after));
        if let Given::Class(given) = kept.given() {
            let counted = self.counted.entry(kept.build).or_default();
            let pair = |truth: Option<&Truth>| truth.and_then(true_class).map(|(class, _)| (class, given));
            if let Some(pair) = pair(before) {
                counted.take_pair(pair);
            }
            if let Some(pair) = pair(after) {
                counted.add_pair(pair);
            }
        }
    }

    fn move_counts(&mut self, build: u8, index: u64, before: Counters, after: Counters) {
        replace_truth(self.totals.entry((build, index)).or_default(), before, after);
        replace_truth(&mut self.counted.entry(build).or_default().counters, before, after);
        self.changed.insert((build, index));
    }

    /// Books a span, and the event at its end.
    pub(super) fn tell_span(&mut self, key: u64, span: Span) -> Result<Booking, Refused> {
        let old = self.spans.get(&key).copied();
        let booking = match &old {
            None => Booking::Booked,
            Some(old) if (old.alarm, old.from, old.until) == (span.alarm, span.from, span.until) => {
                let at = old.at.max(span.at);
                self.spans.insert(key, Span { at, ..*old });
                return Ok(Booking::Known);
            }
            Some(old) if old.rank() > span.rank() => return Ok(Booking::Older),
            Some(_) => Booking::Replaced,
        };
        let run = self.runs.iter().rev().find(|run| run.first < span.until).copied();
        let run = run.ok_or(Refused::NoPredictions)?;
        if old.is_none() && self.spans.len() >= SPANS_MAX {
            let oldest = self.spans.iter().min_by_key(|(key, span)| (span.until, **key)).map(|(key, _)| *key);
            oldest.into_iter().for_each(|key| self.forget_span(key));
        }
        let touched =
            |kept: &&Kept| self.covers(&span, kept) || old.as_ref().is_some_and(|old| self.covers(old, kept));
        let before: Vec<(Kept, Option<Truth>)> =
            self.alarms.iter().filter(touched).map(|kept| (*kept, self.holds_of(kept))).collect();
        if let Some((build, index, lead)) = old.and_then(|old| old.booked) {
            self.count_event(build, index, lead, false);
        }
        let booked = span.alarm.then(|| self.event(&span, run));
        self.spans.insert(key, Span { booked, ..span });
        for (kept, before) in before {
            let after = self.holds_of(&kept);
            self.count(&kept, before.as_ref(), after.as_ref());
        }
        if let Some((build, index, lead)) = booked {
            self.count_event(build, index, lead, true);
        }
        Ok(booking)
    }

    /// The build and window that an event counts to, and how long before it the first alarm came.
    fn event(&self, span: &Span, run: Run) -> (u8, u64, Option<u64>) {
        let window_ms = self.builds.get(&run.build).map_or(1, |build| build.window_ms).max(1);
        let at = Time(span.until.0.saturating_sub(1)).min(run.last);
        let first =
            self.alarms.iter().filter(|kept| self.covers(span, kept)).map(|kept| self.time(kept)).min();
        let lead = first.map(|first| span.until.since_ms(first.max(span.from)));
        (run.build, at.window_index(window_ms), lead)
    }

    fn count_event(&mut self, build: u8, index: u64, lead: Option<u64>, adds: bool) {
        let counted = self.counted.entry(build).or_default();
        let change = |sum: &mut u64, by: u64| {
            *sum = if adds { sum.saturating_add(by) } else { sum.saturating_sub(by) };
        };
        change(&mut counted.events, 1);
        match lead {
            Some(lead_ms) => {
                change(&mut counted.events_found, 1);
                change(&mut counted.lead_ms, lead_ms);
            }
            None => {
                let missed = Counters { false_negative: 1, ..Counters::default() };
                let (before, after) =
                    if adds { (Counters::default(), missed) } else { (missed, Counters::default()) };
                self.move_counts(build, index, before, after);
            }
        }
    }

    /// The windows whose truth has changed, each with all that truth says of it by now. `open`: the window of the build that
    /// is not closed yet; it waits.
    pub fn take_changed(&mut self, open: Option<(Digest, u64, u64)>) -> Vec<(AnsweringBuild, u64, Counters)> {
        let (mut taken, mut waits) = (Vec::new(), BTreeSet::new());
        for (id, index) in std::mem::take(&mut self.changed) {
            let Some(build) = self.builds.get(&id).copied() else { continue };
            if open.is_some_and(|open| open == (build.digest, build.window_ms, index)) {
                waits.insert((id, index));
            } else if let Some(total) = self.totals.get(&(id, index)) {
                taken.push((build, index, *total));
            }
        }
        self.changed = waits;
        taken
    }

    /// A window was closed: if truth is known of it already, it has changed.
    pub fn closed(&mut self, digest: Digest, window_ms: u64, index: u64) {
        let own =
            self.builds.iter().filter(|(_, build)| (build.digest, build.window_ms) == (digest, window_ms));
        let known = own.map(|(id, _)| (*id, index)).filter(|at| self.totals.contains_key(at));
        self.changed.extend(known.collect::<Vec<_>>());
    }

    /// What truth says of each build.
    #[must_use]
    pub fn quality(&self) -> Vec<BuildQuality> {
        let name = |class: u64| {
            let known = self.classes.get(&class).filter(|_| class != OTHER);
            known.cloned().unwrap_or_else(|| "(other)".into())
        };
        let of = |(id, build): (&u8, &AnsweringBuild)| {
            let counted = self.counted.get(id)?;
            let pairs = counted.pairs.iter().filter(|(_, count)| **count > 0);
            let known = counted.events > 0 || counted.counters != Counters::default();
            known.then(|| BuildQuality {
                digest: build.digest,
                counters: counted.counters,
                classes: pairs.map(|((was, said), count)| (name(*was), name(*said), *count)).collect(),
                events: counted.events,
                events_found: counted.events_found,
                lead_ms: counted.lead_ms,
            })
        };
        self.builds.iter().filter_map(of).collect()
    }

    /// How many lines were refused since the agent started, by reason.
    #[must_use]
    pub fn refused(&self) -> &BTreeMap<Refused, u64> {
        &self.refused
    }

    /// How many predictions are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.alarms.len() + self.others.len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
