//! One model on this device. It brings together the parts that own its state, and holds the order in which they settle.
//!
//! Inputs only change what is known. [`ManagedModel::settle`] then compares what is wanted with what is, and asks the shell
//! for the difference. So a restart, a repeated input or a lost reply leads to the same result.

mod converge;
mod outcomes;
mod persistence;
mod proving;
mod replies;
mod reporting;
mod trust;

use std::sync::Arc;

use modelfleet_protocol::envelope::Signed;
use modelfleet_protocol::ids::{Digest, ModelName};
use modelfleet_protocol::overrides::ModelOverride;
use modelfleet_protocol::plan::{Order, Plan};
use modelfleet_protocol::state::{ModelState, Running};
use modelfleet_protocol::time::Time;

use crate::agent::context::StepContext;
use crate::download::Download;
use crate::download::turns::Priority;
use crate::install::admission::Admission;
use crate::install::attempts::AttemptLog;
use crate::install::slots::{SlotTable, SlotUses};
use crate::interface::{Identity, Limits, Role};
use crate::observe::windows::ObservedWindows;
use crate::persist::sequence::Sequence;
use crate::persist::unsaved_windows::UnsavedWindows;
use crate::plan::desired::TargetKind;
use crate::plan::orders::Orders;
use crate::report::schedule::ReportSchedule;
use crate::saved::{Active, SeenOrders, Slot};
use crate::serve::engine_ends::EngineEnds;
use crate::serve::probation::ProvingTotals;
use crate::serve::serving::Serving;
use crate::serve::shadow::ShadowRun;
use crate::trust::TrustRules;
use replies::{ReplyDeadlines, Requests};

/// One model on this device.
#[derive(Clone, Debug)]
pub(crate) struct ManagedModel {
    name: ModelName,
    orders: Orders,
    slots: SlotTable,
    /// The build that should answer.
    active: Option<Active>,
    attempts: AttemptLog,
    download: Download,
    admission: Admission,
    serving: Serving,
    shadow: ShadowRun,
    totals: ProvingTotals,
    /// Ends of the process that runs the active build.
    engine_ends: EngineEnds,
    replies: ReplyDeadlines,
    /// The requests before this step.
    requests_before: Requests,
    /// The build that started since the process last used less memory than allowed: how it runs, and since when.
    memory_suspect: Option<(Role, Time)>,
    windows: ObservedWindows,
    unsaved: UnsavedWindows,
    schedule: ReportSchedule,
    report_sequence: Sequence,
    /// How often the device went back by itself.
    reverts: u64,
}

impl ManagedModel {
    pub fn name(&self) -> &ModelName {
        &self.name
    }

    /// The newest plans that were accepted.
    pub fn seen_plans(&self) -> &SeenOrders {
        self.orders.seen()
    }

    pub fn slots(&self) -> &SlotTable {
        &self.slots
    }

    pub fn serving(&self) -> &Serving {
        &self.serving
    }

    pub fn download(&self) -> &Download {
        &self.download
    }

    pub fn download_mut(&mut self) -> &mut Download {
        &mut self.download
    }

    pub fn report_sequence(&mut self) -> &mut Sequence {
        &mut self.report_sequence
    }

    /// When an attempt last changed.
    pub fn last_attempt_change(&self) -> Option<Time> {
        self.attempts.last_change()
    }

    /// Whether nothing is on disk, nothing runs, and nothing is wanted.
    pub fn is_idle(&self) -> bool {
        let wanted = self.orders.target().is_some() || self.orders.directive().is_some();
        let on_disk = !self.slots.is_empty() || self.download.partial().next().is_some();
        !wanted && !on_disk && self.active.is_none() && self.serving.current().is_none()
    }

    /// Priority of the download of the target, and its bytes on disk.
    pub fn download_priority(&self) -> Option<(Priority, u64)> {
        let target = self.orders.target()?;
        let bytes = self.attempts.at(target).map_or(0, |record| record.attempt.fetched_bytes);
        let nothing_answers = self.serving.current().is_none();
        Some((self.download.priority(target, bytes, nothing_answers), bytes))
    }

    /// What the device's state says of this model.
    pub fn state(&self) -> ModelState {
        let running = self.serving.current().and_then(|digest| {
            let slot = self.slots.get(&digest)?;
            Some(Running {
                digest,
                version: slot.build.version.clone(),
                activated: slot.activated,
                confirmed: !(self.is_active(&digest) && self.on_probation()),
                engine: slot.engine.clone(),
            })
        });
        let target = self.orders.target().filter(|target| target.kind != TargetKind::Stable);
        ModelState {
            model: self.name.clone(),
            plan: self.orders.seen().newest,
            running,
            spare: self.way_back().map(|slot| slot.build.digest),
            candidate: self.attempts.shown(target.map(Arc::as_ref)),
            reverts: self.reverts,
        }
    }

    /// Takes over a plan that was accepted.
    pub fn take_plan(&mut self, plan: Signed<Arc<Plan>>, ctx: &mut StepContext<'_>) {
        self.slots.describe_from(&plan.what);
        self.orders.take_plan(plan, ctx.trust);
        ctx.save();
        self.retarget(ctx);
    }

    /// Whether an override says what runs, and not the plan.
    pub fn is_directed(&self) -> bool {
        self.orders.directive().is_some()
    }

