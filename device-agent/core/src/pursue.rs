//! From what is wanted to what is active: fetch, admit, activate; one attempt after another.

use modelfleet_protocol::admission;
use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::plan::{Mode, Probation};
use modelfleet_protocol::state::{Failure, FailureCode, Phase};

use crate::aim::{Aim, Goal, Kind};
use crate::attempts;
use crate::fetch_schedule::{backoff_ms, within};
use crate::limits::Limits;
use crate::saved::{Active, Trial, Try};
use crate::turn::Turn;
use crate::unit::Unit;
use crate::words::{Output, Role, Why};

impl Goal {
    pub fn is_shadow(&self) -> bool {
        self.mode == Mode::Shadow
    }

    /// How the build proves itself; where the plan gives no time, in the agent's own.
    pub fn rules(&self, limits: &Limits) -> Probation {
        let Probation { timeout_ms, .. } = self.probation;
        let timeout_ms = if timeout_ms == 0 { limits.probation.timeout_ms } else { timeout_ms };
        Probation { timeout_ms, ..self.probation }
    }
}

impl Unit {
    pub fn pursue(&mut self, turn: &mut Turn<'_>) {
        let Some(goal) = self.aim.goal().cloned() else { return };
        let digest = goal.build.digest;
        if self.rejects(&digest) || !turn.writable {
            return;
        }
        if self.is_active(&digest) {
            return self.adopt(&goal, turn);
        }
        if goal.kind == Kind::Stable && self.slot(&digest).is_some_and(|slot| slot.proven) {
            return self.make_active(
                Some(Active { digest, activated: turn.now, rollout: String::new(), trial: None, crashes: 0 }),
                turn,
            );
        }
        if !self.may_try(&goal, turn) {
            return;
        }
        let here = self.slot(&digest).is_some();
        let Some(record) = attempts::find(&mut self.kept.attempts, &goal.attempt, &digest) else { return };
        if let Err(failure) =
            admission::check(&turn.identity.labels, &turn.identity.capabilities, &goal.build, goal.mode)
        {
            record.end(Phase::Incompatible, Some(failure), turn.now);
            return turn.changed();
        }
        if here && record.attempt.phase < Phase::Downloaded && record.enter(Phase::Downloaded, turn.now) {
            turn.changed();
        }
        let fetching = self.work.fetching == Some(digest);
        if fetching && record.attempt.phase < Phase::Downloading && record.enter(Phase::Downloading, turn.now)
        {
            turn.changed();
        }
        if fetching {
            self.keep_fetching(&goal, turn);
        }
        let started = self.work.fetching == Some(digest) || self.work.shadow == Some(digest);
        if started || !goal.admit || turn.now >= goal.expires || !turn.connected {
            return;
        }
        if !here && self.has_room() {
            self.fetch(&goal, turn);
        } else if here && !self.on_trial() && turn.loading {
            self.admit(&goal, turn);
        }
    }

    /// What is wanted is active already: a promotion, or another attempt with the same build.
    fn adopt(&mut self, goal: &Goal, turn: &mut Turn<'_>) {
        let Some(active) = &mut self.kept.active else { return };
        let (digest, before) = (active.digest, active.rollout.clone());
        if before == goal.attempt {
            return;
        }
        active.rollout.clone_from(&goal.attempt);
        let promoted = goal.kind == Kind::Stable;
        if promoted {
            active.trial = None;
            active.crashes = 0;
        }
        let phase = match &active.trial {
            None => Phase::Confirmed,
            Some(_) if self.serving == Some(digest) => Phase::Activated,
            Some(_) => Phase::Downloaded,
        };
        let name = if promoted { &before } else { &goal.attempt };
        let (record, _) = attempts::find_or_begin(&mut self.kept.attempts, name, digest, turn.now);
        record.enter(phase, turn.now);
        if let Some(slot) = self.slot_mut(&digest).filter(|_| promoted) {
            slot.proven = true;
        }
        turn.changed();
    }

    /// Whether the attempt is open. Begins it when it is new, and again when its pause is over.
    fn may_try(&mut self, goal: &Goal, turn: &mut Turn<'_>) -> bool {
        let (digest, now) = (goal.build.digest, turn.now);
        let (record, new) = attempts::find_or_begin(&mut self.kept.attempts, &goal.attempt, digest, now);
        if new {
            turn.changed();
        }
        if record.has_ended() {
            let Some(at) = record.retry_at else { return false };
            let at = within(now, at, turn.limits.long_pause_ms.saturating_mul(2));
            record.retry_at = Some(at);
            if at > now && !record.is_elsewhere(&goal.build) {
                turn.wake_at(at, Why::LongPause);
                return false;
            }
            *record = Try::new(&goal.attempt, digest, now);
            turn.changed();
        } else if record.attempt.phase > Phase::Downloaded && !goal.is_shadow() {
            // It answered or shadowed once and something else came between (a pin, lost bytes).
            record.enter(Phase::Offered, now);
            turn.changed();
        }
        true
    }

