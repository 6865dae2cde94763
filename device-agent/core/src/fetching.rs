//! Fetching: when it starts, how it goes on, and when it is given up for now.

use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::model::ModelBuild;
use modelfleet_protocol::state::{Failure, FailureCode, Phase};
use modelfleet_protocol::time::Time;

use crate::aim::{Aim, Goal};
use crate::attempts;
use crate::fetch_schedule::{backoff_ms, in_daily_window, spread_ms, window_end, window_ms, within};
use crate::saved::{Slot, Try};
use crate::turn::Turn;
use crate::unit::Unit;
use crate::words::{Output, Retry, Why};

/// Whole downloads of wrong bytes that are believed.
const MISMATCHES_MAX: u32 = 2;
/// Shortest time between two downloads of a build that find no room, milliseconds.
const ROOM_MS: u64 = 60_000;
/// How long a fetch waits for the line when another model has it.
const LINE_BUSY_MS: u64 = 10_000;
/// How long it waits when the line is free and another model is the next.
const LINE_FREE_MS: u64 = 1_000;

impl Unit {
    /// Asks for the bytes, when it is this device's turn.
    pub fn fetch(&mut self, goal: &Goal, turn: &mut Turn<'_>) {
        let (digest, now) = (goal.build.digest, turn.now);
        let Some(record) = attempts::find(&mut self.kept.attempts, &goal.attempt, &digest) else { return };
        if record.attempt.since > now {
            record.attempt.since = now; // The clock was set back: the wait begins again, once.
            turn.save = true;
        }
        let mut at = now;
        if record.attempt.phase == Phase::Offered {
            at = record.attempt.since.after_ms(spread_ms(turn, &digest, goal.fetch.spread_ms));
        }
        let elsewhere = record.is_elsewhere(&goal.build);
        if let Some(retry_at) = record.retry_at.as_mut().filter(|_| !elsewhere) {
            *retry_at = within(now, *retry_at, turn.limits.fetch_backoff_max_ms);
            at = at.max(*retry_at);
        }
        let window = goal.fetch.window_utc_minutes;
        let late_ms = spread_ms(turn, &digest, goal.fetch.spread_ms.min(window_ms(window) / 2));
        at = in_daily_window(at.max(now), window, late_ms);
        let why = if record.fetches == 0 { Why::FetchStart } else { Why::FetchRetry };
        if at > now {
            return turn.wake_at(at, why);
        }
        if turn.fetching || turn.next_fetch.as_ref().is_some_and(|next| *next != self.model) {
            let wait_ms = if turn.fetching { LINE_BUSY_MS } else { LINE_FREE_MS };
            self.work.line.wait(self.claim(goal));
            return turn.wake_at(now.after_ms(wait_ms), why);
        }
        record.enter(Phase::Downloading, now);
        record.source = Some(Digest::of(goal.build.uri.as_bytes()));
        if !self.kept.parts.contains(&digest) {
            self.kept.parts.push(digest);
        }
        self.work.line.begin(digest, record.attempt.fetched_bytes);
        self.work.fetching = Some(digest);
        self.work.fetch_rate = goal.fetch.bytes_per_second;
        turn.fetching = true;
        turn.emit(Output::Fetch { build: goal.build.clone(), fetch: goal.fetch });
        if let Some(end) = window_end(now, window) {
            turn.wake_at(end, Why::FetchPause);
        }
        turn.changed();
    }

    /// The bytes are there. `false`: nobody asked for them here.
    pub fn fetched(&mut self, digest: &Digest, turn: &mut Turn<'_>) -> bool {
        if self.work.fetching.take_if(|fetching| fetching == digest).is_some() {
            turn.fetching = false;
        } else if !self.kept.parts.contains(digest) {
            return self.slot(digest).is_some();
        }
        // A fetch that was stopped may have been through already; then its bytes are as good.
        let held = self.aim == Aim::Keep;
        let Some(goal) = self.aim.goal().filter(|goal| &goal.build.digest == digest).cloned() else {
            return held;
        };
        self.kept.parts.retain(|part| part != digest);
        if self.slot(digest).is_none() {
            let stable = self.stable() == Some(*digest);
            let (engine, activated) = (String::new(), Time::ZERO);
            let build = goal.build.clone();
            self.kept.slots.push(Slot { build, stable, proven: false, engine, activated });
        }
        if let Some(record) = attempts::find(&mut self.kept.attempts, &goal.attempt, digest) {
            record.enter(Phase::Downloaded, turn.now);
            record.attempt.fetched_bytes = goal.build.size_bytes;
            record.retry_at = None;
        }
        turn.changed();
        true
    }

    /// Counts bytes; the state says so once in every quarter.
    pub fn fetch_progress(&mut self, digest: &Digest, bytes: u64, turn: &mut Turn<'_>) {
        let Some(goal) = self.aim.goal().filter(|_| self.work.fetching.as_ref() == Some(digest)) else {
            return;
        };
        let quarter = |bytes: u64| bytes.saturating_mul(4) / goal.build.size_bytes.max(1);
        let size_bytes = goal.build.size_bytes;
        if let Some(record) = attempts::find(&mut self.kept.attempts, &goal.attempt, digest) {
            let bytes = bytes.min(size_bytes);
            turn.publish |= quarter(bytes) != quarter(record.attempt.fetched_bytes);
            if bytes != record.attempt.fetched_bytes {
                self.answers.fetch_goes_on();
            }
            record.attempt.fetched_bytes = bytes;
        }
    }

