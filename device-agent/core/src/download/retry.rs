//! What a failed download leads to: another try after a growing wait, a long pause, or the end of the attempt.

use modelfleet_protocol::state::{Failure, FailureCode, Phase};

use super::schedule::backoff_ms;
use crate::agent::context::StepContext;
use crate::interface::Retry;
use crate::saved::AttemptRecord;

/// Complete downloads with the wrong digest after which the attempt ends.
const MISMATCHES_MAX: u32 = 2;
/// Shortest time between two downloads of a build that fail for lack of room, milliseconds.
const ROOM_MS: u64 = 60_000;

/// When a failed download is tried again.
enum NextTry {
    /// After a growing wait.
    Backoff,
    /// After a long pause, or when the plan names another address. Until then the attempt shows this failure.
    LongPause(Failure),
    /// Never: the bytes at this address are not the build.
    Never,
}

impl AttemptRecord {
    /// Counts a failed download and plans the next try. Returns false if there is none.
    pub(crate) fn download_failed(
        &mut self,
        failure: Failure,
        retry: Retry,
        ctx: &mut StepContext<'_>,
    ) -> bool {
        self.fetches = self.fetches.saturating_add(1);
        self.mismatches += u32::from(failure.code == FailureCode::DigestMismatch);
        ctx.changed();
        match self.next_try(&failure, retry, ctx) {
            NextTry::Backoff => {
                let wait_ms = backoff_ms(ctx, &self.attempt.digest, self.fetches);
                self.retry_at = Some(ctx.now.after_ms(wait_ms));
                true
            }
            NextTry::LongPause(failure) => {
                self.end(Phase::Failed, Some(failure), ctx.now);
                // A disk gets room sooner than a server changes its mind, and looking at a disk costs nothing.
                let full = self.failed_with(FailureCode::DiskFull);
                let pause_ms = if full { ctx.limits.fetch_backoff_max_ms } else { ctx.limits.long_pause_ms };
                let jitter_ms = ctx.jitter("long pause", pause_ms / 4);
                self.retry_at = Some(ctx.now.after_ms(pause_ms).after_ms(jitter_ms));
                true
            }
            NextTry::Never => {
                self.end(Phase::Failed, Some(failure), ctx.now);
                self.retry_at = None;
                false
            }
        }
    }

    fn next_try(&self, failure: &Failure, retry: Retry, ctx: &StepContext<'_>) -> NextTry {
        match failure.code {
            FailureCode::SignatureInvalid => NextTry::Never,
            // A login page of a network, or a cache in between, may have answered once.
            FailureCode::DigestMismatch if self.mismatches >= MISMATCHES_MAX => NextTry::Never,
            FailureCode::DigestMismatch => NextTry::Backoff,
            _ if retry == Retry::Never => NextTry::LongPause(failure.clone()),
            _ if self.fetches < ctx.limits.fetch_tries_max => NextTry::Backoff,
            _ => {
                let (tries, code, detail) = (self.fetches, failure.code, &failure.detail);
                let detail = format!("{tries} tries failed; the last one: {code:?}: {detail}");
                NextTry::LongPause(Failure::new(FailureCode::DownloadExhausted, detail))
            }
        }
    }

    /// The disk has room again: a download that failed for lack of it is tried again, once in [`ROOM_MS`] at most.
    pub(crate) fn disk_has_room(&mut self, ctx: &StepContext<'_>) {
        if self.failed_with(FailureCode::DiskFull) {
            let soon = self.attempt.since.min(ctx.now).after_ms(ROOM_MS).max(ctx.now);
            self.retry_at = self.retry_at.map(|at| at.min(soon));
        }
    }
}
