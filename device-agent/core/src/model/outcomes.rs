//! What the shell did, or could not do.

use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::state::{Failure, FailureCode, Phase};

use super::ManagedModel;
use crate::agent::context::StepContext;
use crate::download::schedule::backoff_ms;
use crate::interface::{FetchedDetails, Input, Output, Retry, Role};

impl ManagedModel {
    /// Takes over what the shell reports.
    pub fn apply_outcome(&mut self, input: &Input, ctx: &mut StepContext<'_>) {
        match input {
            Input::FetchProgress { digest, bytes } => self.download_progress(digest, *bytes, ctx),
            Input::FetchFailed { digest, failure, retry } => {
                self.download_failed(digest, failure.clone(), *retry, ctx);
            }
            Input::RoomOnDisk => self.attempts.iter_mut().for_each(|record| record.disk_has_room(ctx)),
            Input::Refused { digest, failure, .. } => self.load_refused(digest, failure.clone(), ctx),
            Input::Unreadable { digest, failure, .. } => self.load_unreadable(digest, failure.clone(), ctx),
            Input::Shadowing { digest, .. } => self.shadow.started(digest),
            Input::SlotLost { digest } => self.slot_lost(digest, ctx),
            Input::Switched { digest, engine, .. } => self.switched(*digest, engine, ctx),
            Input::SwitchFailed { digest, failure, .. } => self.switch_failed(digest, failure.clone(), ctx),
            Input::EngineEnded { digest, detail, .. } => self.engine_ended(digest, detail, ctx),
            Input::WindowClosed { digest, window_ms, window, .. } => {
                self.window_closed(*digest, *window_ms, window, ctx);
            }
            Input::TruthArrived { digest, window_ms, index, counters, .. } => {
                self.truth_arrived(*digest, *window_ms, *index, counters, ctx);
            }
            Input::Health { digest, answered, errors, .. } => self.health(digest, *answered, *errors, ctx),
            _ => {} // The others concern the device as a whole.
        }
    }

    /// Counts bytes. The state reports them once in every quarter.
    fn download_progress(&mut self, digest: &Digest, bytes: u64, ctx: &mut StepContext<'_>) {
        if self.download.running().as_ref() != Some(digest) {
            return;
        }
        let Some(target) = self.orders.target() else { return };
        let size_bytes = target.build.size_bytes;
        let quarter = |bytes: u64| bytes.saturating_mul(4) / size_bytes.max(1);
        if let Some(record) = self.attempts.find_mut(&target.attempt, digest) {
            let bytes = bytes.min(size_bytes);
            ctx.publish_if(quarter(bytes) != quarter(record.attempt.fetched_bytes));
            if bytes != record.attempt.fetched_bytes {
                self.replies.download_progressed();
            }
            record.attempt.fetched_bytes = bytes;
        }
    }

    /// All bytes are on disk. Returns false if they are not needed here.
    pub fn download_finished(
        &mut self,
        digest: &Digest,
        details: Option<&FetchedDetails>,
        ctx: &mut StepContext<'_>,
    ) -> bool {
        if !self.download.finished(digest, ctx) {
            return self.slots.contains(digest);
        }
        let Some(target) = self.orders.target_of(digest).cloned() else {
            return self.orders.is_unchanged();
        };
        // A plan that came meanwhile may name another details file: the download goes on with that one.
        let Some(build) = target.build.completed_by(details) else { return true };
        self.download.completed(digest);
        if self.slots.contains(digest) {
            self.admission.unload(&self.name, digest, ctx); // It was tested by another details file.
        }
        self.slots.add(build, self.orders.stable() == Some(*digest));
        if let Some(record) = self.attempts.at_mut(&target) {
            record.enter(Phase::Downloaded, ctx.now);
            record.attempt.fetched_bytes = target.build.size_bytes;
            record.retry_at = None;
        }
        ctx.changed();
        true
    }

