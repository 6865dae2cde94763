//! What must hold of a device's control record, from one write to the next. What a build has really shown on the device is
//! counted apart from the agent.

use std::collections::{BTreeMap, BTreeSet};

use modelfleet_agent_core::saved::{ATTEMPTS_MAX, Active, AttemptRecord, Saved, SavedModel};
use modelfleet_protocol::ids::{Digest, ModelName};
use modelfleet_protocol::state::{FailureCode, Phase};
use modelfleet_protocol::time::Time;

use crate::device::{Device, Shown};
use crate::laws::included;

/// Builds that a device keeps for one model while it does not switch: the one that answers, and one more.
const QUIET_BUILDS_MAX: usize = 2;

/// What was learned from a device's records.
#[derive(Debug, Default)]
pub struct Records {
    last: Option<Saved>,
    /// Proven builds that the last write took from their slots although there was room.
    dropped: BTreeSet<Digest>,
    /// Builds that have proven themselves on this device.
    pub confirmed: BTreeSet<Digest>,
}

impl Records {
    /// The device's clock was set: moments of the last record are not compared with those of the next.
    pub fn clock_was_set(&mut self) {
        self.last = None;
    }

    /// The process has ended: the next record is compared with none.
    pub fn restarted(&mut self) {
        self.last = None;
        self.dropped.clear();
    }

    /// Holds the laws of a record that is written now. `clock`: the device's own.
    pub fn written(
        &mut self,
        device: &Device,
        shown: &BTreeMap<ModelName, Shown>,
        after: Saved,
        clock: Time,
    ) -> Option<String> {
        let before = self.last.replace(after);
        let after = self.last.as_ref()?;
        for (model, kept) in &after.models {
            let proven = kept.slots.iter().filter(|slot| slot.proven).map(|slot| slot.build.digest);
            self.confirmed.extend(proven);
            let old = before.as_ref().and_then(|before| before.models.get(model));
            let broken = old.and_then(|old| {
                let lost = old.slots.iter().filter(|slot| slot.proven).map(|slot| slot.build.digest);
                let lost = lost.filter(|digest| kept.slots.iter().all(|slot| slot.build.digest != *digest));
                let room = kept.slots.len() < QUIET_BUILDS_MAX;
                self.dropped.extend(lost.filter(|digest| room && !rejects(kept, digest)));
                let answered = |digest: &Digest| device.answered.get(digest).copied().unwrap_or(0);
                confirmed_too_soon(shown.get(model), answered, old, kept)
                    .or_else(|| begun_too_soon(device, old, kept, clock))
                    .or_else(|| left_and_proven(old, kept))
            });
            if let Some(broken) = broken.or_else(|| as_it_is(device, model, kept)) {
                return Some(format!("{model}: {broken}"));
            }
        }
        None
    }

    /// Holds the law of a deletion. `sound`: the bytes were there.
    #[must_use]
    pub fn deleted(&self, digest: &Digest, sound: bool) -> Option<String> {
        (sound && self.dropped.contains(digest))
            .then(|| format!("deletes {digest}, which has proven itself here, although there is room for it"))
    }

    /// Everything of one event was looked at.
    pub fn event_ended(&mut self) {
        self.dropped.clear();
    }
}

fn rejects(kept: &SavedModel, digest: &Digest) -> bool {
    kept.plan.as_ref().is_some_and(|plan| plan.rejected.contains(digest))
}

/// Whether the build on probation was confirmed, and not adopted because a plan promoted it.
fn confirms(old: &SavedModel, new: &SavedModel) -> bool {
    let (Some(old), Some(new)) = (&old.active, &new.active) else { return false };
    let same = old.digest == new.digest && old.rollout == new.rollout && !new.rollout.is_empty();
    same && old.probation.is_some() && new.probation.is_none()
}

/// A build is confirmed after enough answers, without too many errors, and after contact with the broker.
fn confirmed_too_soon(
    shown: Option<&Shown>,
    answered: impl Fn(&Digest) -> u64,
    old: &SavedModel,
    new: &SavedModel,
) -> Option<String> {
    let Active { digest, probation, .. } = old.active.as_ref().filter(|_| confirms(old, new))?;
    let rules = probation.as_ref()?.rules;
    let is_stable =
        |kept: &SavedModel| kept.slots.iter().any(|slot| slot.build.digest == *digest && slot.stable);
    // A device does not leave the fleet's stable build for lack of contact or requests.
    if is_stable(old) || is_stable(new) {
        return None;
    }
    let answered = answered(digest);
    let shown = shown.filter(|shown| shown.digest == *digest);
    let errors = shown.map_or(0, |shown| shown.errors);
    let heard = shown.is_some_and(|shown| shown.heard);
    let why = match shown {
        None => "while it does not answer".to_owned(),
        Some(_) if answered < rules.min_predictions => {
            format!("after {answered} answers of {}", rules.min_predictions)
        }
        Some(_) if errors > rules.max_errors => {
            format!("after {errors} errors, of which {} may be", rules.max_errors)
        }
        Some(_) if !heard => "without contact to the broker since it answers".to_owned(),
        Some(_) => return None,
    };
    Some(format!("confirms {digest} {why}"))
}

