//! The active build and the one in shadow prove themselves. A build that fails, or is not wanted any more, is left: the
//! device goes back to the last good build, which needs neither a download nor a connection.

use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::state::{Failure, FailureCode, Phase};
use modelfleet_protocol::time::Time;

use super::ManagedModel;
use crate::agent::context::StepContext;
use crate::agent::runs::Ending;
use crate::interface::{Role, WakeReason};
use crate::plan::desired::{Desired, TargetKind};
use crate::saved::{Active, AttemptRecord};
use crate::serve::engine_ends::EngineEnds;
use crate::serve::probation::{Finding, LOOK_MS, shortest_ms};

impl ManagedModel {
    /// A build that may not run never answers. A build that no plan has called stable answers only while it is wanted.
    pub(super) fn leave_unwanted(&mut self, ctx: &mut StepContext<'_>) {
        let Some(active) = &self.active else { return };
        let digest = active.digest;
        let wanted = self.is_wanted_live(&digest);
        let (barred, forbidden) = (self.orders.bars(&digest), self.orders.forbids(&digest));
        if wanted && !barred {
            return;
        }
        let rollout = active.rollout.clone();
        let pinned = self.orders.target().is_some_and(|target| target.kind == TargetKind::Pin);
        let reason = match (barred, forbidden) {
            (_, true) => "its version is below the security floor of the trust document",
            (true, false) => "the plan rejects it",
            (false, false) => "the plan does not want it any more",
        };
        ctx.log(format!("{} {digest}: going back, because {reason}", self.name));
        if forbidden {
            self.end_forbidden(&rollout, digest, ctx);
        } else if rollout.is_empty() || (pinned && !barred) {
            // No attempt has ended: a released pin, or a stable build that returns, starts again.
            self.attempts.forget(&rollout, &digest);
        } else {
            let (record, _) = self.attempts.find_or_begin(&rollout, digest, ctx.now);
            record.end(Phase::RolledBack, None, ctx.now);
        }
        self.go_back(ctx);
    }

    /// The active build has failed: its attempt ends, and the device goes back.
    pub(super) fn revert(&mut self, failure: Failure, ctx: &mut StepContext<'_>) {
        let Some(active) = &self.active else { return };
        let (digest, rollout) = (active.digest, active.rollout.clone());
        let Failure { code, detail } = &failure;
        ctx.log(format!("{} {digest}: going back: {code:?}: {detail}", self.name));
        self.reverts = self.reverts.saturating_add(1);
        self.slots.set_proven(&digest, false);
        let (record, _) = self.attempts.find_or_begin(&rollout, digest, ctx.now);
        let has_answered = matches!(record.attempt.phase, Phase::Activated | Phase::Confirmed);
        let phase = if has_answered { Phase::Reverted } else { Phase::Failed };
        record.end(phase, Some(failure), ctx.now);
        self.retry_stable_later(&rollout, &digest, ctx);
        self.go_back(ctx);
    }

    /// A stable build is wanted for good, so it is tried again after a long pause.
    pub(super) fn retry_stable_later(&mut self, rollout: &str, digest: &Digest, ctx: &StepContext<'_>) {
        if !rollout.is_empty() {
            return;
        }
        let alone = self.has_nothing_but(digest);
        if let Some(record) = self.attempts.find_mut(rollout, digest) {
            // If nothing else can run, the pause is that between two downloads.
            let limits = ctx.limits;
            let pause_ms = if alone { limits.fetch_backoff_max_ms } else { limits.long_pause_ms };
            let jitter_ms = ctx.jitter("long pause", pause_ms / 4);
            record.retry_at = Some(ctx.now.after_ms(pause_ms).after_ms(jitter_ms));
        }
    }

    /// Whether a build that may run is to answer: it is the one that is wanted, or a plan has called it stable.
    fn is_wanted_live(&self, digest: &Digest) -> bool {
        let stable = self.slots.is_stable(digest);
        match self.orders.desired() {
            Desired::Unchanged => true,
            Desired::Run(target) if target.build.digest == *digest => !target.is_shadow() || stable,
            Desired::Run(_) | Desired::Nothing => stable,
        }
    }

    /// Whether the device has no build that answers while this one does not: none has proven itself, or those that have were
    /// taken back.
    pub(super) fn has_nothing_but(&self, digest: &Digest) -> bool {
        self.active.is_none() || self.slots.has_no_other_proven(digest)
    }

    /// Makes the last good build active, if it would not be left at once; without one, none, and the fallback answers.
    pub(super) fn go_back(&mut self, ctx: &mut StepContext<'_>) {
        let last_good = self.way_back().map(|slot| slot.build.digest).filter(|d| self.is_wanted_live(d));
        self.make_active(last_good.map(|digest| Active::since(ctx.now, digest)), ctx);
    }

    pub(super) fn make_active(&mut self, active: Option<Active>, ctx: &mut StepContext<'_>) {
        self.active = active;
        self.totals.reset();
        self.engine_ends = EngineEnds::default();
        self.serving.forget_failures();
        ctx.changed();
    }

