//! What is asked of the watch.

use crate::named::Named;

/// What an alarm does beside the condition and the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnAlarm {
    /// Nothing more.
    Observe,
    /// An event.
    #[default]
    Notify,
    /// An event, and no other rollout of the model starts until the alarm has cleared.
    Pause,
    /// The version is rolled back.
    RollBack,
    /// An event that asks for a retrained version.
    Retrain,
}

/// What is asked of the watch.
#[derive(Clone, Debug, PartialEq)]
pub struct WatchPolicy {
    /// On average at most one false alarm in this time, milliseconds.
    pub false_alarm_every_ms: u64,
    /// Length of a window, milliseconds.
    pub window_ms: u64,
    /// Windows after its end in which devices report a window. Later ones count no more.
    pub late_windows: u64,
    /// What an alarm does.
    pub on_alarm: OnAlarm,
    /// Detectors by name, at most [`NAMED_MAX`](crate::NAMED_MAX): they alarm beside the promise.
    pub named: Vec<Named>,
}

impl WatchPolicy {
    /// One past the last window that is closed: all that devices will report of it in time has come.
    #[must_use]
    pub fn closed_end(&self, now_ms: u64) -> u64 {
        (now_ms / self.window_ms.max(1)).saturating_sub(self.late_windows)
    }

    /// When window `index` is closed, milliseconds since 1970.
    #[must_use]
    pub fn closes_at_ms(&self, index: u64) -> u64 {
        index.saturating_add(1).saturating_add(self.late_windows).saturating_mul(self.window_ms)
    }
}
