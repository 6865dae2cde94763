//! From the active build to the one that is wanted: download, load, activate, one attempt after another. What is no longer
//! wanted is stopped and deleted.

use modelfleet_protocol::admission;
use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::state::{Failure, FailureCode, Phase};

use super::ManagedModel;
use crate::agent::context::StepContext;
use crate::download::schedule::not_later_than;
use crate::interface::{Output, Role, WakeReason};
use crate::plan::desired::{Target, TargetKind};
use crate::report::waits::{LOOK_AGAIN_MS, Obstacle, Wait};
use crate::saved::{Active, AttemptRecord, ProbationProgress};

impl ManagedModel {
    /// Takes the next step towards the build that is wanted.
    pub(super) fn converge(&mut self, ctx: &mut StepContext<'_>) {
        let Some(target) = self.orders.target().cloned() else { return };
        let digest = target.build.digest;
        if self.orders.rejects(&digest) {
            return;
        }
        if let Err(below) = ctx.trust.allows(&target.build) {
            return self.refuse_forbidden(&target, &below, ctx);
        }
        let proven_stable = target.kind == TargetKind::Stable && self.slots.is_proven(&digest);
        // A build that has proven itself needs no record to answer, and without an active build nothing else does.
        if !(ctx.writable || (proven_stable && self.active.is_none())) {
            return;
        }
        if self.is_active(&digest) {
            return self.adopt(&target, ctx);
        }
        if proven_stable {
            return self.make_active(Some(Active::since(ctx.now, digest)), ctx);
        }
        if !self.may_try(&target, ctx) {
            return;
        }
        let on_disk = self.slots.holds(&target.build);
        let Some(record) = self.attempts.at_mut(&target) else { return };
        let able =
            admission::check(&ctx.identity.labels, &ctx.identity.capabilities, &target.build, target.mode);
        if let Err(failure) = able {
            record.end(Phase::Incompatible, Some(failure), ctx.now);
            return ctx.changed();
        }
        let downloading = self.download.running() == Some(digest);
        if on_disk && record.attempt.phase < Phase::Downloaded && record.enter(Phase::Downloaded, ctx.now) {
            ctx.changed();
        }
        let not_noted = record.attempt.phase < Phase::Downloading;
        if downloading && not_noted && record.enter(Phase::Downloading, ctx.now) {
            ctx.changed();
        }
        if downloading {
            self.download.pause_if_not_allowed(&target, ctx);
        }
        let started = self.download.running() == Some(digest) || self.shadow.is(&digest);
        if started || !target.admit || ctx.now >= target.expires || !ctx.connected {
            return;
        }
        if !on_disk && self.slots.has_room(&self.slot_uses()) {
            self.start_download(&target, ctx);
        } else if on_disk && !self.on_probation() && ctx.may_load {
            self.load(&target, ctx);
        }
    }

    /// The build that is wanted is active already: it was promoted, or another attempt has the same build.
    fn adopt(&mut self, target: &Target, ctx: &mut StepContext<'_>) {
        let Some(active) = &mut self.active else { return };
        let (digest, before) = (active.digest, active.rollout.clone());
        if before == target.attempt {
            return;
        }
        active.rollout.clone_from(&target.attempt);
        let promoted = target.kind == TargetKind::Stable;
        if promoted {
            active.probation = None;
            active.crashes = 0;
        }
        let phase = match &active.probation {
            None => Phase::Confirmed,
            Some(_) if self.serving.current() == Some(digest) => Phase::Activated,
            Some(_) => Phase::Downloaded,
        };
        let rollout = if promoted { &before } else { &target.attempt };
        let (record, _) = self.attempts.find_or_begin(rollout, digest, ctx.now);
        record.enter(phase, ctx.now);
        if promoted {
            self.slots.set_proven(&digest, true);
        }
        ctx.changed();
    }

    /// Whether the attempt is open. Begins it if it is new, and again if its long pause is over.
    fn may_try(&mut self, target: &Target, ctx: &mut StepContext<'_>) -> bool {
        let (digest, now) = (target.build.digest, ctx.now);
        // What answered when the pause began may have been taken back since.
        let alone = target.kind == TargetKind::Stable && self.has_nothing_but(&digest);
        let pause_ms = if alone { ctx.limits.fetch_backoff_max_ms } else { ctx.limits.long_pause_ms };
        let (record, new) = self.attempts.find_or_begin(&target.attempt, digest, now);
        if new {
            ctx.changed();
        }
        if record.has_ended() {
            let Some(at) = record.retry_at else { return false };
            let at = not_later_than(now, at, pause_ms.saturating_mul(2));
            ctx.save_if(record.retry_at.replace(at) != Some(at));
            if at > now && !record.has_new_address(&target.build) {
                ctx.wake_at(at, WakeReason::LongPause);
                return false;
            }
            *record = AttemptRecord::begun(&target.attempt, digest, now);
            ctx.changed();
        } else if record.attempt.phase > Phase::Downloaded && !target.is_shadow() {
            // It has answered or run in shadow before, and then something else ran (a pin, lost bytes).
            record.enter(Phase::Offered, now);
            ctx.changed();
        }
        true
    }

