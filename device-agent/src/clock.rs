//! The clock of a device: the system's, where that can be believed, and otherwise the time that has passed.
//!
//! Probation, expiry and windows are moments that outlive the process. A device without a battery for its
//! clock starts in 1970; it then goes on from the last moment that it stored. A system clock that was far ahead
//! for a while must not keep the device there: the stored moment gives way to a system clock that is as late as
//! it must be at least, because a plan that the device obeys was signed before. Replay does not rest on this
//! clock: plans are numbered.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use modelfleet_agent_core::saved::Saved;
use modelfleet_protocol::time::Time;

/// A system clock that is behind by less is not followed back: it is being corrected, and time goes on evenly.
const BEHIND_MS: u64 = 60_000;
/// Without a plan, a system clock must be behind for so long until it is believed.
const BELIEVED_AFTER: Duration = Duration::from_secs(5 * 60);

/// The clock of a device.
pub struct Clock(Mutex<Reckoning>);

impl Clock {
    /// A clock that goes on from `stored`, the last moment that was written to disk.
    #[must_use]
    pub fn starting_at(stored: Time) -> Clock {
        Clock(Mutex::new(Reckoning::starting_at(stored, Instant::now())))
    }

    /// Takes from a record what the device knows of the time: its plans were signed before now.
    pub fn learn(&self, saved: &Saved) {
        let issued = saved.models.values().filter_map(|kept| Some(kept.plan.as_ref()?.order.issued));
        let issued = issued.max().filter(|&issued| issued > Time::ZERO);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).issued = issued;
    }

    /// This moment: the system's clock, or, where that is behind and cannot be believed, the last moment and
    /// the time that has passed since.
    pub fn now(&self) -> Time {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall = Time(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).at(wall, Instant::now())
    }
}

/// The time as far as it is known, independent of the source of the readings.
struct Reckoning {
    /// A moment that was shown, and when that was on the monotonic clock.
    anchor: (Time, Instant),
    /// When the newest plan was signed.
    issued: Option<Time>,
    /// Since when the system's clock is behind.
    behind_since: Option<Instant>,
}

impl Reckoning {
    fn starting_at(stored: Time, tick: Instant) -> Reckoning {
        Reckoning { anchor: (stored, tick), issued: None, behind_since: None }
    }

