//! From which window on a device counts.
//!
//! Changing models costs a device some bad windows whatever the model: cold caches, a reload. Controls change nothing, so
//! a comparison that begins at once blames the model for it. A device's first windows after its own activation are its
//! *settling time*: they are compared, so that they can be told, and nothing is decided by them. Which windows these are
//! follows from when the device activated and from nothing that it has counted, so the tests stay exact; and since each
//! control takes the start of a canary, both arms lose the same hours.

use modelfleet_protocol::time::Time;

/// Windows that a device's clock may be ahead of ours before its newest ones have to wait.
pub const AHEAD_MAX: u64 = 2;

/// Whether a moment by a device's clock lies beyond what [`AHEAD_MAX`] allows.
#[must_use]
pub fn is_ahead(at: Time, now: Time, window_ms: u64) -> bool {
    at > now.after_ms(AHEAD_MAX.saturating_mul(window_ms))
}

/// From which windows on a device counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Start {
    /// From here on it is judged.
    pub settled: u64,
    /// From here on it is compared; until `settled` only to be told.
    pub compared: u64,
    /// It changed models in this stage; a control: so did the canary whose start it takes.
    pub swapped: bool,
}

/// The windows of a stage, which are numbered from the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageWindows {
    /// Length of a window, milliseconds.
    length_ms: u64,
    /// Windows after activation that do not count.
    warmup: u64,
    /// Windows after those by which nothing is decided.
    settling: u64,
    /// When the stage opened.
    opened: Time,
    /// The first whole window after that.
    opened_window: u64,
}

impl StageWindows {
    /// The windows of a stage that opened then; `warmup` of them do not count after an activation, and the device settles
    /// in the `settling` windows after those ([`crate::LookPlan::settling`]).
    #[must_use]
    pub fn new(length_ms: u64, warmup: u64, settling: u64, opened: Time) -> StageWindows {
        let length_ms = length_ms.max(1);
        StageWindows { length_ms, warmup, settling, opened, opened_window: opened.0.div_ceil(length_ms) }
    }

    /// When the stage opened.
    #[must_use]
    pub fn opened(&self) -> Time {
        self.opened
    }

    /// Length of a window, milliseconds.
    #[must_use]
    pub fn length_ms(&self) -> u64 {
        self.length_ms
    }

    /// The first window that begins at this moment or after it: a window in which a device had two builds is of neither.
    #[must_use]
    #[inline]
    pub fn first_whole(&self, at: Time) -> u64 {
        at.0.div_ceil(self.length_ms)
    }

    /// From which windows on a device counts that has the candidate since `activated`.
    #[must_use]
    #[inline]
    pub fn start(&self, activated: Time) -> Start {
        self.start_window(self.first_whole(activated))
    }

    /// The same for a device whose first whole window with the candidate is known: not before the stage opened, without the
    /// warm-up, and settled so many windows after its own activation, however long ago that was.
    #[must_use]
    #[inline]
    pub fn start_window(&self, whole: u64) -> Start {
        let compared = whole.max(self.opened_window).saturating_add(self.warmup);
        let settled = whole.saturating_add(self.warmup).saturating_add(self.settling).max(compared);
        Start { settled, compared, swapped: whole >= self.opened_window }
    }

    /// The first window of the stage that counts for any device.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.opened_window.saturating_add(self.warmup)
    }

    /// Windows after activation that do not count.
    #[must_use]
    pub fn warmup(&self) -> u64 {
        self.warmup
    }

    /// Windows after the warm-up by which nothing is decided.
    #[must_use]
    pub fn settling(&self) -> u64 {
        self.settling
    }

    /// Windows that have passed by the clock.
    #[must_use]
    pub fn passed(&self, now: Time) -> u64 {
        now.0 / self.length_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_counts_from_its_first_whole_window_after_the_warm_up() {
        let stage = StageWindows::new(1_000, 2, 0, Time(5_001));
        let judged = |activated| stage.start(activated).settled;
        assert_eq!((stage.first_whole(Time(5_000)), stage.first_whole(Time(5_001))), (5, 6));
        assert_eq!(stage.first(), 8);
        assert_eq!(judged(Time(7_000)), 9);
        assert_eq!(judged(Time(7_001)), 10);
        assert_eq!(judged(Time(1)), 8, "not before the stage opened");
        assert_eq!(judged(Time(u64::MAX)), u64::MAX / 1_000 + 1 + 2);
        assert_eq!((stage.passed(Time(7_999)), stage.passed(Time(8_000))), (7, 8));
        assert_eq!(
            StageWindows::new(0, 0, 0, Time(7)).first(),
            7,
            "a window is never shorter than a millisecond"
        );
    }

    #[test]
    fn a_device_settles_after_its_own_activation() {
        let stage = StageWindows::new(1_000, 2, 5, Time(100_000));
        let start = |activated| {
            let Start { settled, compared, swapped } = stage.start(activated);
            (compared, settled, swapped)
        };
        assert_eq!(start(Time(100_000)), (102, 107, true));
        assert_eq!(start(Time(130_500)), (133, 138, true), "each from its own activation");
        assert_eq!(start(Time(96_500)), (102, 104, false), "three windows before the stage");
        assert_eq!(start(Time(40_000)), (102, 102, false), "long before the stage");
        assert_eq!(stage.first(), 102);
    }

    #[test]
    fn a_clock_may_be_two_windows_ahead() {
        assert!(!is_ahead(Time(3_000), Time(1_000), 1_000));
        assert!(is_ahead(Time(3_001), Time(1_000), 1_000));
        assert!(!is_ahead(Time(u64::MAX), Time(1_000), u64::MAX));
    }
}
