//! Windows that are not on disk yet, and when they are written.

use modelfleet_protocol::ids::ModelName;
use modelfleet_protocol::time::Time;

use crate::agent::context::StepContext;
use crate::interface::{Output, Record, WakeReason};

/// Windows of one model that are not on disk yet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct UnsavedWindows {
    since: Option<Time>,
    /// They are written with this step.
    at_once: bool,
}

impl UnsavedWindows {
    /// Windows have changed.
    pub fn changed(&mut self, now: Time) {
        self.since.get_or_insert(now);
    }

    /// A window of this length was closed: a long one is written at once.
    pub fn closed(&mut self, window_ms: u64, ctx: &StepContext<'_>) {
        self.at_once |= window_ms >= ctx.limits.save_window_ms;
    }

    /// Writes them when it is time; else asks to be woken.
    pub fn save_when_due(&mut self, model: &ModelName, ctx: &mut StepContext<'_>) {
        let Some(since) = &mut self.since else { return };
        *since = (*since).min(ctx.now); // The clock may have been set back.
        let at = since.after_ms(ctx.limits.save_windows_every_ms);
        if at <= ctx.now || self.at_once {
            self.save(model, ctx);
        } else {
            ctx.wake_at(at, WakeReason::SaveWindows);
        }
    }

    /// Writes them now, if there are any.
    pub fn save(&mut self, model: &ModelName, ctx: &mut StepContext<'_>) {
        if self.since.take().is_some() {
            self.at_once = false;
            ctx.emit(Output::Save(Record::Windows(model.clone())));
        }
    }
}