    pub(super) fn download_failed(
        &mut self,
        digest: &Digest,
        failure: Failure,
        retry: Retry,
        ctx: &mut StepContext<'_>,
    ) {
        if !self.download.ended(digest, ctx) {
            return;
        }
        let Some(target) = self.orders.target_of(digest).cloned() else { return };
        let Some(record) = self.attempts.at_mut(&target) else { return };
        let waits = record.download_failed(failure, retry, ctx);
        // Where nothing else can run, a day is too long.
        if !waits || (record.has_ended() && self.has_nothing_but(digest)) {
            self.retry_stable_later(&target.attempt, digest, ctx);
        }
    }

    /// The build is loaded. Returns false if its load was not requested here.
    pub fn loaded(
        &mut self,
        digest: &Digest,
        engine: &str,
        memory_bytes: u64,
        ctx: &mut StepContext<'_>,
    ) -> bool {
        if self.admission.requested().as_ref() != Some(digest) {
            return self.admission.is_loaded(digest); // A repeated reply changes nothing.
        }
        let allowed = ctx.identity.capabilities.memory_bytes;
        if allowed > 0 && memory_bytes > allowed {
            let detail = format!("the build uses {memory_bytes} bytes of memory, {allowed} are allowed");
            ctx.emit(Output::Unload { model: self.name.clone(), digest: *digest });
            self.load_refused(digest, Failure::new(FailureCode::MemoryShort, detail), ctx);
            return true;
        }
        self.admission.succeeded(*digest, engine.to_owned());
        if !self.orders.target().is_some_and(|target| target.is_shadow()) {
            for record in self.attempts.with_build(*digest) {
                record.admissions = 0;
                ctx.save();
            }
        }
        true
    }

    fn load_refused(&mut self, digest: &Digest, failure: Failure, ctx: &mut StepContext<'_>) {
        if self.shadow.is(digest) {
            return self.end_shadow(failure, ctx);
        }
        if !self.admission.ended(digest) {
            return;
        }
        let Some(target) = self.orders.target_of(digest).cloned() else { return };
        let Some(record) = self.attempts.at_mut(&target) else { return };
        let incompatible = failure.code.is_incompatibility();
        record.end(if incompatible { Phase::Incompatible } else { Phase::Failed }, Some(failure), ctx.now);
        if !incompatible {
            self.retry_stable_later(&target.attempt, digest, ctx);
        }
        ctx.changed();
    }

    /// The bytes are on disk and cannot be read. The load is tried again after growing waits. Then the attempt fails as
    /// trouble of the device, not of the build, and is tried again after a long pause.
    pub(super) fn load_unreadable(&mut self, digest: &Digest, failure: Failure, ctx: &mut StepContext<'_>) {
        if self.shadow.is(digest) {
            return self.end_shadow(failure, ctx);
        }
        if !self.admission.ended(digest) {
            return;
        }
        let Some(target) = self.orders.target_of(digest) else { return };
        let Some(record) = self.attempts.at_mut(target) else { return };
        record.load_survived();
        record.reads = record.reads.saturating_add(1);
        ctx.save();
        let wait_ms = if record.reads < ctx.limits.read_tries_max {
            backoff_ms(ctx, digest, record.reads)
        } else {
            record.end(Phase::Failed, Some(failure), ctx.now);
            ctx.changed();
            let pause_ms = ctx.limits.long_pause_ms;
            pause_ms.saturating_add(ctx.jitter("long pause", pause_ms / 4))
        };
        record.retry_at = Some(ctx.now.after_ms(wait_ms));
    }

    /// The disk lost the bytes while they were being loaded. The first time they are downloaded again at once, then after
    /// growing waits. In the end the attempt fails as trouble of the device.
    fn lost_while_loading(&mut self, digest: &Digest, ctx: &StepContext<'_>) {
        let Some(target) = self.orders.target_of(digest) else { return };
        let Some(record) = self.attempts.at_mut(target) else { return };
        record.load_survived();
        record.reads = record.reads.saturating_add(1);
        let mut wait_ms = backoff_ms(ctx, digest, record.reads);
        if record.reads >= ctx.limits.read_tries_max {
            let detail = format!("the disk lost or changed the bytes {} times; check the disk", record.reads);
            record.end(Phase::Failed, Some(Failure::new(FailureCode::DiskUnreadable, detail)), ctx.now);
            wait_ms = ctx.limits.long_pause_ms;
        }
        record.retry_at = (record.reads > 1).then(|| ctx.now.after_ms(wait_ms));
    }

