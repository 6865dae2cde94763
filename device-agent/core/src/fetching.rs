//! Fetching: when it starts, how it goes on, and when it is given up for now.

use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::state::{Failure, FailureCode, Phase};
use modelfleet_protocol::time::Time;

use crate::aim::Goal;
use crate::attempts;
use crate::fetch_schedule::{backoff_ms, in_daily_window, spread_ms, window_ms, within};
use crate::saved::Slot;
use crate::turn::Turn;
use crate::unit::Unit;
use crate::words::{Output, Retry, Why};

/// How long a fetch waits for the line when another model has it.
const LINE_BUSY_MS: u64 = 10_000;

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
        if let Some(retry_at) = record.retry_at {
            at = at.max(within(now, retry_at, turn.limits.fetch_backoff_max_ms));
        }
        let window = goal.fetch.window_utc_minutes;
        let late_ms = spread_ms(turn, &digest, goal.fetch.spread_ms.min(window_ms(window) / 2));
        at = in_daily_window(at.max(now), window, late_ms);
        let why = if record.fetches == 0 { Why::FetchStart } else { Why::FetchRetry };
        if at > now {
            return turn.wake_at(at, why);
        }
        if turn.fetching {
            return turn.wake_at(now.after_ms(LINE_BUSY_MS), why);
        }
        record.enter(Phase::Downloading, now);
        self.work.fetching = Some(digest);
        turn.fetching = true;
        turn.emit(Output::Fetch { build: goal.build.clone(), fetch: goal.fetch });
        turn.changed();
    }

    /// The bytes are there. `false`: nobody asked for them here.
    pub fn fetched(&mut self, digest: &Digest, turn: &mut Turn<'_>) -> bool {
        if self.work.fetching.as_ref() != Some(digest) {
            return self.slot(digest).is_some();
        }
        self.work.fetching = None;
        turn.fetching = false;
        let Some(goal) = self.aim.goal().filter(|goal| &goal.build.digest == digest).cloned() else {
            return false;
        };
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
        if retry == Retry::Never {
            record.end(Phase::Failed, Some(failure), turn.now);
            turn.emit(Output::CancelFetch { digest: *digest });
            return self.pause_if_stable(&goal.attempt, digest, turn);
        }
        if record.fetches < turn.limits.fetch_tries_max {
            let wait_ms = backoff_ms(turn, digest, record.fetches);
            record.retry_at = Some(turn.now.after_ms(wait_ms));
            return;
        }
        let detail = format!("{} tries; last {:?}: {}", record.fetches, failure.code, failure.detail);
        let exhausted = Failure::new(FailureCode::DownloadExhausted, detail);
        record.end(Phase::Failed, Some(exhausted), turn.now);
        let pause_ms = turn.limits.long_pause_ms;
        let jitter_ms = turn.draw("long pause", pause_ms / 4);
        record.retry_at = Some(turn.now.after_ms(pause_ms).after_ms(jitter_ms));
    }
}