    pub fn fetch_failed(&mut self, digest: &Digest, failure: Failure, retry: Retry, turn: &mut Turn<'_>) {
        if self.work.fetching.as_ref() != Some(digest) {
            return;
        }
        self.work.fetching = None;
        turn.fetching = false;
        let Some(goal) = self.aim.goal().filter(|goal| &goal.build.digest == digest).cloned() else { return };
        let Some(record) = attempts::find(&mut self.kept.attempts, &goal.attempt, digest) else { return };
        turn.changed();
        record.fetches = record.fetches.saturating_add(1);
        record.mismatches += u32::from(failure.code == FailureCode::DigestMismatch);
        match outlook(&failure, retry, record, turn) {
            Outlook::Soon => {
                let wait_ms = backoff_ms(turn, digest, record.fetches);
                record.retry_at = Some(turn.now.after_ms(wait_ms));
            }
            Outlook::Late(failure) => {
                record.end(Phase::Failed, Some(failure), turn.now);
                // A disk is emptied sooner than a store changes its mind, and a look at it costs nothing.
                let full = failed_with(record, FailureCode::DiskFull);
                let limits = turn.limits;
                let pause_ms = if full { limits.fetch_backoff_max_ms } else { limits.long_pause_ms };
                let jitter_ms = turn.draw("long pause", pause_ms / 4);
                record.retry_at = Some(turn.now.after_ms(pause_ms).after_ms(jitter_ms));
            }
            Outlook::Never => {
                record.end(Phase::Failed, Some(failure), turn.now);
                record.retry_at = None;
                self.pause_if_stable(&goal.attempt, digest, turn);
            }
        }
    }

    /// Downloads that found no room are tried again, each once in [`ROOM_MS`] at most.
    pub fn room_on_disk(&mut self, turn: &mut Turn<'_>) {
        for record in self.kept.attempts.iter_mut().filter(|t| failed_with(t, FailureCode::DiskFull)) {
            let soon = record.attempt.since.min(turn.now).after_ms(ROOM_MS).max(turn.now);
            record.retry_at = record.retry_at.map(|at| at.min(soon));
        }
    }

    /// A fetch that runs goes on while it may: it stops, and keeps what is there, when the daily window closes
    /// and while the rollout is paused. Another rate takes effect at once.
    pub fn keep_fetching(&mut self, goal: &Goal, turn: &mut Turn<'_>) {
        let Some(digest) = self.work.fetching else { return };
        let (now, window) = (turn.now, goal.fetch.window_utc_minutes);
        let open = in_daily_window(now, window, 0) == now;
        if open && goal.admit && self.work.fetch_rate == goal.fetch.bytes_per_second {
            if let Some(end) = window_end(now, window) {
                turn.wake_at(end, Why::FetchPause);
            }
            return;
        }
        self.work.fetching = None;
        turn.fetching = false;
        turn.emit(Output::PauseFetch { digest });
    }

    /// Drops what unfinished downloads have left whose attempts came to an end.
    pub fn drop_parts(&mut self, turn: &mut Turn<'_>) {
        let held = self.aim == Aim::Keep;
        let goal = self.aim.goal().cloned();
        let rejected = self.rejected().to_vec();
        let attempts = &self.kept.attempts;
        let of_use = |digest: &Digest| {
            let goal = goal.as_ref().filter(|goal| &goal.build.digest == digest);
            goal.is_some_and(|goal| {
                let same = |t: &&Try| t.attempt.rollout == goal.attempt && &t.attempt.digest == digest;
                attempts
                    .iter()
                    .find(same)
                    .is_none_or(|t| t.is_open() && !failed_with(t, FailureCode::DiskFull))
            })
        };
        let keeps = |digest: &Digest| !rejected.contains(digest) && (held || of_use(digest));
        let (keep, gone) = std::mem::take(&mut self.kept.parts).into_iter().partition(keeps);
        self.kept.parts = keep;
        for digest in gone {
            turn.emit(Output::CancelFetch { digest });
            turn.save = true;
        }
    }
}

fn failed_with(record: &Try, code: FailureCode) -> bool {
    record.attempt.failure.as_ref().is_some_and(|failure| failure.code == code)
}

/// What a failed fetch means for the next one.
enum Outlook {
    /// Again after a growing pause.
    Soon,
    /// Again after a long pause, or when the plan names another address; this is said meanwhile.
    Late(Failure),
    /// These bytes are not had, and would not be trusted.
    Never,
}

fn outlook(failure: &Failure, retry: Retry, record: &Try, turn: &Turn<'_>) -> Outlook {
    let limits = turn.limits;
    match failure.code {
        FailureCode::SignatureInvalid => Outlook::Never,
        // A login page of a network, or a cache in between, may once have answered instead.
        FailureCode::DigestMismatch if record.mismatches >= MISMATCHES_MAX => Outlook::Never,
        FailureCode::DigestMismatch => Outlook::Soon,
        _ if retry == Retry::Never => Outlook::Late(failure.clone()),
        _ if record.fetches < limits.fetch_tries_max => Outlook::Soon,
        _ => {
            let detail = format!("{} tries; last {:?}: {}", record.fetches, failure.code, failure.detail);
            Outlook::Late(Failure::new(FailureCode::DownloadExhausted, detail))
        }
    }
}

impl Try {
    /// Whether the plan names another address than the one that was fetched from.
    pub(crate) fn is_elsewhere(&self, build: &ModelBuild) -> bool {
        self.source.is_some_and(|source| source != Digest::of(build.uri.as_bytes()))
    }
}