    fn admit(&mut self, goal: &Goal, turn: &mut Turn<'_>) {
        let (digest, now) = (goal.build.digest, turn.now);
        if self.work.admitting.is_some() {
            return;
        }
        if self.work.admitted.as_ref().is_some_and(|(admitted, _)| admitted == &digest) {
            return self.activate(goal, turn);
        }
        let Some(record) = attempts::find(&mut self.kept.attempts, &goal.attempt, &digest) else { return };
        if let Some(at) = record.retry_at.map(|at| within(now, at, turn.limits.fetch_backoff_max_ms))
            && at > now
        {
            return turn.wake_at(at, Why::ReadRetry);
        }
        if record.admissions >= turn.limits.restarts_max {
            let detail = "the agent did not survive loading it".to_owned();
            record.end(Phase::Failed, Some(Failure::new(FailureCode::CrashLoop, detail)), now);
            self.pause_if_stable(&goal.attempt, &digest, turn);
            return turn.changed();
        }
        record.retry_at = None; // The wait is over; were it kept, an attempt that ends would begin anew.
        record.admissions += 1;
        turn.save = true;
        self.work.admitting = Some(digest);
        turn.emit(Output::Admit { build: goal.build.clone() });
    }

    fn activate(&mut self, goal: &Goal, turn: &mut Turn<'_>) {
        let Some((digest, engine)) = self.work.admitted.take() else { return };
        if let Some(slot) = self.slot_mut(&digest) {
            slot.engine = engine;
        }
        if goal.is_shadow() {
            (self.work.shadow, self.work.shadow_runs) = (Some(digest), false);
            self.work.count_anew();
            self.fresh = Some((Role::Shadow, turn.now));
            turn.emit(Output::Shadow { model: self.model.clone(), build: Some(goal.build.clone()) });
            let record = attempts::find(&mut self.kept.attempts, &goal.attempt, &digest);
            // One that was confirmed stays so when the agent starts again.
            if let Some(record) = record.filter(|record| record.attempt.phase != Phase::Confirmed) {
                record.enter(Phase::Activated, turn.now);
            }
            return turn.changed();
        }
        let trial = Some(Trial::under(goal.rules(turn.limits)));
        let rollout = goal.attempt.clone();
        self.make_active(Some(Active { digest, activated: turn.now, rollout, trial, crashes: 0 }), turn);
    }

    /// Ends what is under way for a build that is no longer wanted.
    pub fn drop_stale_work(&mut self, turn: &mut Turn<'_>) {
        let goal = self.aim.goal().cloned().filter(|goal| !self.rejects(&goal.build.digest));
        let wanted = |digest: &Digest| goal.as_ref().is_some_and(|goal| &goal.build.digest == digest);
        let held = self.aim == Aim::Keep;
        if let Some(digest) = self.work.fetching.take_if(|digest| !wanted(digest)) {
            turn.fetching = false;
            turn.emit(Output::PauseFetch { digest }); // What is there is dropped below, or kept while held.
        }
        let loading = self.work.admitting.take_if(|digest| !wanted(digest));
        for tried in self.kept.attempts.iter_mut().filter(|t| Some(t.attempt.digest) == loading) {
            tried.admissions = tried.admissions.saturating_sub(1); // The agent has survived it.
        }
        let loaded = self.work.admitted.take_if(|(digest, _)| !wanted(digest)).map(|(digest, _)| digest);
        for digest in loading.into_iter().chain(loaded) {
            turn.emit(Output::Unload { model: self.model.clone(), digest });
        }
        let in_shadow = |digest: &Digest| {
            (held && !self.rejects(digest))
                || (wanted(digest) && goal.as_ref().is_some_and(|g| g.is_shadow()))
        };
        if let Some(digest) = self.work.shadow.filter(|digest| !in_shadow(digest)) {
            self.work.shadow = None;
            turn.emit(Output::Shadow { model: self.model.clone(), build: None });
            let goes_live = wanted(&digest);
            for record in self.kept.attempts.iter_mut().filter(|t| t.attempt.digest == digest) {
                if goes_live {
                    record.enter(Phase::Downloaded, turn.now);
                } else if matches!(record.attempt.phase, Phase::Activated | Phase::Confirmed) {
                    record.end(Phase::RolledBack, None, turn.now);
                }
            }
            turn.changed();
        }
        self.forget_unbegun(turn);
        self.drop_parts(turn);
    }

