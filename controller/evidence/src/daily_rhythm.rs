//! Whether a device that is away now is always away at this time: a fleet that is switched off at night has lost no contact.
//!
//! A device's own windows say when it ran. One that is away now counts as away by its rhythm where it had no windows at this
//! time a day ago, or a week ago, an hour earlier or later, and was there before and came back since. So harm that silences
//! devices at noon is told as ever, and harm that comes in the night is told in the morning, an hour after the device is
//! usually back. A device that stayed away since counts as away by its rhythm for no longer than that: at the time at which it
//! came back on the day before.

use modelfleet_protocol::time::Time;

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
/// Days ago that are asked about, and within how many days before that time and after it the device has to have been there: the
/// night before, and the weekend before. On a Monday the day before tells nothing where it was a Sunday off.
const ASKED_ABOUT: [(u64, u64); 2] = [(1, 1), (7, 3)];
/// In an hour in which a device was away, at the most one of so many windows is known.
const HARDLY: u64 = 4;

/// Whether a device that is away now was away at this time before, given how many windows of it are known from one window on and
/// before another. `None`: its windows do not reach back to a day or a week ago, or are too long to tell.
#[must_use]
pub fn away_by_rhythm(now: Time, window_ms: u64, known: impl Fn(u64, u64) -> u64) -> Option<bool> {
    let window_ms = window_ms.max(1);
    if window_ms > HOUR_MS {
        return None;
    }
    let (hour, day) = (HOUR_MS.div_ceil(window_ms), DAY_MS / window_ms);
    let before = |(days, around): (u64, u64)| {
        let then = (now.0 / window_ms).checked_sub(days * day)?;
        let (from, until) = (then.saturating_sub(hour), then.saturating_add(2 * hour));
        let there = known(from.saturating_sub(around * day), from) > 0;
        let back = known(until, until.saturating_add(around * day)) > 0;
        let away = |at: u64| HARDLY * known(at, at.saturating_add(hour)) <= hour;
        (there && back).then(|| [from, then, then.saturating_add(hour)].into_iter().any(away))
    };
    let told = ASKED_ABOUT.map(before);
    told.contains(&Some(true)).then_some(true).or_else(|| told.into_iter().flatten().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Windows of a device that is on from `on` until `off` each day, but not at weekends where it says so; windows are numbered from
    /// a Monday at midnight. It came at `since` and is away for good from `gone` on, both in hours.
    struct Rhythm {
        window_ms: u64,
        on: u64,
        off: u64,
        weekends_off: bool,
        since: u64,
        gone: u64,
    }

    const NIGHTS: Rhythm =
        Rhythm { window_ms: HOUR_MS, on: 8, off: 22, weekends_off: false, since: 0, gone: 100_000 };

    impl Rhythm {
        fn is_on(&self, window: u64) -> bool {
            let at = window * self.window_ms / HOUR_MS;
            let (hour, day) = (at % 24, at / 24 % 7);
            let runs = (self.on..self.off).contains(&hour) && !(self.weekends_off && day >= 5);
            runs && (self.since..self.gone).contains(&at)
        }

        /// At this many minutes past an hour.
        fn away(&self, hour: u64, minute: u64) -> Option<bool> {
            let now = Time(hour * HOUR_MS + minute * 60_000);
            let until_now = |until: u64| until.min(now.0 / self.window_ms);
            away_by_rhythm(now, self.window_ms, |from, until| {
                (from..until_now(until)).filter(|window| self.is_on(*window)).count() as u64
            })
        }
    }

    const DAY: u64 = 24;

    #[test]
    fn a_night_is_no_loss_and_a_noon_is() {
        for window_ms in [HOUR_MS, HOUR_MS / 4, 60_000] {
            let device = Rhythm { window_ms, ..NIGHTS };
            for (hour, wanted) in [(22, true), (0, true), (7, true), (8, true), (12, false), (18, false)] {
                assert_eq!(
                    device.away(5 * DAY + hour, 5),
                    Some(wanted),
                    "{hour}:05, windows of {window_ms} ms"
                );
            }
        }
    }

    #[test]
    fn a_device_that_does_not_come_back_is_missed_in_the_morning() {
        // Away for good from eleven in the evening of day 5 on, one hour behind its usual time.
        let device = Rhythm { gone: 5 * DAY + 21, ..NIGHTS };
        let away = |hour| device.away(6 * DAY + hour, 30);
        assert_eq!([away(3), away(7), away(8)], [Some(true); 3]);
        assert_eq!([away(9), away(12)], [Some(false); 2], "from half past nine on at the latest");
        assert_eq!(away(20), None, "a day later nothing is known of it");
        assert_ne!(device.away(8 * DAY + 12, 30), Some(true), "nor is it excused after days");
    }

    #[test]
    fn without_a_day_behind_it_a_device_tells_nothing() {
        let device = Rhythm { since: 5 * DAY + 9, ..NIGHTS };
        assert_eq!(device.away(5 * DAY + 23, 0), None, "its first night");
        assert_eq!(device.away(6 * DAY + 23, 0), Some(true), "its second");
        assert_eq!(Rhythm { window_ms: 2 * HOUR_MS, ..NIGHTS }.away(5 * DAY, 0), None, "windows too long");
        assert_eq!(away_by_rhythm(Time(u64::MAX), 0, |_, _| 0), None, "no time is too late");
        assert_eq!(away_by_rhythm(Time::ZERO, HOUR_MS, |_, _| 1), None);
    }

    #[test]
    fn weekends_are_known_by_the_week_before() {
        let device = Rhythm { weekends_off: true, ..NIGHTS };
        for (day, hour, wanted) in
            [(12, 12, true), (13, 12, true), (14, 3, true), (14, 12, false), (15, 12, false)]
        {
            assert_eq!(device.away(day * DAY + hour, 5), Some(wanted), "day {day}, {hour}:05");
        }
    }

    /// It never stops, and stops now: no night is made up.
    #[test]
    fn a_device_that_is_always_on_has_no_rhythm() {
        let device = Rhythm { on: 0, off: 24, ..NIGHTS };
        for hour in 0..24 {
            assert_eq!(device.away(9 * DAY + hour, 59), Some(false));
        }
    }
}
