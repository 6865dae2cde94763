//! When a device downloads: spread over time by a hash, within the daily window, and again after growing waits.

use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::time::Time;

use crate::agent::context::StepContext;

const MINUTE_MS: u64 = 60_000;
const DAY_MINUTES: u64 = 24 * 60;

/// Length of a daily window, milliseconds.
pub(crate) fn window_ms(window_utc_minutes: Option<(u16, u16)>) -> u64 {
    let minutes = window_utc_minutes.map_or(0, |(start, end)| {
        let (start, end) = (u64::from(start) % DAY_MINUTES, u64::from(end) % DAY_MINUTES);
        (end + DAY_MINUTES - start) % DAY_MINUTES
    });
    if minutes == 0 { DAY_MINUTES * MINUTE_MS } else { minutes * MINUTE_MS }
}

/// The first moment from `at` on that lies in the daily window. For this device the window opens `late_ms` later, so that
/// not all devices start at once.
pub(crate) fn in_daily_window(at: Time, window_utc_minutes: Option<(u16, u16)>, late_ms: u64) -> Time {
    let Some((start, end)) = window_utc_minutes else { return at };
    let (start, end) = (u64::from(start) % DAY_MINUTES, u64::from(end) % DAY_MINUTES);
    let start = if start == end { start } else { (start + late_ms / MINUTE_MS) % DAY_MINUTES };
    let minute = at.0 / MINUTE_MS % DAY_MINUTES;
    let open = match start.cmp(&end) {
        std::cmp::Ordering::Less => (start..end).contains(&minute),
        std::cmp::Ordering::Equal => true,
        std::cmp::Ordering::Greater => minute >= start || minute < end,
    };
    if open {
        return at;
    }
    let wait_minutes = (start + DAY_MINUTES - minute) % DAY_MINUTES;
    Time(at.0 - at.0 % MINUTE_MS).after_ms(wait_minutes * MINUTE_MS)
}

/// The end of the daily window that is open at `at`; `None` if it never closes, or is not open.
pub(crate) fn window_end(at: Time, window_utc_minutes: Option<(u16, u16)>) -> Option<Time> {
    let (start, end) = window_utc_minutes?;
    let (start, end) = (u64::from(start) % DAY_MINUTES, u64::from(end) % DAY_MINUTES);
    if start == end || in_daily_window(at, window_utc_minutes, 0) != at {
        return None;
    }
    let minute = at.0 / MINUTE_MS % DAY_MINUTES;
    let left_minutes = (end + DAY_MINUTES - minute) % DAY_MINUTES;
    Some(Time(at.0 - at.0 % MINUTE_MS).after_ms(left_minutes * MINUTE_MS))
}

/// How long this device waits before its first download of this build.
pub(crate) fn spread_ms(ctx: &StepContext<'_>, digest: &Digest, spread_ms: u64) -> u64 {
    ctx.jitter(&format!("fetch {digest}"), spread_ms)
}

/// How long it waits after so many failed downloads: the wait doubles each time, and half of it is jitter.
pub(crate) fn backoff_ms(ctx: &StepContext<'_>, digest: &Digest, failed: u32) -> u64 {
    let doubled = 1_u64.checked_shl(failed.saturating_sub(1)).unwrap_or(u64::MAX);
    let full = ctx.limits.fetch_backoff_ms.saturating_mul(doubled).min(ctx.limits.fetch_backoff_max_ms);
    full / 2 + ctx.jitter(&format!("retry {failed} {digest}"), full / 2)
}

/// A deadline that was set before the clock was set back is at most `most_ms` away.
pub(crate) fn not_later_than(now: Time, at: Time, most_ms: u64) -> Time {
    at.min(now.after_ms(most_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: u64, minute: u64) -> Time {
        Time(((20_000 * 24 + hour) * 60 + minute) * MINUTE_MS)
    }

    #[test]
    fn the_daily_window_may_run_over_midnight() {
        let (night, day) = (Some((22 * 60, 4 * 60)), Some((9 * 60, 17 * 60)));
        assert_eq!(in_daily_window(at(23, 0), night, 0), at(23, 0));
        assert_eq!(in_daily_window(at(3, 59), night, 0), at(3, 59));
        assert_eq!(in_daily_window(Time(at(4, 0).0 + 5), night, 0), at(22, 0));
        assert_eq!(in_daily_window(at(8, 0), day, 600_000), at(9, 10));
        assert_eq!(in_daily_window(at(17, 0), day, 0), at(24 + 9, 0));
        assert_eq!(in_daily_window(at(1, 1), Some((u16::MAX, u16::MAX)), 7), at(1, 1), "no window at all");
        assert_eq!(window_end(at(23, 30), night), Some(at(24 + 4, 0)));
        assert_eq!(window_end(Time(at(3, 59).0 + 59_999), night), Some(at(4, 0)));
        assert_eq!((window_end(at(4, 0), night), window_end(at(4, 0), None)), (None, None));
        assert_eq!((window_ms(night), window_ms(None)), (6 * 3_600_000, 24 * 3_600_000));
        assert_eq!(in_daily_window(Time(u64::MAX), day, 0).0 / MINUTE_MS, u64::MAX / MINUTE_MS);
    }
}
