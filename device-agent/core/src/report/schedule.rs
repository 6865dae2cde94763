//! When a device reports, and how much a report contains.
//!
//! While a candidate is being tried, every window of every device counts: the controller judges after each. Without a
//! candidate nothing is decided, and a link that costs money is used sparingly: by default about 1 kB in two windows. Not
//! less often, because the controller calls a device silent after three windows, starts no rollout while devices are
//! silent, and goes on watching after a success.
//!
//! The time of a report depends on the clock and the device's name, never on its content: if bad windows were reported
//! sooner than good ones, a fleet would look worse than it is. What people must know at once is in the state.

use modelfleet_protocol::observe::{HISTOGRAM_WINDOWS, Observe};
use modelfleet_protocol::report::WINDOWS_MAX;
use modelfleet_protocol::time::Time;

use crate::agent::context::StepContext;
use crate::interface::WakeReason;

/// The reports of a fleet are spread over this part of a window, and over a minute at most.
const SPREAD_PART: u64 = 10;
const SPREAD_MS_MAX: u64 = 60_000;
/// Windows between two reports of an idle device. With three, the controller would call it silent.
const IDLE_WINDOWS: u64 = 2;
/// Entries of an idle device's report. Half of them are single windows, so that the newest can be told apart.
const IDLE_ENTRIES: usize = 16;
/// Longest wait between two reports, milliseconds, so that times can be added without overflow.
const EVERY_MS_MAX: u64 = u64::MAX / 4;

/// How often a device reports one model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReportMode {
    /// After every window: there is a candidate, or this device does not run the plan's stable build.
    EveryWindow,
    /// Seldom: this device runs the stable build, confirmed, and the plan has no candidate.
    Idle,
}

/// Why there is something to report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trigger {
    /// A window was closed.
    Window,
    /// Ground truth arrived for a window that was closed before.
    Truth,
    /// The plan asks for something else.
    Plan,
}

/// When the next report of one model is due.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReportSchedule {
    /// How often reports were sent so far; `None` before the first plan.
    mode: Option<ReportMode>,
    due: Option<Time>,
    last: Option<Time>,
}

impl ReportSchedule {
    /// Sets how often reports are sent. Returns whether the device was idle and reports every window from now on.
    pub fn set_mode(&mut self, mode: ReportMode) -> bool {
        self.mode.replace(mode) == Some(ReportMode::Idle) && mode == ReportMode::EveryWindow
    }

    /// There is something to report.
    pub fn plan_report(
        &mut self,
        mode: ReportMode,
        trigger: Trigger,
        observe: &Observe,
        ctx: &StepContext<'_>,
    ) {
        let at = mode.due(trigger, observe, self.last, ctx);
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// Whether the report is due now. If it is due later, asks to be woken. `longest_ms`: no report is further ahead.
    pub fn take_due(&mut self, longest_ms: u64, ctx: &mut StepContext<'_>) -> bool {
        let Some(due) = self.due.filter(|_| ctx.connected) else { return false };
        let due = due.min(ctx.now.after_ms(longest_ms));
        if due > ctx.now {
            self.due = Some(due);
            ctx.wake_at(due, WakeReason::Report);
            return false;
        }
        self.due = None;
        true
    }

    pub fn reported(&mut self, now: Time) {
        self.last = Some(now);
    }
}

fn idle_every_ms(observe: &Observe) -> u64 {
    let windows_ms = observe.window_ms.saturating_mul(IDLE_WINDOWS);
    windows_ms.max(observe.report_every_ms).clamp(1, EVERY_MS_MAX)
}

impl ReportMode {
    fn due(self, trigger: Trigger, observe: &Observe, last: Option<Time>, ctx: &StepContext<'_>) -> Time {
        let window_ms = observe.window_ms;
        let spread_ms = ctx.jitter("report", (window_ms / SPREAD_PART).min(SPREAD_MS_MAX));
        let soon = ctx.now.after_ms(spread_ms);
        let not_before = last.map_or(Time::ZERO, |last| last.min(ctx.now).after_ms(observe.report_every_ms));
        match (self, trigger) {
            (_, Trigger::Plan) => soon,
            (ReportMode::EveryWindow, Trigger::Window) => soon.max(not_before),
            // It is sent with the open window, because ground truth trickles in all the time.
            (ReportMode::EveryWindow, Trigger::Truth) => {
                let left_ms = window_ms - ctx.now.0 % window_ms.max(1);
                soon.after_ms(left_ms).max(not_before)
            }
            (ReportMode::Idle, Trigger::Window | Trigger::Truth) => {
                let every_ms = idle_every_ms(observe);
                let moment_ms = ctx.jitter("idle report", every_ms);
                let passed_ms = (ctx.now.0 % every_ms + every_ms - moment_ms) % every_ms;
                ctx.now.after_ms(every_ms - passed_ms)
            }
        }
    }

    /// No report is further ahead than this, milliseconds, unless the clock was set back.
    pub fn longest_ms(self, observe: &Observe) -> u64 {
        match self {
            ReportMode::EveryWindow => {
                observe.report_every_ms.max(observe.window_ms).saturating_add(SPREAD_MS_MAX).min(EVERY_MS_MAX)
            }
            ReportMode::Idle => idle_every_ms(observe).max(SPREAD_MS_MAX),
        }
    }

    /// Largest number of entries in a report.
    pub fn entries_max(self) -> usize {
        if self == ReportMode::Idle { IDLE_ENTRIES } else { WINDOWS_MAX }
    }

    /// Number of newest entries that carry histograms. The controller merges them for the plain rule and the watch for
    /// incidents, over devices whose newest windows differ by what one report adds. Without a candidate nothing merges
    /// them.
    pub fn histograms(self, observe: &Observe) -> usize {
        if self == ReportMode::Idle {
            return 0;
        }
        let added = observe.report_every_ms.div_ceil(observe.window_ms.max(1)).max(1);
        let read = u64::from(observe.histogram_windows.max(HISTOGRAM_WINDOWS));
        usize::try_from(read.saturating_add(added)).unwrap_or(WINDOWS_MAX).min(WINDOWS_MAX)
    }
}
