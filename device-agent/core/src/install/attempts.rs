//! Attempts: one record for each rollout attempt and build, so that an attempt that has ended is not repeated.

use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::state::{Attempt, Failure, FailureCode, Phase};
use modelfleet_protocol::time::Time;

use crate::plan::build::Build;
use crate::plan::desired::Target;
use crate::saved::{ATTEMPTS_MAX, AttemptRecord};

/// The attempts of one model, oldest first, at most [`ATTEMPTS_MAX`].
#[derive(Clone, Debug, Default)]
pub(crate) struct AttemptLog {
    records: Vec<AttemptRecord>,
}

impl AttemptLog {
    pub fn restored(records: Vec<AttemptRecord>) -> AttemptLog {
        AttemptLog { records }
    }

    pub fn saved(&self) -> Vec<AttemptRecord> {
        self.records.clone()
    }

    pub fn iter(&self) -> impl Iterator<Item = &AttemptRecord> {
        self.records.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut AttemptRecord> {
        self.records.iter_mut()
    }

    pub fn find(&self, rollout: &str, digest: &Digest) -> Option<&AttemptRecord> {
        self.records.iter().find(|record| record.is(rollout, digest))
    }

    pub fn find_mut(&mut self, rollout: &str, digest: &Digest) -> Option<&mut AttemptRecord> {
        self.records.iter_mut().find(|record| record.is(rollout, digest))
    }

    /// The attempt at this target.
    pub fn at(&self, target: &Target) -> Option<&AttemptRecord> {
        self.find(&target.attempt, &target.build.digest)
    }

    /// The attempt at this target.
    pub fn at_mut(&mut self, target: &Target) -> Option<&mut AttemptRecord> {
        self.find_mut(&target.attempt, &target.build.digest)
    }

    /// The attempts at this build, under any name.
    pub fn with_build(&mut self, digest: Digest) -> impl Iterator<Item = &mut AttemptRecord> {
        self.records.iter_mut().filter(move |record| record.attempt.digest == digest)
    }

    /// The newest attempt at this build.
    pub fn newest_with_build(&self, digest: &Digest) -> Option<&AttemptRecord> {
        self.records.iter().rev().find(|record| &record.attempt.digest == digest)
    }

    /// The newest attempt at this build.
    pub fn newest_with_build_mut(&mut self, digest: &Digest) -> Option<&mut AttemptRecord> {
        self.records.iter_mut().rev().find(|record| &record.attempt.digest == digest)
    }

    /// The record of this attempt. If there is none, it begins now, and the oldest record makes room. The second value
    /// tells whether it is new.
    pub fn find_or_begin(&mut self, rollout: &str, digest: Digest, now: Time) -> (&mut AttemptRecord, bool) {
        let new = self.find(rollout, &digest).is_none();
        if new {
            if self.records.len() >= ATTEMPTS_MAX {
                self.records.remove(0);
            }
            self.records.push(AttemptRecord::begun(rollout, digest, now));
        }
        let at = self.records.iter().position(|record| record.is(rollout, &digest));
        let at = at.unwrap_or(self.records.len() - 1);
        (&mut self.records[at], new)
    }

    /// Removes the attempt, so that it can begin again.
    pub fn forget(&mut self, rollout: &str, digest: &Digest) {
        self.records.retain(|record| !record.is(rollout, digest));
    }

    /// Removes the attempts that `keep` does not name. Returns whether there were any.
    pub fn forget_unless(&mut self, keep: impl Fn(&AttemptRecord) -> bool) -> bool {
        let before = self.records.len();
        self.records.retain(keep);
        self.records.len() != before
    }

    /// Whether installing this stable build has ended, successfully or not.
    pub fn stable_has_ended(&self, digest: &Digest) -> bool {
        self.find("", digest).is_some_and(AttemptRecord::has_ended)
    }

    /// When an attempt last changed.
    pub fn last_change(&self) -> Option<Time> {
        self.records.iter().map(|record| record.attempt.since).max()
    }

    /// The attempt to show to people: the one at this target; else the one that changed last, so that its result can be
    /// seen.
    pub fn shown(&self, target: Option<&Target>) -> Option<Attempt> {
        let at_target = target.and_then(|target| self.at(target)).map(|record| &record.attempt);
        let all = || self.records.iter().map(|record| &record.attempt);
        at_target.or_else(|| all().max_by_key(|attempt| attempt.since)).cloned()
    }
}

impl AttemptRecord {
    /// An attempt that begins.
    pub(crate) fn begun(rollout: &str, digest: Digest, now: Time) -> AttemptRecord {
        AttemptRecord {
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

    fn is(&self, rollout: &str, digest: &Digest) -> bool {
        self.attempt.rollout == rollout && &self.attempt.digest == digest
    }

    /// Enters a phase. Returns whether that is another one.
    pub(crate) fn enter(&mut self, phase: Phase, now: Time) -> bool {
        let changed = self.attempt.phase != phase;
        if changed {
            self.attempt.phase = phase;
            self.attempt.since = now;
            self.attempt.failure = None;
        }
        changed
    }

    /// Ends the attempt.
    pub(crate) fn end(&mut self, phase: Phase, failure: Option<Failure>, now: Time) {
        self.attempt.phase = phase;
        self.attempt.since = now;
        self.attempt.failure = failure;
        self.admissions = 0;
    }

    /// A load that was begun did not crash the agent.
    pub(crate) fn load_survived(&mut self) {
        self.admissions = self.admissions.saturating_sub(1);
    }

    /// Whether it can still succeed: it is under way, or is tried again after a pause.
    pub(crate) fn is_open(&self) -> bool {
        !self.has_ended() || self.retry_at.is_some()
    }

    /// Whether it has ended, successfully or not.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(
            self.attempt.phase,
            Phase::Failed | Phase::Incompatible | Phase::Reverted | Phase::RolledBack | Phase::Unknown
        )
    }

    /// Whether it ended with this failure.
    pub(crate) fn failed_with(&self, code: FailureCode) -> bool {
        self.attempt.failure.as_ref().is_some_and(|failure| failure.code == code)
    }

    /// Whether the plan names another address than the one that was downloaded from.
    pub(crate) fn has_new_address(&self, build: &Build) -> bool {
        self.source.is_some_and(|source| source != build.addresses())
    }
}