    /// Takes over what an override says of this model; `None`: the plan applies again.
    pub fn take_override(&mut self, named: Option<&ModelOverride>, order: &Order, ctx: &mut StepContext<'_>) {
        if self.orders.take_override(&self.name, named, order) {
            ctx.changed();
            self.retarget(ctx);
        }
    }

    fn retarget(&mut self, ctx: &StepContext<'_>) {
        self.choose_target(ctx.identity, ctx.limits, ctx.trust);
        if let Some(stable) = self.orders.stable() {
            self.slots.mark_stable(&stable);
        }
        self.update_evidence_basis(ctx);
    }

    /// Works out again what plan and override want on this device.
    fn choose_target(&mut self, identity: &Identity, limits: &Limits, trust: &TrustRules) {
        self.orders.forbid(self.slots.builds(), trust);
        self.orders.find_stable(identity);
        self.orders.choose(identity, limits, trust, self.needs_stable_first());
    }

    /// Whether no build answers here that a candidate could be tried beside. A device that is new, or that has left its
    /// only build, runs the stable build first, so that a candidate that cannot be installed costs no answers. If the
    /// stable build has failed as well, the candidate is tried.
    fn needs_stable_first(&self) -> bool {
        let installable = |digest: Digest| !self.attempts.stable_has_ended(&digest);
        self.active.is_none() && self.orders.stable().is_some_and(installable)
    }

    /// Time has passed for the build on probation, and for one in shadow.
    pub fn elapse(&mut self, ctx: &mut StepContext<'_>) {
        self.replies.elapse(ctx.passed_ms);
        let active = self.active.as_ref().map(|active| active.digest);
        let active_answers = active.is_some() && self.serving.current() == active;
        if self.shadow.is_running() || active_answers {
            self.totals.elapse(ctx.passed_ms);
        }
        self.shadow.elapse(ctx.passed_ms, ctx.limits);
        if active_answers {
            self.engine_ends.elapse(ctx.passed_ms, ctx.limits);
        }
        // The wait for a switch is not held against the build; it has a deadline of its own.
        let probation = self.active.as_mut().and_then(|active| active.probation.as_mut());
        if let Some(probation) = probation.filter(|_| active_answers) {
            ctx.save_if(probation.elapse(ctx.passed_ms));
        }
    }

    /// Compares what is wanted with what is, and asks the shell for the difference.
    pub fn settle(&mut self, ctx: &mut StepContext<'_>) {
        self.leave_unwanted(ctx);
        self.prove(ctx);
        self.repeat_overdue_requests(ctx);
        if !self.orders.chose_with(self.needs_stable_first()) {
            self.choose_target(ctx.identity, ctx.limits, ctx.trust);
        }
        self.serve(ctx); // Going back comes before anything else.
        self.drop_stale_work(ctx);
        self.converge(ctx);
        self.drop_partial_downloads(ctx);
        self.serve(ctx);
        self.delete_surplus(ctx);
        self.record(ctx);
        self.report(ctx);
        self.note_waits(ctx);
        self.await_replies(ctx);
    }

    /// Asks the shell to make the right build answer.
    fn serve(&mut self, ctx: &mut StepContext<'_>) {
        let want = self.serving.choose(self.active.as_ref(), self.way_back(), &self.slots, ctx);
        self.serving.switch_to(&self.name, want, &self.slots, ctx);
    }

    /// Remembers the requests before this step, in case its record cannot be written.
    pub fn remember_requests(&mut self) {
        self.requests_before = self.requests();
    }

    fn requests(&self) -> Requests {
        Requests {
            download: self.download.running(),
            load: self.admission.requested(),
            switch: self.serving.switching(),
            shadow: self.shadow.build(),
        }
    }

    /// The last step's record could not be written, so its requests were not carried out. They are made again once the
    /// record is written.
    pub fn undo_unsaved_requests(&mut self) {
        let before = self.requests_before;
        if let Some(digest) = self.admission.undo_request(before.load) {
            self.attempts.with_build(digest).for_each(|record| record.load_survived());
        }
        self.download.undo_start(before.download);
        self.shadow.undo_start(before.shadow);
        self.serving.undo_switch(before.switch);
    }

    fn is_active(&self, digest: &Digest) -> bool {
        self.active.as_ref().is_some_and(|active| &active.digest == digest)
    }

    fn on_probation(&self) -> bool {
        self.active.as_ref().is_some_and(Active::is_on_probation)
    }

    /// The build to go back to from the active one.
    fn way_back(&self) -> Option<&Slot> {
        let active = self.active.as_ref().map(|active| &active.digest);
        self.slots.way_back(active, &self.orders)
    }

    fn slot_uses(&self) -> SlotUses<'_> {
        let open = |target: &Arc<_>| self.attempts.at(target).is_none_or(|record| record.is_open());
        let target = self.orders.target().filter(|target| target.kind == TargetKind::Stable || open(target));
        SlotUses {
            active: self.active.as_ref().map(|active| active.digest),
            serving: self.serving.current(),
            switching: self.serving.switching().flatten(),
            shadow: self.shadow.build(),
            wanted: target.map(|target| target.build.digest),
            way_back: self.way_back().map(|slot| slot.build.digest),
            orders: &self.orders,
        }
    }
}
