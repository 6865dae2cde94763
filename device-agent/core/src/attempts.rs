//! What was tried: one record for each attempt and build, so that nothing is tried twice that ended.

use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::state::{Attempt, Failure, Phase};
use modelfleet_protocol::time::Time;

use crate::saved::{ATTEMPTS_MAX, Try};

pub(crate) fn find<'a>(attempts: &'a mut [Try], rollout: &str, digest: &Digest) -> Option<&'a mut Try> {
    attempts.iter_mut().find(|t| t.attempt.rollout == rollout && &t.attempt.digest == digest)
}

/// The record of this attempt, begun now if there is none; the oldest one makes room. The second value says
/// whether it is new.
pub(crate) fn find_or_begin<'a>(
    attempts: &'a mut Vec<Try>,
    rollout: &str,
    digest: Digest,
    now: Time,
) -> (&'a mut Try, bool) {
    let known = |t: &Try| t.attempt.rollout == rollout && t.attempt.digest == digest;
    let new = !attempts.iter().any(known);
    if new {
        if attempts.len() >= ATTEMPTS_MAX {
            attempts.remove(0);
        }
        attempts.push(Try::new(rollout, digest, now));
    }
    let at = attempts.iter().position(known).unwrap_or(attempts.len() - 1);
    (&mut attempts[at], new)
}

impl Try {
    pub(crate) fn new(rollout: &str, digest: Digest, now: Time) -> Try {
        Try {
            attempt: Attempt {
                rollout: rollout.to_owned(),
                digest,
                phase: Phase::Offered,
                fetched_bytes: 0,
                since: now,
                failure: None,
                waits: None,
            },
            fetches: 0,
            admissions: 0,
            reads: 0,
            retry_at: None,
            mismatches: 0,
            source: None,
        }
    }

    /// Moves on; true when that changed the phase.
    pub(crate) fn enter(&mut self, phase: Phase, now: Time) -> bool {
        let changed = self.attempt.phase != phase;
        if changed {
            self.attempt.phase = phase;
            self.attempt.since = now;
            self.attempt.failure = None;
        }
        changed
    }

    /// Ends with a failure.
    pub(crate) fn end(&mut self, phase: Phase, failure: Option<Failure>, now: Time) {
        self.attempt.phase = phase;
        self.attempt.since = now;
        self.attempt.failure = failure;
        self.admissions = 0;
    }

    /// Whether it may still come to something: it goes on, or is taken up again after a pause.
    pub(crate) fn is_open(&self) -> bool {
        !self.has_ended() || self.retry_at.is_some()
    }

    /// Whether it is over, well or not.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(
            self.attempt.phase,
            Phase::Failed | Phase::Incompatible | Phase::Reverted | Phase::RolledBack | Phase::Unknown
        )
    }
}
