//! Runs of the process: how the last one ended, and what follows from it. Only a crash speaks against a build; an
//! orderly stop and a loss of power do not.

use std::collections::BTreeMap;

use modelfleet_protocol::ids::ModelName;
use modelfleet_protocol::time::Time;

use crate::saved::Run;
use crate::turn::Turn;
use crate::unit::Unit;
use crate::words::{Output, Why};

/// Time after the connect in which the newest plans arrive.
const PLANS_ARRIVE_MS: u64 = 5_000;

/// How a run of the process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// There was none before.
    First,
    /// It was stopped in order.
    Stopped,
    /// The machine has booted since.
    PowerLost,
    /// It ended by itself, or was killed.
    Crashed,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Runs {
    run: Option<Run>,
    /// How long this one lasts.
    up_ms: u64,
    /// No candidate is loaded before then.
    connect_first: Option<Time>,
}

impl Runs {
    pub fn after(run: Option<Run>) -> Runs {
        Runs { run, ..Runs::default() }
    }

    pub fn saved(&self) -> Option<Run> {
        self.run.clone()
    }

    pub fn begin(&mut self, boot: Option<String>, turn: &mut Turn<'_>) -> Ending {
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
            (crashes > turn.limits.restarts_max).then(|| turn.now.after_ms(turn.limits.connect_first_ms));
        if self.connect_first.is_some() {
            turn.emit(Output::Note(format!(
                "{crashes} crashes in a row: the stable build answers, candidates wait for the broker"
            )));
        }
        // Otherwise a crash that follows would look like the end before.
        turn.save |= ending != Ending::First;
        ending
    }

    /// What took the process down is not loaded any more.
    pub fn forgive(&mut self) {
        self.connect_first = None;
        if let Some(run) = &mut self.run {
            run.crashes = 0;
        }
    }

    pub fn stop(&mut self, turn: &mut Turn<'_>) {
        let run = self.run.get_or_insert_default();
        run.stopped = true;
        turn.save = true;
    }

    pub fn connected(&mut self, now: Time) {
        if let Some(until) = &mut self.connect_first {
            *until = (*until).min(now.after_ms(PLANS_ARRIVE_MS));
        }
    }

    /// Counts time, holds loading back after a row of crashes, and forgets crashes once the process is steady.
    pub fn settle(&mut self, units: &mut BTreeMap<ModelName, Unit>, turn: &mut Turn<'_>) {
        self.up_ms = self.up_ms.saturating_add(turn.passed_ms);
        if let Some(until) = &mut self.connect_first {
            // A clock that was set back does not stretch the wait.
            *until = (*until).min(turn.now.after_ms(turn.limits.connect_first_ms));
            if *until > turn.now {
                turn.loading = false;
                turn.wake_at(*until, Why::ConnectFirst);
            } else {
                self.connect_first = None;
            }
        }
        let Some(run) = &mut self.run else { return };
        let crashed = run.crashes > 0 || units.values().any(Unit::has_crashed);
        if !crashed {
            return;
        }
        if self.up_ms < turn.limits.steady_ms {
            return turn.wake_at(turn.now.after_ms(turn.limits.steady_ms - self.up_ms), Why::Steady);
        }
        run.crashes = 0;
        units.values_mut().for_each(Unit::forget_crashes);
        turn.save = true;
    }
}