    /// Attempts that the plan dropped before they came to anything leave no trace.
    fn forget_unbegun(&mut self, turn: &mut Turn<'_>) {
        let goal = self.aim.goal().cloned();
        let open = self.kept.attempts.len();
        let slots = &self.kept.slots;
        // What was confirmed in shadow has answered nobody, and is not kept as proven.
        let in_shadow =
            |digest: &Digest| slots.iter().any(|s| &s.build.digest == digest && !s.proven && !s.stable);
        self.kept.attempts.retain(|t| {
            let is_goal = goal
                .as_ref()
                .is_some_and(|g| g.attempt == t.attempt.rollout && g.build.digest == t.attempt.digest);
            let is_active = self.kept.active.as_ref().is_some_and(|a| a.digest == t.attempt.digest);
            let shadows = self.work.shadow == Some(t.attempt.digest);
            let confirmed = t.attempt.phase == Phase::Confirmed && !in_shadow(&t.attempt.digest);
            t.has_ended() || confirmed || is_goal || is_active || shadows
        });
        if self.kept.attempts.len() != open {
            turn.changed();
        }
    }

    pub fn admitted(
        &mut self,
        digest: &Digest,
        engine: String,
        memory_bytes: u64,
        turn: &mut Turn<'_>,
    ) -> bool {
        if self.work.admitting.as_ref() != Some(digest) {
            // Said twice, it is as good.
            return self.work.admitted.as_ref().is_some_and(|(admitted, _)| admitted == digest);
        }
        let allowed = turn.identity.capabilities.memory_bytes;
        if allowed > 0 && memory_bytes > allowed {
            let detail = format!("it takes {memory_bytes} bytes, {allowed} are allowed");
            turn.emit(Output::Unload { model: self.model.clone(), digest: *digest });
            self.refused(digest, Failure::new(FailureCode::MemoryShort, detail), turn);
            return true;
        }
        self.work.admitting = None;
        self.work.admitted = Some((*digest, engine));
        let shadow = self.aim.goal().is_some_and(|goal| goal.is_shadow());
        for record in self.kept.attempts.iter_mut().filter(|t| &t.attempt.digest == digest && !shadow) {
            record.admissions = 0;
            turn.save = true;
        }
        true
    }

    /// The disk holds the bytes and does not give them: tried again after a growing pause, then told as the device's
    /// own trouble, and tried again after a long one.
    pub fn unreadable(&mut self, digest: &Digest, failure: Failure, turn: &mut Turn<'_>) {
        if self.work.shadow.as_ref() == Some(digest) {
            return self.end_shadow(failure, turn);
        }
        if self.work.admitting.take_if(|admitting| admitting == digest).is_none() {
            return;
        }
        let Some(goal) = self.aim.goal().filter(|goal| &goal.build.digest == digest) else { return };
        let Some(record) = attempts::find(&mut self.kept.attempts, &goal.attempt, digest) else { return };
        record.admissions = record.admissions.saturating_sub(1); // The agent has survived it.
        record.reads = record.reads.saturating_add(1);
        turn.save = true;
        let wait_ms = if record.reads < turn.limits.read_tries_max {
            backoff_ms(turn, digest, record.reads)
        } else {
            record.end(Phase::Failed, Some(failure), turn.now);
            turn.changed();
            let pause_ms = turn.limits.long_pause_ms;
            pause_ms.saturating_add(turn.draw("long pause", pause_ms / 4))
        };
        record.retry_at = Some(turn.now.after_ms(wait_ms));
    }

    /// A disk that loses what it is given is not given it again and again: after the first time there are growing
    /// pauses, and in the end it is told as the device's own trouble.
    pub fn lost_while_loading(&mut self, digest: &Digest, turn: &mut Turn<'_>) {
        let Some(goal) = self.aim.goal().filter(|goal| &goal.build.digest == digest) else { return };
        let Some(record) = attempts::find(&mut self.kept.attempts, &goal.attempt, digest) else { return };
        record.admissions = record.admissions.saturating_sub(1); // The agent has survived it.
        record.reads = record.reads.saturating_add(1);
        let mut wait_ms = backoff_ms(turn, digest, record.reads);
        if record.reads >= turn.limits.read_tries_max {
            let detail = format!("the disk lost or changed the bytes {} times", record.reads);
            record.end(Phase::Failed, Some(Failure::new(FailureCode::DiskUnreadable, detail)), turn.now);
            wait_ms = turn.limits.long_pause_ms;
        }
        record.retry_at = (record.reads > 1).then(|| turn.now.after_ms(wait_ms));
    }

    pub fn refused(&mut self, digest: &Digest, failure: Failure, turn: &mut Turn<'_>) {
        if self.work.shadow.as_ref() == Some(digest) {
            return self.end_shadow(failure, turn);
        }
        if self.work.admitting.take_if(|admitting| admitting == digest).is_none() {
            return;
        }
        let Some(goal) = self.aim.goal().filter(|goal| &goal.build.digest == digest).cloned() else { return };
        let Some(record) = attempts::find(&mut self.kept.attempts, &goal.attempt, digest) else { return };
        let incompatible = failure.code.is_incompatibility();
        let phase = if incompatible { Phase::Incompatible } else { Phase::Failed };
        record.end(phase, Some(failure), turn.now);
        if !incompatible {
            self.pause_if_stable(&goal.attempt, digest, turn);
        }
        turn.changed();
    }
}