    /// Looks how the build on probation, and the one in shadow, are doing.
    pub(super) fn prove(&mut self, ctx: &mut StepContext<'_>) {
        self.prove_shadow(ctx);
        if let Some(left_ms) = self.engine_ends.forgotten_in_ms(ctx.limits) {
            ctx.wake_at(ctx.now.after_ms(left_ms), WakeReason::Steady);
        }
        let Some(active) = &self.active else { return };
        let Some(probation) = &active.probation else { return };
        let answers = self.serving.current() == Some(active.digest);
        let stable = self.slots.is_stable(&active.digest);
        let left_ms = probation.rules.timeout_ms.saturating_sub(probation.elapsed_ms).max(1);
        let shortest_ms = shortest_ms(&probation.rules, stable);
        let short_ms = shortest_ms.saturating_sub(self.totals.run_ms());
        let outlasted = probation.outlasted;
        match probation.finding(answers, shortest_ms, &self.totals) {
            Finding::Confirmed => self.confirm(ctx),
            Finding::Failed(failure) if failure.code != FailureCode::ProbationErrors && answers && stable => {
                // The device does not leave the fleet's stable build for lack of contact or requests.
                self.confirm(ctx);
            }
            Finding::Failed(failure) => self.revert(failure, ctx),
            Finding::NeedsRequests if stable => self.confirm(ctx),
            Finding::NeedsRequests => self.wait_for_requests(ctx),
            Finding::NeedsContact => {
                // A state is published for its acknowledgement. If windows are long, nothing else may be sent in time.
                if ctx.connected && self.totals.ask_for_contact() {
                    ctx.publish();
                }
                let look_ms = if outlasted { LOOK_MS } else { left_ms.min(LOOK_MS) };
                ctx.wake_at(ctx.now.after_ms(look_ms), WakeReason::Probation);
            }
            Finding::Open => {
                let look_ms = if answers && short_ms > 0 { short_ms } else { LOOK_MS };
                ctx.wake_at(ctx.now.after_ms(left_ms.min(look_ms)), WakeReason::Probation);
            }
        }
    }

    fn wait_for_requests(&mut self, ctx: &mut StepContext<'_>) {
        let probation = self.active.as_mut().and_then(|active| active.probation.as_mut());
        if let Some(probation) = probation.filter(|probation| !probation.outlasted) {
            probation.outlasted = true;
            ctx.changed();
        }
    }

    fn confirm(&mut self, ctx: &mut StepContext<'_>) {
        let Some(active) = &mut self.active else { return };
        active.probation = None;
        let (record, _) = self.attempts.find_or_begin(&active.rollout, active.digest, ctx.now);
        record.enter(Phase::Confirmed, ctx.now);
        self.slots.set_proven(&active.digest, true);
        ctx.changed();
    }

    /// A build in shadow is stopped after too many errors. It is confirmed once it has run long enough and has seen as many
    /// requests as a build on probation must answer. Requests may be rare: then it waits.
    fn prove_shadow(&mut self, ctx: &mut StepContext<'_>) {
        self.trust_shadow(ctx);
        if let Some(left_ms) = self.shadow.engine_ends_forgotten_in_ms(ctx.limits) {
            ctx.wake_at(ctx.now.after_ms(left_ms), WakeReason::Steady);
        }
        let Some(digest) = self.shadow.build() else { return };
        let Some(target) = self.orders.target_of(&digest).cloned() else { return };
        let (errors, max_errors) = (self.totals.errors(), target.probation.max_errors);
        if errors > max_errors {
            let detail = format!("{errors} errors in shadow, at most {max_errors} are allowed");
            return self.end_shadow(Failure::new(FailureCode::ProbationErrors, detail), ctx);
        }
        let rules = target.probation_rules(ctx.limits);
        let left_ms = shortest_ms(&rules, false).saturating_sub(self.totals.run_ms());
        let record = self.attempts.at_mut(&target);
        let Some(record) = record.filter(|record| record.attempt.phase == Phase::Activated) else { return };
        if left_ms > 0 {
            ctx.wake_at(ctx.now.after_ms(left_ms), WakeReason::Probation);
        } else if self.totals.answered() >= rules.min_predictions {
            record.enter(Phase::Confirmed, ctx.now);
            ctx.changed();
        }
    }

    /// A build that has run in shadow long enough does not crash the process: earlier crashes do not count any more.
    fn trust_shadow(&mut self, ctx: &mut StepContext<'_>) {
        let Some(digest) = self.shadow.build() else { return };
        let left_ms = ctx.limits.steady_ms.saturating_sub(self.totals.run_ms());
        for record in self.attempts.with_build(digest).filter(|record| record.admissions > 0) {
            if left_ms > 0 {
                ctx.wake_at(ctx.now.after_ms(left_ms), WakeReason::Steady);
            } else {
                record.admissions = 0;
                ctx.save();
            }
        }
    }

    pub(super) fn end_shadow(&mut self, failure: Failure, ctx: &mut StepContext<'_>) {
        let Some(digest) = self.shadow.stop(&self.name, ctx) else { return };
        if let Some(record) = self.attempts.newest_with_build_mut(&digest) {
            record.end(Phase::Failed, Some(failure), ctx.now);
        }
        ctx.changed();
    }

