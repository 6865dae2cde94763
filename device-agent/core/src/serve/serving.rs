//! Which build answers: the shell is asked to switch until it answers with the build that it should.

use modelfleet_protocol::ids::{Digest, ModelName};
use modelfleet_protocol::time::Time;

use crate::agent::context::StepContext;
use crate::download::schedule::not_later_than;
use crate::install::slots::SlotTable;
use crate::interface::{Output, WakeReason};
use crate::saved::{Active, Slot};

/// Which build of one model answers, and the switch to another one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Serving {
    /// The build that answers, as the shell reports it.
    current: Option<Digest>,
    /// The shell still holds a build whose process has ended, and fails with it.
    holds_ended: bool,
    /// The switch that was requested and has not ended; `Some(None)`: to no build.
    switching: Option<Option<Digest>>,
    /// Failed switches to the active build, in a row.
    failed_switches: u32,
    retry_at: Option<Time>,
    /// The active build in the record with which the process started.
    recorded: Option<Digest>,
    /// Switches that were begun after several crashes in a row, and that did not end before the process did.
    unfinished_loads: u32,
}

impl Serving {
    pub fn restored(recorded: Option<Digest>, unfinished_loads: u32) -> Serving {
        Serving { recorded, unfinished_loads, ..Serving::default() }
    }

    /// The build that answers, as the shell reports it.
    pub fn current(&self) -> Option<Digest> {
        self.current
    }

    /// The switch that was requested and has not ended.
    pub fn switching(&self) -> Option<Option<Digest>> {
        self.switching
    }

    pub fn unfinished_loads(&self) -> u32 {
        self.unfinished_loads
    }

    /// Whether the build answers, or the shell is switching to it.
    pub fn answers_with(&self, digest: &Digest) -> bool {
        self.current.as_ref() == Some(digest) || self.switching == Some(Some(*digest))
    }

    /// The build that should answer now. After several crashes in a row, candidates wait until the device has reached the
    /// broker. A stable build that has proven itself does not wait, unless the process has crashed again and again while
    /// loading it.
    pub fn choose(
        &self,
        active: Option<&Active>,
        way_back: Option<&Slot>,
        slots: &SlotTable,
        ctx: &StepContext<'_>,
    ) -> Option<Digest> {
        if ctx.may_load {
            let digest = active?.digest;
            return Some(if ctx.writable { digest } else { self.without_record(active?, way_back) });
        }
        let loads = self.unfinished_loads < ctx.limits.stable_loads_max;
        let trusted = |slot: &&Slot| slot.stable && slot.proven && loads;
        let first = active.and_then(|active| slots.get(&active.digest)).filter(trusted);
        first.or_else(|| way_back.filter(trusted)).map(|slot| slot.build.digest)
    }

    /// The build that should answer while the record cannot be written. The end of a probation could not be remembered,
    /// so a build on probation does not start, unless it answers already or there is no other.
    fn without_record(&self, active: &Active, way_back: Option<&Slot>) -> Digest {
        let stays = self.current == Some(active.digest) || !active.is_on_probation();
        way_back.filter(|_| !stays).map_or(active.digest, |slot| slot.build.digest)
    }

    /// Asks the shell to make the build answer, unless it does or the switch is under way.
    pub fn switch_to(
        &mut self,
        model: &ModelName,
        want: Option<Digest>,
        slots: &SlotTable,
        ctx: &mut StepContext<'_>,
    ) {
        let must_let_go = self.holds_ended && self.switching.is_none();
        if self.switching.unwrap_or(self.current) == want && !must_let_go {
            return;
        }
        if let Some(at) = self.retry_at {
            let at = not_later_than(ctx.now, at, ctx.limits.switch_retry_ms);
            if at > ctx.now {
                self.retry_at = Some(at);
                return ctx.wake_at(at, WakeReason::SwitchRetry);
            }
        }
        // A build that has proven itself needs no record, and neither does the one that the record named when the process
        // started: a restart would switch to it again.
        let safe = want.is_none_or(|digest| self.recorded == Some(digest) || slots.is_proven(&digest));
        if !(ctx.writable || safe) {
            return;
        }
        let build = want.and_then(|digest| slots.build(&digest));
        if want.is_some() && build.is_none() {
            return; // The slot was lost in this very step, and another build is active by now.
        }
        if want.is_some() && !ctx.may_load && ctx.writable {
            self.unfinished_loads = self.unfinished_loads.saturating_add(1);
            ctx.save();
        }
        self.switching = Some(want);
        ctx.emit(Output::Switch { model: model.clone(), build });
    }

    /// Asks for the switch again, because no reply came.
    pub fn repeat_switch(
        &mut self,
        model: &ModelName,
        want: Option<Digest>,
        slots: &SlotTable,
        ctx: &mut StepContext<'_>,
    ) {
        let build = want.and_then(|want| slots.build(&want));
        self.switching = Some(build.as_ref().map(|build| build.digest));
        ctx.emit(Output::Switch { model: model.clone(), build });
    }

    /// The shell answers with this build. Returns whether that is another one than before.
    pub fn switched(&mut self, digest: Option<Digest>, ctx: &mut StepContext<'_>) -> bool {
        ctx.save_if(std::mem::take(&mut self.unfinished_loads) > 0);
        self.holds_ended = false;
        let changed = self.current != digest;
        self.current = digest;
        changed
    }

    /// The process that ran the build has ended. Returns whether it was the one that answered.
    pub fn engine_ended(&mut self, digest: &Digest) -> bool {
        let answered = self.current.take_if(|current| current == digest).is_some();
        self.holds_ended |= answered;
        answered
    }

    /// The switch has ended, well or not. Returns whether it was requested.
    pub fn switch_ended(&mut self, digest: Option<Digest>) -> bool {
        self.switching.take_if(|switching| *switching == digest).is_some()
    }

    /// A switch to the active build failed. Returns whether it is tried again, after a wait.
    pub fn retry_switch(&mut self, ctx: &StepContext<'_>) -> bool {
        self.failed_switches = self.failed_switches.saturating_add(1);
        let again = self.failed_switches < ctx.limits.switch_tries_max;
        if again {
            self.wait_before_switch(ctx);
        }
        again
    }

    pub fn wait_before_switch(&mut self, ctx: &StepContext<'_>) {
        self.retry_at = Some(ctx.now.after_ms(ctx.limits.switch_retry_ms));
    }

    /// The active build answers, or another one is active: failures of switches do not count any more.
    pub fn forget_failures(&mut self) {
        self.failed_switches = 0;
        self.retry_at = None;
    }

    /// The last run of the process ended without a crash, so no load caused its end.
    pub fn forget_unfinished_loads(&mut self) {
        self.unfinished_loads = 0;
    }

    /// The last step's outputs were not carried out: the shell goes on with the switch before.
    pub fn undo_switch(&mut self, before: Option<Option<Digest>>) {
        self.switching = before;
    }
}