    /// The moment to show when the system's clock reads `wall` and the monotonic clock `tick`.
    fn at(&mut self, wall: Time, tick: Instant) -> Time {
        let (shown, since) = self.anchor;
        let passed = tick.saturating_duration_since(since).as_millis();
        let reckoned = shown.after_ms(u64::try_from(passed).unwrap_or(u64::MAX));
        let behind = reckoned.since_ms(wall) > BEHIND_MS;
        let behind_since = behind.then(|| self.behind_since.unwrap_or(tick));
        let believed = behind_since.is_some_and(|since| match self.issued {
            Some(issued) => wall >= issued,
            None => tick.saturating_duration_since(since) >= BELIEVED_AFTER,
        });
        // Moving the anchor only with the wall keeps fractions of milliseconds from being dropped.
        if wall >= reckoned || believed {
            self.anchor = (wall, tick);
            self.behind_since = None;
            return wall;
        }
        self.behind_since = behind_since;
        reckoned
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use modelfleet_agent_core::saved::SavedModel;

    use super::*;

    const HOUR_MS: u64 = 3_600_000;
    const DAY_MS: u64 = 24 * HOUR_MS;
    /// Some day on which everything is as it should be.
    const TODAY: Time = Time(20_000 * DAY_MS);
    /// What a bad time server answers.
    const FAR_AHEAD: Time = Time(47_000 * DAY_MS);

    /// Asks a clock one thing after the other: minutes passed, what the system's clock reads, what is shown.
    fn check(mut clock: Reckoning, readings: &[(u64, Time, Time)]) {
        let start = clock.anchor.1;
        for (index, &(minutes, wall, shown)) in readings.iter().enumerate() {
            let tick = start + Duration::from_secs(minutes * 60);
            assert_eq!(clock.at(wall, tick), shown, "reading {index}");
        }
    }

    fn stored(at: Time, issued: Option<Time>) -> Reckoning {
        Reckoning { issued, ..Reckoning::starting_at(at, Instant::now()) }
    }

    #[test]
    fn a_clock_that_starts_in_the_past_goes_on_from_what_was_stored() {
        let system = Clock::starting_at(Time::ZERO).now();
        let stored = system.after_ms(1_000_000);
        let clock = Clock::starting_at(stored);
        let first = clock.now();
        assert!(first >= stored);
        assert!(clock.now() >= first);
        assert!(Clock::starting_at(Time(5)).now() >= system, "a correct system clock is followed");
    }

    #[test]
    fn a_plan_says_how_late_it_is_at_least() {
        let system = Clock::starting_at(Time::ZERO).now();
        let plan = |issued: u64| {
            let text = format!(
                r#"{{"namespace":"plant","model":"pump","epoch":1,"revision":1,"issued":{issued},"expires":9}}"#
            );
            let plan = Some(Arc::new(serde_json::from_str(&text).unwrap()));
            let kept = SavedModel { plan, ..SavedModel::default() };
            Saved { models: [("pump".parse().unwrap(), kept)].into(), ..Saved::default() }
        };
        let stored = system.after_ms(DAY_MS);
        for (issued, believed) in [(system.0 - DAY_MS, true), (system.0 + HOUR_MS, false), (0, false)] {
            let clock = Clock::starting_at(stored);
            clock.learn(&plan(issued));
            assert_eq!(clock.now() < stored, believed, "{issued}");
        }
    }

    #[test]
    fn a_jump_ahead_is_taken_back_with_the_system_clock() {
        let minute = |n: u64| TODAY.after_ms(n * 60_000);
        let clock = stored(TODAY, Some(Time(TODAY.0 - DAY_MS)));
        check(clock, &[(1, minute(1), minute(1)), (2, FAR_AHEAD, FAR_AHEAD), (3, minute(3), minute(3))]);
        // It was written to disk in the meantime.
        check(stored(FAR_AHEAD, Some(Time(TODAY.0 - DAY_MS))), &[(0, TODAY, TODAY)]);
    }

    #[test]
    fn a_device_without_a_battery_waits_for_its_time() {
        let day = Time(DAY_MS);
        for issued in [None, Some(Time(TODAY.0 - DAY_MS))] {
            let later = TODAY.after_ms(60_000);
            check(stored(TODAY, issued), &[(0, day, TODAY), (1, day, later), (2, FAR_AHEAD, FAR_AHEAD)]);
        }
        let minutes = |n: u64| TODAY.after_ms(n * 60_000);
        let planned = stored(TODAY, Some(Time(TODAY.0 - DAY_MS)));
        check(planned, &[(0, day, TODAY), (60, day, minutes(60)), (600, day, minutes(600))]);
    }

    #[test]
    fn without_a_plan_the_system_clock_must_be_behind_for_minutes() {
        let minutes = |n: u64| TODAY.after_ms(n * 60_000);
        let ahead = |n: u64| FAR_AHEAD.after_ms(n * 60_000);
        check(
            stored(FAR_AHEAD, None),
            &[(0, TODAY, FAR_AHEAD), (4, minutes(4), ahead(4)), (5, minutes(5), minutes(5))],
        );
        // Once it was not behind, it begins anew.
        let seen = [(0, TODAY, FAR_AHEAD), (4, ahead(4), ahead(4)), (6, minutes(6), ahead(6))];
        check(stored(FAR_AHEAD, None), &seen);
    }

    #[test]
    fn small_corrections_do_not_turn_time_back() {
        let issued = Some(Time(TODAY.0 - DAY_MS));
        check(
            stored(TODAY, issued),
            &[(0, Time(TODAY.0 - 30_000), TODAY), (1, TODAY, TODAY.after_ms(60_000))],
        );
    }
}