/// An attempt that has ended is not begun again before its pause is over.
fn begun_too_soon(device: &Device, old: &SavedModel, new: &SavedModel, clock: Time) -> Option<String> {
    // A full list forgets the oldest.
    let full = old.attempts.len().max(new.attempts.len()) >= ATTEMPTS_MAX;
    let waits = |record: &&AttemptRecord| {
        let room =
            record.attempt.failure.as_ref().is_some_and(|failure| failure.code == FailureCode::DiskFull);
        record.attempt.phase == Phase::Failed && !room && !full
    };
    old.attempts.iter().filter(waits).find_map(|ended| {
        let again = new.attempts.iter().find(|record| same_attempt(record, ended))?;
        let (at, began) = (ended.retry_at?, again.attempt.phase == Phase::Offered);
        let left_ms = at.since_ms(clock);
        // Longer waits are cut: the clock was set back.
        let counts = left_ms > 0 && left_ms <= device.long_pause_ms();
        let rollout = &ended.attempt.rollout;
        (began && counts)
            .then(|| format!("begins {rollout:?} again {} s before its pause is over", left_ms / 1_000))
    })
}

/// What holds of a record whatever was before.
fn as_it_is(device: &Device, model: &ModelName, kept: &SavedModel) -> Option<String> {
    let slot = |digest: &Digest| kept.slots.iter().find(|slot| slot.build.digest == *digest);
    if let Some(active) = &kept.active {
        let digest = &active.digest;
        if rejects(kept, digest) {
            return Some(format!("keeps {digest} active, which its plan rejects"));
        }
        if active.probation.is_none() && slot(digest).is_some_and(|slot| !slot.proven) {
            return Some(format!("goes back to {digest}, which has not proven itself here"));
        }
        let answers = device.serving.get(model).is_some_and(|build| build.digest == *digest);
        if answers && kept.slots.len() > QUIET_BUILDS_MAX && !device.disk.full {
            return Some(format!("keeps {} builds while none is switched", kept.slots.len()));
        }
    }
    None
}

/// A build that the device leaves because it failed does not count as proven any more.
fn left_and_proven(old: &SavedModel, new: &SavedModel) -> Option<String> {
    let reverted = |kept: &SavedModel, record: &AttemptRecord| {
        kept.attempts.iter().any(|one| same_attempt(one, record) && one.attempt.phase == Phase::Reverted)
    };
    let left = new.attempts.iter().find(|record| reverted(new, record) && !reverted(old, record))?;
    let slot = new.slots.iter().find(|slot| slot.build.digest == left.attempt.digest)?;
    slot.proven.then(|| format!("calls {} proven, which it leaves because it failed", slot.build.version))
}

fn same_attempt(a: &AttemptRecord, b: &AttemptRecord) -> bool {
    a.attempt.rollout == b.attempt.rollout && a.attempt.digest == b.attempt.digest
}

/// What holds of a record at rest, when nothing is under way: what it breaks is broken only if it stays so.
#[must_use]
pub fn at_rest(device: &Device, kept: &SavedModel) -> Option<String> {
    let serving: Vec<Digest> = device.serving.values().map(|build| build.digest).collect();
    let rejected = kept.slots.iter().find(|slot| {
        let digest = &slot.build.digest;
        rejects(kept, digest) && !serving.contains(digest)
    });
    if let Some(slot) = rejected.filter(|_| !device.disk.full) {
        return Some(format!("keeps {} on its disk, which its plan rejects", slot.build.version));
    }
    let plan = kept.plan.as_ref()?;
    let candidate = plan.candidate.as_ref().filter(|candidate| !rejects(kept, &candidate.build.digest))?;
    let (id, labels) = (&device.identity.device, &device.identity.labels);
    let given = kept.active.is_some() && included(&candidate.membership, id, labels) && !device.disk.full;
    let known = kept.attempts.iter().any(|record| record.attempt.rollout == candidate.rollout);
    (given && !known).then(|| format!("was given {} and has no attempt of this name", candidate.rollout))
}
