//! What is recorded, counted and reported of this model.

use modelfleet_protocol::generated::Counters;
use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::window::WindowSummary;

use super::ManagedModel;
use crate::agent::context::StepContext;
use crate::interface::{Output, Role};
use crate::report::message::{self, Subject};
use crate::report::schedule::{ReportMode, Trigger};

impl ManagedModel {
    /// The build that reports are about: the candidate while it runs in shadow, else the build that answers.
    fn observed_build(&self) -> Option<Digest> {
        self.shadow.build().or(self.serving.current())
    }

    /// How often to report now.
    fn report_mode(&self) -> ReportMode {
        let Some(plan) = self.orders.plan() else { return ReportMode::Idle };
        let stable = self.observed_build().is_none_or(|build| Some(build) == self.orders.stable());
        let settled = plan.candidate.is_none() && stable && !self.on_probation();
        if settled { ReportMode::Idle } else { ReportMode::EveryWindow }
    }

    /// Tells the recorders what to record, if that has changed.
    pub(super) fn record(&mut self, ctx: &mut StepContext<'_>) {
        let window_ms = self.orders.plan().map_or(0, |plan| plan.observe.window_ms);
        let roles = [(Role::Live, self.serving.current()), (Role::Shadow, self.shadow.build())];
        for (role, digest) in roles {
            self.windows.record(&self.name, role, digest, window_ms, &self.slots, ctx);
        }
    }

    /// A recorder closed a window.
    pub(super) fn window_closed(
        &mut self,
        digest: Digest,
        window_ms: u64,
        window: &WindowSummary,
        ctx: &StepContext<'_>,
    ) {
        let Some(plan) = self.orders.plan().cloned() else { return };
        if self.windows.close_window(digest, window_ms, window, &plan.observe, &self.slots, ctx) {
            self.windows_changed(Trigger::Window, ctx);
            self.unsaved.closed(window_ms, ctx);
        }
    }

    /// Ground truth arrived for predictions of a window that was closed before.
    pub(super) fn truth_arrived(
        &mut self,
        digest: Digest,
        window_ms: u64,
        index: u64,
        counters: &Counters,
        ctx: &StepContext<'_>,
    ) {
        let Some(plan) = self.orders.plan().cloned() else { return };
        if self.windows.set_truth(digest, window_ms, index, counters, &plan.observe, &self.slots) {
            self.windows_changed(Trigger::Truth, ctx);
        }
    }

    /// The plan may have changed: works out again what counts as evidence, and by which indicators.
    pub fn update_evidence_basis(&mut self, ctx: &StepContext<'_>) {
        let Some(plan) = self.orders.plan().cloned() else { return };
        let rebased = self.windows.rebase(&plan.observe, &self.slots);
        let more_often = self.schedule.set_mode(self.report_mode());
        if (rebased || more_often) && !self.windows.is_empty() {
            self.windows_changed(Trigger::Plan, ctx);
        }
    }

    /// There is something to write, and to report.
    fn windows_changed(&mut self, trigger: Trigger, ctx: &StepContext<'_>) {
        let Some(plan) = self.orders.plan() else { return };
        self.unsaved.changed(ctx.now);
        self.schedule.plan_report(self.report_mode(), trigger, &plan.observe, ctx);
    }

    /// Publishes what is due, and writes it before: nothing is reported that could be forgotten.
    pub(super) fn report(&mut self, ctx: &mut StepContext<'_>) {
        self.windows.keep_only(&self.slots);
        self.unsaved.save_when_due(&self.name, ctx);
        let plan = self.orders.plan();
        let longest_ms = plan.map_or(0, |plan| self.report_mode().longest_ms(&plan.observe));
        if !self.schedule.take_due(longest_ms, ctx) {
            return;
        }
        if !ctx.writable && self.report_sequence.is_used_up() {
            return; // A restart would use the number again. The next window asks for a report again.
        }
        let report = self.report_subject().and_then(|subject| message::compose(subject, &self.windows, ctx));
        let Some(mut report) = report else { return };
        self.schedule.reported(ctx.now);
        let (sequence, write) = self.report_sequence.take();
        ctx.save_if(write);
        report.sequence = sequence;
        self.unsaved.save(&self.name, ctx);
        ctx.emit(Output::PublishReport { model: self.name.clone(), report: Box::new(report) });
    }

    fn report_subject(&self) -> Option<Subject<'_>> {
        let plan = self.orders.plan()?;
        let digest = self.observed_build()?;
        let slot = self.slots.get(&digest)?;
        let rollout = if self.shadow.is(&digest) {
            self.attempts.newest_with_build(&digest).map(|record| record.attempt.rollout.clone())
        } else {
            let active = self.active.as_ref().filter(|active| active.digest == digest && !slot.stable);
            active.map(|active| active.rollout.clone())
        };
        Some(Subject {
            model: &self.name,
            plan,
            seen: self.orders.seen().newest,
            slot,
            rollout,
            ran_before: self.slots.ran_before(&digest, self.orders.stable()),
            mode: self.report_mode(),
        })
    }

    /// Writes the windows that are not on disk yet.
    pub fn save_windows_if_unsaved(&mut self, ctx: &mut StepContext<'_>) {
        self.unsaved.save(&self.name, ctx);
    }
}
