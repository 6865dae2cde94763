//! From which window on a device counts.

use modelfleet_protocol::time::Time;

/// Windows that a device's clock may be ahead of ours before its newest ones have to wait.
pub const AHEAD_MAX: u64 = 2;

/// Whether a moment by a device's clock lies beyond what [`AHEAD_MAX`] allows.
#[must_use]
pub fn is_ahead(at: Time, now: Time, window_ms: u64) -> bool {
    at > now.after_ms(AHEAD_MAX.saturating_mul(window_ms))
}

/// The windows of a stage, which are numbered from the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageWindows {
    /// Length of a window, milliseconds.
    length_ms: u64,
    /// Windows after activation that do not count.
    warmup: u64,
    /// When the stage opened.
    opened: Time,
    /// The first whole window after that.
    opened_window: u64,
}

impl StageWindows {
    /// The windows of a stage that opened then; `warmup` of them do not count after an activation.
    #[must_use]
    pub fn new(length_ms: u64, warmup: u64, opened: Time) -> StageWindows {
        let length_ms = length_ms.max(1);
        StageWindows { length_ms, warmup, opened, opened_window: opened.0.div_ceil(length_ms) }
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

    /// The window from which on a device counts that has the candidate since `activated`: not before the stage opened, and
    /// without the warm-up.
    #[must_use]
    #[inline]
    pub fn counted_from(&self, activated: Time) -> u64 {
        self.counted_from_window(self.first_whole(activated))
    }

    /// The same for a device whose first whole window with the candidate is known.
    #[must_use]
    #[inline]
    pub fn counted_from_window(&self, whole: u64) -> u64 {
        whole.max(self.opened_window).saturating_add(self.warmup)
    }

    /// The first window of the stage that counts for any device.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.counted_from_window(self.opened_window)
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
        let stage = StageWindows::new(1_000, 2, Time(5_001));
        assert_eq!((stage.first_whole(Time(5_000)), stage.first_whole(Time(5_001))), (5, 6));
        assert_eq!(stage.first(), 8);
        assert_eq!(stage.counted_from(Time(7_000)), 9);
        assert_eq!(stage.counted_from(Time(7_001)), 10);
        assert_eq!(stage.counted_from(Time(1)), 8, "not before the stage opened");
        assert_eq!(stage.counted_from(Time(u64::MAX)), u64::MAX / 1_000 + 1 + 2);
        assert_eq!((stage.passed(Time(7_999)), stage.passed(Time(8_000))), (7, 8));
        assert_eq!(
            StageWindows::new(0, 0, Time(7)).first(),
            7,
            "a window is never shorter than a millisecond"
        );
    }

    #[test]
    fn a_clock_may_be_two_windows_ahead() {
        assert!(!is_ahead(Time(3_000), Time(1_000), 1_000));
        assert!(is_ahead(Time(3_001), Time(1_000), 1_000));
        assert!(!is_ahead(Time(u64::MAX), Time(1_000), u64::MAX));
    }
}
