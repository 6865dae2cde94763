//! The download of one model's next build: when it starts, how it goes on, and when it stops.

mod retry;
pub(crate) mod schedule;
pub(crate) mod turns;

use modelfleet_protocol::ids::{Digest, ModelName};
use modelfleet_protocol::state::Phase;

use crate::agent::context::StepContext;
use crate::interface::{Output, WakeReason};
use crate::plan::desired::Target;
use crate::saved::AttemptRecord;
use schedule::{in_daily_window, not_later_than, spread_ms, window_end, window_ms};
use turns::{Priority, Turns};

/// Wait before a download tries again to get its turn while another one runs.
const OTHER_RUNS_MS: u64 = 10_000;
/// The same while none runs and another model's download is next.
const OTHER_IS_NEXT_MS: u64 = 1_000;

/// The download of one model's next build.
#[derive(Clone, Debug, Default)]
pub(crate) struct Download {
    running: Option<Running>,
    /// Builds of which a part may be on disk: a download was requested, and neither completed nor dropped.
    partial: Vec<Digest>,
    turns: Turns,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Running {
    digest: Digest,
    /// Rate limit; 0: none.
    bytes_per_second: u64,
}

impl Download {
    pub fn restored(partial: Vec<Digest>) -> Download {
        Download { partial, ..Download::default() }
    }

    /// The build that is being downloaded.
    pub fn running(&self) -> Option<Digest> {
        self.running.map(|running| running.digest)
    }

    /// Rate limit of the running download; 0: none.
    pub fn bytes_per_second(&self) -> u64 {
        self.running.map_or(0, |running| running.bytes_per_second)
    }

    /// Builds of which a part may be on disk.
    pub fn partial(&self) -> impl Iterator<Item = Digest> {
        self.partial.iter().copied()
    }

    pub fn has_partial(&self, digest: &Digest) -> bool {
        self.partial.contains(digest)
    }

    /// Starts the download when its time and its turn have come; else asks to be woken.
    pub fn start(
        &mut self,
        model: &ModelName,
        target: &Target,
        record: &mut AttemptRecord,
        priority: Priority,
        ctx: &mut StepContext<'_>,
    ) {
        let (digest, now) = (target.build.digest, ctx.now);
        if record.attempt.since > now {
            record.attempt.since = now; // The clock was set back: the wait begins again, once.
            ctx.save();
        }
        let mut at = now;
        if record.attempt.phase == Phase::Offered {
            at = record.attempt.since.after_ms(spread_ms(ctx, &digest, target.fetch.spread_ms));
        }
        let new_address = record.has_new_address(&target.build);
        if let Some(retry_at) = record.retry_at.as_mut().filter(|_| !new_address) {
            *retry_at = not_later_than(now, *retry_at, ctx.limits.fetch_backoff_max_ms);
            at = at.max(*retry_at);
        }
        let window = target.fetch.window_utc_minutes;
        let late_ms = spread_ms(ctx, &digest, target.fetch.spread_ms.min(window_ms(window) / 2));
        at = in_daily_window(at.max(now), window, late_ms);
        let reason = if record.fetches == 0 { WakeReason::FetchStart } else { WakeReason::FetchRetry };
        if at > now {
            return ctx.wake_at(at, reason);
        }
        if ctx.download_running || ctx.next_download.as_ref().is_some_and(|next| next != model) {
            let wait_ms = if ctx.download_running { OTHER_RUNS_MS } else { OTHER_IS_NEXT_MS };
            self.turns.wait(priority);
            return ctx.wake_at(now.after_ms(wait_ms), reason);
        }
        record.enter(Phase::Downloading, now);
        record.source = Some(target.build.addresses());
        if !self.partial.contains(&digest) {
            self.partial.push(digest);
        }
        self.turns.begin(digest, record.attempt.fetched_bytes);
        self.running = Some(Running { digest, bytes_per_second: target.fetch.bytes_per_second });
        ctx.download_running = true;
        ctx.emit(Output::Fetch { build: target.build.clone(), fetch: target.fetch });
        if let Some(end) = window_end(now, window) {
            ctx.wake_at(end, WakeReason::FetchPause);
        }
        ctx.changed();
    }

    /// Stops the running download, and keeps its bytes, when the daily window closes, when the rollout is paused, and when
    /// the rate limit changes (it starts again with the new one).
    pub fn pause_if_not_allowed(&mut self, target: &Target, ctx: &mut StepContext<'_>) {
        let Some(running) = self.running else { return };
        let (now, window) = (ctx.now, target.fetch.window_utc_minutes);
        let open = in_daily_window(now, window, 0) == now;
        if open && target.admit && running.bytes_per_second == target.fetch.bytes_per_second {
            if let Some(end) = window_end(now, window) {
                ctx.wake_at(end, WakeReason::FetchPause);
            }
            return;
        }
        self.pause(ctx);
    }

    /// Stops the running download unless its build is wanted. Its bytes are dropped later, or kept while nothing may
    /// change.
    pub fn pause_unless(&mut self, wanted: impl Fn(&Digest) -> bool, ctx: &mut StepContext<'_>) {
        if self.running().is_some_and(|digest| !wanted(&digest)) {
            self.pause(ctx);
        }
    }

    fn pause(&mut self, ctx: &mut StepContext<'_>) {
        if let Some(Running { digest, .. }) = self.running.take() {
            ctx.download_running = false;
            ctx.emit(Output::PauseFetch { digest });
        }
    }

    /// The shell has all bytes of this build. Returns whether they were asked for here. A download that was stopped may
    /// have completed before that; its bytes are just as good.
    pub fn finished(&mut self, digest: &Digest, ctx: &mut StepContext<'_>) -> bool {
        self.ended(digest, ctx) || self.partial.contains(digest)
    }

    /// The download has ended. Returns whether it was running.
    pub fn ended(&mut self, digest: &Digest, ctx: &mut StepContext<'_>) -> bool {
        let running = self.running.take_if(|running| &running.digest == digest).is_some();
        if running {
            ctx.download_running = false;
        }
        running
    }

    /// The bytes are complete, and belong to a slot now.
    pub fn completed(&mut self, digest: &Digest) {
        self.partial.retain(|partial| partial != digest);
    }

    /// Deletes partial downloads that are of no use any more.
    pub fn drop_partial(&mut self, keep: impl Fn(&Digest) -> bool, ctx: &mut StepContext<'_>) {
        let (kept, dropped): (Vec<Digest>, _) = std::mem::take(&mut self.partial).into_iter().partition(keep);
        self.partial = kept;
        for digest in dropped {
            ctx.emit(Output::CancelFetch { digest });
            ctx.save();
        }
    }

    /// The last step's outputs were not carried out: a download that it started is withdrawn.
    pub fn undo_start(&mut self, before: Option<Digest>) {
        self.running = self.running.filter(|_| self.running() == before);
    }

    /// How much depends on the download of this target, and how often it has given way.
    pub fn priority(&self, target: &Target, bytes: u64, nothing_answers: bool) -> Priority {
        self.turns.priority(target, bytes, nothing_answers)
    }

    /// The priority with which it waited for its turn in the last step.
    fn take_waiting(&mut self) -> Option<Priority> {
        self.turns.take_waiting()
    }
}