    fn start_download(&mut self, target: &Target, ctx: &mut StepContext<'_>) {
        let Some((priority, _)) = self.download_priority() else { return };
        let Some(record) = self.attempts.at_mut(target) else { return };
        self.download.start(&self.name, target, record, priority, ctx);
    }

    /// Loads the build beside the one that answers, and activates it once it is loaded.
    fn load(&mut self, target: &Target, ctx: &mut StepContext<'_>) {
        let (digest, now) = (target.build.digest, ctx.now);
        if self.admission.requested().is_some() {
            return;
        }
        if self.admission.is_loaded(&digest) {
            return self.activate(target, ctx);
        }
        let Some(build) = self.slots.build(&digest) else { return };
        let Some(record) = self.attempts.at_mut(target) else { return };
        if let Some(at) = record.retry_at.map(|at| not_later_than(now, at, ctx.limits.fetch_backoff_max_ms))
            && at > now
        {
            return ctx.wake_at(at, WakeReason::ReadRetry);
        }
        if record.admissions >= ctx.limits.restarts_max {
            let detail = format!("the agent crashed {} times while loading it", record.admissions);
            record.end(Phase::Failed, Some(Failure::new(FailureCode::CrashLoop, detail)), now);
            self.retry_stable_later(&target.attempt, &digest, ctx);
            return ctx.changed();
        }
        record.retry_at = None; // The wait is over. If it were kept, an attempt that ends would begin again.
        record.admissions += 1;
        ctx.save();
        self.admission.request(digest);
        ctx.emit(Output::Admit { build });
    }

    fn activate(&mut self, target: &Target, ctx: &mut StepContext<'_>) {
        let Some((digest, engine)) = self.admission.take_loaded() else { return };
        self.slots.set_engine(&digest, engine);
        if target.is_shadow() {
            self.totals.reset();
            self.memory_suspect = Some((Role::Shadow, ctx.now));
            let build = self.slots.build(&digest).unwrap_or_else(|| target.build.clone());
            self.shadow.start(&self.name, build, ctx);
            // A build that was confirmed in shadow stays so when the agent starts again.
            let record = self.attempts.at_mut(target);
            if let Some(record) = record.filter(|record| record.attempt.phase != Phase::Confirmed) {
                record.enter(Phase::Activated, ctx.now);
            }
            return ctx.changed();
        }
        let probation = Some(ProbationProgress::under(target.probation_rules(ctx.limits)));
        let rollout = target.attempt.clone();
        self.make_active(Some(Active { rollout, probation, ..Active::since(ctx.now, digest) }), ctx);
    }

    /// Stops work for a build that is no longer wanted.
    pub(super) fn drop_stale_work(&mut self, ctx: &mut StepContext<'_>) {
        let orders = &self.orders;
        let target = orders.target().filter(|target| !orders.bars(&target.build.digest)).cloned();
        let wanted = |digest: &Digest| target.as_ref().is_some_and(|target| &target.build.digest == digest);
        self.download.pause_unless(wanted, ctx);
        if let Some(cancelled) = self.admission.drop_unwanted(&self.name, wanted, ctx) {
            self.attempts.with_build(cancelled).for_each(|record| record.load_survived());
        }
        let unchanged = orders.is_unchanged();
        let stays_in_shadow = |digest: &Digest| {
            let wanted_in_shadow = wanted(digest) && target.as_ref().is_some_and(|t| t.is_shadow());
            (unchanged && !orders.bars(digest)) || wanted_in_shadow
        };
        if let Some(digest) = self.shadow.build().filter(|digest| !stays_in_shadow(digest)) {
            self.shadow.stop(&self.name, ctx);
            for record in self.attempts.with_build(digest) {
                if wanted(&digest) {
                    record.enter(Phase::Downloaded, ctx.now); // It goes live.
                } else if matches!(record.attempt.phase, Phase::Activated | Phase::Confirmed) {
                    record.end(Phase::RolledBack, None, ctx.now);
                }
            }
            ctx.changed();
        }
        self.forget_dropped_attempts(ctx);
        self.drop_partial_downloads(ctx);
    }