    /// The bytes of a build are lost. If the build is needed, it is downloaded again.
    fn slot_lost(&mut self, digest: &Digest, ctx: &mut StepContext<'_>) {
        // This may be the reply to the load of a build that is not wanted any more.
        let loading = self.admission.ended(digest);
        if !self.slots.remove(digest) {
            return;
        }
        ctx.changed();
        if loading {
            self.lost_while_loading(digest, ctx);
        }
        self.admission.unload(&self.name, digest, ctx);
        if self.shadow.is(digest) {
            self.shadow.stop(&self.name, ctx);
        }
        if self.is_active(digest) {
            self.go_back(ctx);
        }
    }

    /// The shell answers with this build.
    fn switched(&mut self, digest: Option<Digest>, engine: &str, ctx: &mut StepContext<'_>) {
        self.switch_ended(digest);
        if self.serving.switched(digest, ctx) {
            ctx.publish();
            if digest.is_some_and(|digest| self.is_active(&digest)) && self.on_probation() {
                self.memory_suspect = Some((Role::Live, ctx.now));
            } else {
                self.memory_suspect.take_if(|(role, _)| *role == Role::Live);
            }
        }
        let Some(active) = self.active.as_mut().filter(|active| Some(active.digest) == digest) else {
            return;
        };
        self.serving.forget_failures();
        if active.is_on_probation() {
            let (record, _) = self.attempts.find_or_begin(&active.rollout, active.digest, ctx.now);
            if record.attempt.phase < Phase::Activated {
                record.enter(Phase::Activated, ctx.now);
                active.activated = ctx.now;
                ctx.changed();
            }
        }
        if self.slots.started(&active.digest, active.activated, engine.to_owned()) {
            ctx.changed();
        }
    }

    /// The switch to a build failed. A build that has not proven itself is given up. One that has run here before is tried
    /// some more times, then its bytes count as damaged.
    fn switch_failed(&mut self, digest: &Digest, failure: Failure, ctx: &mut StepContext<'_>) {
        if !self.switch_ended(Some(*digest)) {
            return;
        }
        if !self.is_active(digest) {
            if !ctx.writable {
                self.serving.wait_before_switch(ctx);
            }
            return;
        }
        if self.on_probation() || !self.slots.is_proven(digest) {
            return self.revert(failure, ctx);
        }
        if self.serving.retry_switch(ctx) {
            return;
        }
        let Failure { code, detail } = failure;
        ctx.log(format!(
            "{} {digest}: cannot be loaded any more, downloading it again: {code:?}: {detail}",
            self.name
        ));
        ctx.emit(Output::Delete { digest: *digest });
        self.slot_lost(digest, ctx);
    }

    /// The switch has ended, well or not. Returns whether it was requested.
    fn switch_ended(&mut self, digest: Option<Digest>) -> bool {
        self.requests_before.switch.take_if(|switch| *switch == digest);
        self.serving.switch_ended(digest)
    }

    fn health(&mut self, digest: &Digest, answered: u64, errors: u64, ctx: &mut StepContext<'_>) {
        if (self.on_probation() && self.is_active(digest)) || self.shadow.is(digest) {
            self.totals.update(answered, errors);
        }
        let in_all = self.totals.answered_in_all();
        let active = self.active.as_mut().filter(|active| &active.digest == digest);
        if let Some(probation) = active.and_then(|active| active.probation.as_mut()) {
            // A build that gets few requests does not start from zero after every restart.
            ctx.save_if(probation.outlasted && probation.answered != in_all);
            probation.answered = in_all;
        }
    }
}