    /// The broker answered. For a build on probation that counts once it has run long enough.
    pub fn broker_heard(&mut self) {
        let Some(active) = self.active.as_mut() else { return };
        if self.serving.current() != Some(active.digest) {
            return;
        }
        let stable = self.slots.is_stable(&active.digest);
        if let Some(probation) = &mut active.probation {
            probation.heard |= self.totals.run_ms() >= shortest_ms(&probation.rules, stable);
        }
    }

    /// The connection was lost, so earlier answers of the broker do not count.
    pub fn connection_lost(&mut self) {
        self.totals.connection_lost();
        if let Some(probation) = self.active.as_mut().and_then(|active| active.probation.as_mut()) {
            probation.heard = false;
        }
    }

    /// Whether a build that no plan has called stable may have ended the process: it proves itself, or was being loaded.
    pub fn has_crash_suspect(&self) -> bool {
        let is_candidate = |digest: &Digest| !self.slots.is_stable(digest);
        let in_time =
            |active: &Active| active.probation.as_ref().is_some_and(|probation| !probation.outlasted);
        let proves =
            self.active.as_ref().is_some_and(|active| is_candidate(&active.digest) && in_time(active));
        let loads = |record: &AttemptRecord| {
            record.admissions > 0 && !record.has_ended() && is_candidate(&record.attempt.digest)
        };
        proves || self.attempts.iter().any(loads)
    }

    /// The process has started again. Returns whether the device goes back because of how the last run ended.
    /// `blames_stable`: a crash is held against a stable build that proves itself.
    pub fn process_restarted(
        &mut self,
        ending: Ending,
        blames_stable: bool,
        ctx: &mut StepContext<'_>,
    ) -> bool {
        self.attempts.forget_unless(|record| {
            !(record.attempt.rollout.is_empty() && record.attempt.phase == Phase::Incompatible)
        });
        self.connection_lost();
        let probation = self.active.as_ref().and_then(|active| active.probation.as_ref());
        self.totals.resume(probation.map_or(0, |probation| probation.answered));
        // A restart is a good moment to try again.
        self.attempts.iter_mut().for_each(|record| record.disk_has_room(ctx));
        if matches!(ending, Ending::Stopped | Ending::PowerLost) {
            self.serving.forget_unfinished_loads();
            // The load that was under way, or the build in shadow, did not end the process.
            for record in self.attempts.iter_mut().filter(|record| record.admissions > 0) {
                record.load_survived();
                ctx.save();
            }
        }
        let Some(active) = &mut self.active else { return false };
        let stable = self.slots.is_stable(&active.digest);
        let failure = match ending {
            Ending::First | Ending::Stopped => None,
            Ending::PowerLost => active.count_power_loss(ctx),
            Ending::Crashed if stable && !blames_stable => None,
            Ending::Crashed => active.count_crash(stable, ctx),
        };
        let Some(failure) = failure else { return false };
        self.revert(failure, ctx);
        true
    }

    /// The process that ran the build has ended. It is loaded again, unless it keeps ending: then the device goes back, from
    /// a stable build as well. What it goes back to answers at once; without a build before, the fallback does.
    pub(super) fn engine_ended(&mut self, digest: &Digest, detail: &str, ctx: &mut StepContext<'_>) {
        if self.shadow.is(digest) {
            let build = self.slots.build(digest);
            if let Some(failure) = self.shadow.engine_ended(&self.name, build, detail, ctx) {
                self.end_shadow(failure, ctx);
            }
        }
        if !self.serving.engine_ended(digest) {
            return;
        }
        ctx.log(format!("{} {digest}: does not answer: {detail}", self.name));
        let Some(active) = self.active.as_mut().filter(|active| &active.digest == digest) else { return };
        let in_time = active.probation.as_mut().filter(|probation| !probation.outlasted);
        let failure = match in_time {
            Some(probation) => {
                ctx.save();
                probation.count_engine_end(detail, ctx.limits)
            }
            None => self.engine_ends.count(detail, ctx.limits),
        };
        if let Some(failure) = failure {
            self.revert(failure, ctx);
        }
    }

    /// Whether crashes are held against the active build.
    pub fn has_crashed(&self) -> bool {
        self.active.as_ref().is_some_and(|active| active.crashes > 0)
    }

    /// The process has run long enough.
    pub fn forget_crashes(&mut self) {
        if let Some(active) = &mut self.active {
            active.crashes = 0;
        }
    }

    /// The build that started since the process last used less memory than allowed.
    pub fn memory_suspect(&self) -> Option<(Role, Time)> {
        self.memory_suspect
    }

    /// The process uses less memory than allowed.
    pub fn memory_is_fine(&mut self) {
        self.memory_suspect = None;
    }

    /// The process uses more memory than allowed: stops the build that started last.
    pub fn stop_memory_suspect(&mut self, failure: Failure, ctx: &mut StepContext<'_>) {
        match self.memory_suspect.take() {
            Some((Role::Shadow, _)) => self.end_shadow(failure, ctx),
            Some((Role::Live, _)) => self.revert(failure, ctx),
            None => {}
        }
    }
}
