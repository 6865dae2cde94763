//! The planned looks of a stage, and which of them are reached.

use modelfleet_judge::Looks;
use modelfleet_rollout::{SETTLING_WINDOWS, Stage};

use crate::{Device, StageWindows, Start};

/// Most looks that a stage plans.
const LOOKS_MAX: u64 = 6;

/// The planned looks of a stage: evenly over its windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LookPlan {
    windows: u64,
}

impl LookPlan {
    /// A stage is looked at over the windows of its bake time, and at least over those that a device needs.
    #[must_use]
    pub fn of(stage: &Stage, window_ms: u64) -> LookPlan {
        let baked = stage.bake_ms.div_ceil(window_ms.max(1));
        LookPlan { windows: baked.max(u64::from(stage.limits.min_windows)).max(1) }
    }

    /// Windows after which the last planned look is reached.
    #[must_use]
    pub fn windows(&self) -> u64 {
        self.windows
    }

    /// Looks that are planned: one a window, and at most six.
    #[must_use]
    pub fn planned(&self) -> u16 {
        short(self.windows.min(LOOKS_MAX))
    }

    /// Windows in which a device settles after an activation, by which nothing is decided: as many as the spec says, or [`SETTLING_WINDOWS`],
    /// and at most as many as the stage is looked at, so that a short stage does not wait longer than it watches.
    #[must_use]
    pub fn settling(&self, asked: Option<u64>) -> u64 {
        asked.unwrap_or_else(|| SETTLING_WINDOWS.min(self.windows))
    }

    /// The looks at an objective whose truth about a window is known `late` windows after it: by settled windows, so much later.
    #[must_use]
    pub fn reached_by_objective(&self, reported: Reported, late: u64) -> Looks {
        self.reached(reported.settled.saturating_sub(late))
    }

    /// The looks that are reached once half of the running canaries have reported `windows` windows; a stage that waits on
    /// goes on in the same steps.
    #[must_use]
    pub fn reached(&self, windows: u64) -> Looks {
        let planned = self.planned();
        let reached = windows.saturating_mul(u64::from(planned)) / self.windows;
        Looks { reached: short(reached), planned }
    }
}

fn short(n: u64) -> u16 {
    u16::try_from(n).unwrap_or(u16::MAX)
}

/// How far the running canaries have got in the stage.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// For each: from which windows on it counts, and one past the last that it has reported.
    spans: Vec<(Start, u64)>,
}

/// Windows that half of the running canaries have reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reported {
    /// From the first that is compared on.
    pub compared: u64,
    /// From the first that is judged on.
    pub settled: u64,
}

impl Progress {
    /// Of the running canaries among these devices.
    pub fn of<D: Device>(devices: impl Iterator<Item = D>, windows: &StageWindows) -> Progress {
        let running = devices.filter(|device| device.facts().runs_as_canary());
        let span = |device: D| (windows.start(device.activated()), device.reported_until());
        Progress { spans: running.map(span).collect() }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.spans.clear();
    }

    /// Adds a running canary: from which windows on it counts, and one past the last that it has reported.
    pub fn note(&mut self, start: Start, until: u64) {
        self.spans.push((start, until));
    }

    /// Windows that half of the running canaries have reported. Where they have gone quiet
    /// ([`modelfleet_judge::gone_quiet`]) the windows before `passed` count for all of them; else it is zero.
    #[must_use]
    pub fn half(&self, passed: u64) -> Reported {
        let half = |first: fn(&Start) -> u64| {
            let reported = |(start, until): &(Start, u64)| (*until).max(passed).saturating_sub(first(start));
            let mut windows: Vec<u64> = self.spans.iter().map(reported).collect();
            let middle = windows.len() / 2;
            if windows.is_empty() { 0 } else { *windows.select_nth_unstable(middle).1 }
        };
        Reported { compared: half(|start| start.compared), settled: half(|start| start.settled) }
    }
}
