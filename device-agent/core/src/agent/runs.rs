//! Runs of the process: how the last one ended, and what follows from it. Only a crash is held against a build; a clean
//! stop and a power loss are not.

use modelfleet_protocol::time::Time;

use super::context::StepContext;
use super::models::ModelTable;
use crate::interface::WakeReason;
use crate::saved::Run;

/// After the connect, the newest plans arrive within this time.
const PLANS_ARRIVE_MS: u64 = 5_000;

/// How a run of the process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// There was no run before.
    First,
    /// It was stopped cleanly.
    Stopped,
    /// The machine has booted since.
    PowerLost,
    /// It ended by itself, or was killed.
    Crashed,
}

/// This run of the process, and how many before it crashed in a row.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProcessRuns {
    run: Option<Run>,
    /// How long this run has lasted.
    up_ms: u64,
    /// No candidate is loaded before then.
    connect_first: Option<Time>,
}

impl ProcessRuns {
    pub fn after(run: Option<Run>) -> ProcessRuns {
        ProcessRuns { run, ..ProcessRuns::default() }
    }

    pub fn saved(&self) -> Option<Run> {
        self.run.clone()
    }

    /// A run begins. Returns how the last one ended.
    pub fn begin(&mut self, boot: Option<String>, ctx: &mut StepContext<'_>) -> Ending {
        let before = self.run.take();
        let ending = match &before {
            None => Ending::First,
            Some(run) if run.stopped => Ending::Stopped,
            Some(run) if run.boot.is_some() && boot.is_some() && run.boot != boot => Ending::PowerLost,
            Some(_) => Ending::Crashed,
        };
        let crashes = before.map_or(0, |run| run.crashes);
        let crashes = crashes.saturating_add(u32::from(ending == Ending::Crashed));
        self.run = Some(Run { boot, stopped: false, crashes });
        self.up_ms = 0;
        self.connect_first =
            (crashes > ctx.limits.restarts_max).then(|| ctx.now.after_ms(ctx.limits.connect_first_ms));
        if self.connect_first.is_some() {
            ctx.log(format!(
                "the agent crashed {crashes} times in a row: the stable build answers, and candidates are loaded only \
                 after the device has reached the broker"
            ));
        }
        // Without this write, a crash that follows would look like the end before.
        ctx.save_if(ending != Ending::First);
        ending
    }

    /// The build that caused the crashes is not loaded any more.
    pub fn crash_cause_removed(&mut self) {
        self.connect_first = None;
        if let Some(run) = &mut self.run {
            run.crashes = 0;
        }
    }

    pub fn stop(&mut self, ctx: &mut StepContext<'_>) {
        let run = self.run.get_or_insert_default();
        run.stopped = true;
        ctx.save();
    }

    pub fn connected(&mut self, now: Time) {
        if let Some(until) = &mut self.connect_first {
            *until = (*until).min(now.after_ms(PLANS_ARRIVE_MS));
        }
    }

    /// Counts time, delays loading after several crashes in a row, and forgets crashes once the process has run long
    /// enough.
    pub fn settle(&mut self, models: &mut ModelTable, ctx: &mut StepContext<'_>) {
        self.up_ms = self.up_ms.saturating_add(ctx.passed_ms);
        if let Some(until) = &mut self.connect_first {
            // A clock that was set back does not make the wait longer.
            *until = (*until).min(ctx.now.after_ms(ctx.limits.connect_first_ms));
            if *until > ctx.now {
                ctx.may_load = false;
                ctx.wake_at(*until, WakeReason::ConnectFirst);
            } else {
                self.connect_first = None;
            }
        }
        let Some(run) = &mut self.run else { return };
        let crashed = run.crashes > 0 || models.iter().any(|model| model.has_crashed());
        if !crashed {
            return;
        }
        if self.up_ms < ctx.limits.steady_ms {
            return ctx.wake_at(ctx.now.after_ms(ctx.limits.steady_ms - self.up_ms), WakeReason::Steady);
        }
        run.crashes = 0;
        models.iter_mut().for_each(|model| model.forget_crashes());
        ctx.save();
    }
}