    /// Attempts that the plan dropped before they came to an end are forgotten.
    fn forget_dropped_attempts(&mut self, ctx: &mut StepContext<'_>) {
        let (orders, slots) = (&self.orders, &self.slots);
        let (active, shadow) = (self.active.as_ref().map(|active| active.digest), self.shadow.build());
        let keep = |record: &AttemptRecord| {
            let (rollout, digest) = (&record.attempt.rollout, &record.attempt.digest);
            let is_target = orders.target_of(digest).is_some_and(|target| &target.attempt == rollout);
            // A build that was confirmed in shadow only has not answered, and does not count as proven.
            let shadow_only = slots.get(digest).is_some_and(|slot| !slot.proven && !slot.stable);
            let confirmed = record.attempt.phase == Phase::Confirmed && !shadow_only;
            record.has_ended() || confirmed || is_target || [active, shadow].contains(&Some(*digest))
        };
        if self.attempts.forget_unless(keep) {
            ctx.changed();
        }
    }

    /// Deletes partial downloads whose attempts have ended.
    pub(super) fn drop_partial_downloads(&mut self, ctx: &mut StepContext<'_>) {
        let (orders, attempts, slots) = (&self.orders, &self.attempts, &self.slots);
        let needed = |digest: &Digest| {
            let open =
                |record: &AttemptRecord| record.is_open() && !record.failed_with(FailureCode::DiskFull);
            orders.target_of(digest).is_some_and(|target| attempts.at(target).is_none_or(open))
        };
        // To drop a download deletes its bytes, and a slot may hold these: then only the details file was missing.
        let keep = |digest: &Digest| {
            slots.contains(digest) || (!orders.bars(digest) && (orders.is_unchanged() || needed(digest)))
        };
        self.download.drop_partial(keep, ctx);
    }

    /// Deletes builds that are not needed. Two builds stay.
    pub(super) fn delete_surplus(&mut self, ctx: &mut StepContext<'_>) {
        if !ctx.writable {
            return;
        }
        for digest in self.slots.surplus(&self.slot_uses()) {
            self.slots.remove(&digest);
            self.admission.unload(&self.name, &digest, ctx);
            ctx.emit(Output::Delete { digest });
            ctx.changed();
        }
    }

    /// Notes what keeps an attempt from making progress, in the state and in the log.
    pub(super) fn note_waits(&mut self, ctx: &mut StepContext<'_>) {
        let target = self.target_waits(ctx);
        if target.is_some() {
            ctx.wake_at(ctx.now.after_ms(LOOK_AGAIN_MS), WakeReason::Obstacle);
        }
        let waits: Vec<Wait> = [target, self.active_waits()].into_iter().flatten().collect();
        self.attempts.note_waits(&self.name, &waits, ctx);
    }

    /// What keeps the build that is wanted from being started.
    fn target_waits(&self, ctx: &StepContext<'_>) -> Option<Wait> {
        let target = self.orders.target()?;
        let digest = target.build.digest;
        let ended = self.attempts.at(target).is_none_or(AttemptRecord::has_ended);
        let under_way = [self.download.running(), self.admission.requested(), self.shadow.build()]
            .contains(&Some(digest));
        if ended || under_way || self.is_active(&digest) {
            return None;
        }
        let on_disk = self.slots.holds(&target.build);
        let obstacle = if !ctx.writable {
            Obstacle::DiskReadOnly
        } else if ctx.now >= target.expires {
            if ctx.trust.has_expired(ctx.now) { Obstacle::TrustExpired } else { Obstacle::PlanExpired }
        } else if self.on_probation() && (on_disk || !self.slots.has_room(&self.slot_uses())) {
            Obstacle::OtherProbation
        } else if on_disk && !ctx.may_load {
            Obstacle::Crashes
        } else {
            return None;
        };
        Some(Wait { rollout: target.attempt.clone(), digest, obstacle })
    }

    /// What keeps the build that answers from being confirmed.
    fn active_waits(&self) -> Option<Wait> {
        let active = self.active.as_ref()?;
        let waits = active.probation.as_ref().is_some_and(|probation| probation.outlasted);
        let (rollout, digest) = (active.rollout.clone(), active.digest);
        waits.then_some(Wait { rollout, digest, obstacle: Obstacle::FewRequests })
    }
}
