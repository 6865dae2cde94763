//! How often a device reports, and how much a report says.
//!
//! While a candidate is under way every window counts, with every device: the controller judges after each. Without one
//! nothing is decided, and a link that costs money is used sparingly: by default about 1 kB in two windows. Not less
//! often, because the controller calls a device silent after three windows, starts no rollout while it hears nobody,
//! and goes on watching after a success.
//!
//! When a report goes hangs on the clock and the device's name, never on what the report says: were bad windows told
//! sooner than good ones, what is known of a fleet would look worse than it is. What a person must know at once is in
//! the state.

use modelfleet_protocol::observe::{HISTOGRAM_WINDOWS, Observe};
use modelfleet_protocol::report::WINDOWS_MAX;
use modelfleet_protocol::time::Time;

use crate::turn::Turn;
use crate::unit::Unit;

/// Reports of a fleet are spread over this part of a window, and over a minute at most.
const SPREAD_PART: u64 = 10;
const SPREAD_MS_MAX: u64 = 60_000;
/// Windows that an idle device lets go by between two reports. With three the controller would call it silent.
const IDLE_WINDOWS: u64 = 2;
/// Entries of an idle device's report. Half of them are single windows, so that the newest can still be told apart.
const IDLE_ENTRIES: usize = 16;
/// No wait between two reports is longer, so that moments can be added.
const EVERY_MS_MAX: u64 = u64::MAX / 4;

/// Whether anything is being decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// There is a candidate, or this device does not run what the plan calls stable.
    Watched,
    /// This device runs the stable build, confirmed, and the plan has no other.
    Idle,
}

/// Why there is something to report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// A window was closed.
    Window,
    /// Ground truth came for a window of the past.
    Truth,
    /// The plan asks for something else.
    Plan,
}

impl Unit {
    /// How often to report now.
    pub fn pace(&self) -> Pace {
        let Some(plan) = &self.kept.plan else { return Pace::Idle };
        let stable = self.subject().is_none_or(|subject| Some(subject) == self.stable());
        let settled = plan.candidate.is_none() && stable && !self.on_trial();
        if settled { Pace::Idle } else { Pace::Watched }
    }
}

fn idle_every_ms(observe: &Observe) -> u64 {
    let windows_ms = observe.window_ms.saturating_mul(IDLE_WINDOWS);
    windows_ms.max(observe.report_every_ms).clamp(1, EVERY_MS_MAX)
}

impl Pace {
    /// When news are to be reported.
    pub fn due(self, news: News, observe: &Observe, last: Option<Time>, turn: &Turn<'_>) -> Time {
        let window_ms = observe.window_ms;
        let spread_ms = turn.draw("report", (window_ms / SPREAD_PART).min(SPREAD_MS_MAX));
        let at_once = turn.now.after_ms(spread_ms);
        let not_before = last.map_or(Time::ZERO, |last| last.min(turn.now).after_ms(observe.report_every_ms));
        match (self, news) {
            (_, News::Plan) => at_once,
            (Pace::Watched, News::Window) => at_once.max(not_before),
            // It goes with the window that is open: truths trickle in all the time.
            (Pace::Watched, News::Truth) => {
                let left_ms = window_ms - turn.now.0 % window_ms.max(1);
                at_once.after_ms(left_ms).max(not_before)
            }
            (Pace::Idle, News::Window | News::Truth) => {
                let every_ms = idle_every_ms(observe);
                let moment_ms = turn.draw("idle report", every_ms);
                let passed_ms = (turn.now.0 % every_ms + every_ms - moment_ms) % every_ms;
                turn.now.after_ms(every_ms - passed_ms)
            }
        }
    }

    /// No report lies further ahead than this, milliseconds, unless the clock was set back.
    pub fn longest_ms(self, observe: &Observe) -> u64 {
        match self {
            Pace::Watched => {
                observe.report_every_ms.max(observe.window_ms).saturating_add(SPREAD_MS_MAX).min(EVERY_MS_MAX)
            }
            Pace::Idle => idle_every_ms(observe).max(SPREAD_MS_MAX),
        }
    }

    /// Entries of a report at most.
    pub fn entries_max(self) -> usize {
        if self == Pace::Idle { IDLE_ENTRIES } else { WINDOWS_MAX }
    }

    /// Newest entries that carry histograms. The controller merges them for the plain rule and the watch for incidents,
    /// over devices whose newest windows differ by what one report adds; without a candidate nobody merges them.
    pub fn histograms(self, observe: &Observe) -> usize {
        if self == Pace::Idle {
            return 0;
        }
        let added = observe.report_every_ms.div_ceil(observe.window_ms.max(1)).max(1);
        let read = u64::from(observe.histogram_windows.max(HISTOGRAM_WINDOWS));
        usize::try_from(read.saturating_add(added)).unwrap_or(WINDOWS_MAX).min(WINDOWS_MAX)
    }
}
