//! The clock of a device: the system's, where that can be believed, and otherwise the time that has passed.
//!
//! Probation, expiry and windows are moments that outlive the process. A device without a battery for its
//! clock starts in 1970; it then goes on from the last moment that it stored. A system clock that was far ahead
//! for a while must not keep the device there: the stored moment gives way to a system clock that is as late as
//! it must be at least, because a plan that the device obeys was signed before. The agent was built, and its plans were
//! signed, before now: the clock never shows less, so that a device without a clock takes no plan that had expired by then.
//! Replay does not rest on this clock: plans are numbered. TLS checks certificates by it.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use modelfleet_agent_core::saved::Saved;
use modelfleet_protocol::time::Time;
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

/// When the agent was built.
const BUILT: Time = Time(match u64::from_str_radix(env!("MODELFLEET_BUILT_S"), 10) {
    Ok(seconds) => seconds * 1_000,
    Err(_) => 0,
});
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
        Clock(Mutex::new(Reckoning { built: BUILT, ..Reckoning::starting_at(stored, Instant::now()) }))
    }

    /// Takes from a record what the device knows of the time: its plans and its trust document were signed before now.
    pub fn learn(&self, saved: &Saved) {
        let orders = || saved.models.values().filter_map(|kept| Some(kept.plan.as_ref()?.order));
        let document = saved.trust.as_ref().map(|kept| kept.document.issued);
        let signed = orders().map(|order| order.issued).chain(document);
        let issued = signed.max().filter(|&issued| issued > Time::ZERO);
        let mut reckoning = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        reckoning.issued = issued;
        reckoning.expires = orders().map(|order| order.expires).max();
    }

    /// For how long all plans that the device has have expired by this clock; `None` while one has not, or there is none.
    /// Controllers sign plans again long before: either this clock is ahead, or no controller has reached the device.
    pub fn past_all_plans(&self) -> Option<Duration> {
        let now = self.now();
        let expires = self.0.lock().unwrap_or_else(PoisonError::into_inner).expires?;
        (now > expires).then(|| Duration::from_millis(now.since_ms(expires)))
    }

    /// This moment: the system's clock, or, where that is behind and cannot be believed, the last moment and
    /// the time that has passed since.
    pub fn now(&self) -> Time {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).at(wall(), Instant::now())
    }
}

/// What the system's clock reads.
fn wall() -> Time {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX))
}

/// The time by which TLS checks certificates: the device's, once it has a clock, and never before the agent was built.
#[derive(Clone, Default)]
pub struct CertificateTime(Arc<OnceLock<Arc<Clock>>>);

impl CertificateTime {
    /// Follows this clock. Devices of one process share their certificates and follow the first one's.
    pub fn follow(&self, clock: &Arc<Clock>) {
        self.0.get_or_init(|| clock.clone());
    }

    fn now(&self) -> Time {
        self.0.get().map_or_else(|| wall().max(BUILT), |clock| clock.now())
    }
}

impl std::fmt::Debug for CertificateTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CertificateTime({:?})", self.now())
    }
}

impl TimeProvider for CertificateTime {
    fn current_time(&self) -> Option<UnixTime> {
        let Time(ms) = self.now();
        Some(UnixTime::since_unix_epoch(Duration::from_millis(ms)))
    }
}

/// The time as far as it is known, independent of the source of the readings.
struct Reckoning {
    /// A moment that was shown, and when that was on the monotonic clock.
    anchor: (Time, Instant),
    /// When the newest plan, or the trust document, was signed.
    issued: Option<Time>,
    /// When the last plan expires.
    expires: Option<Time>,
    /// When the agent was built.
    built: Time,
    /// Since when the system's clock is behind.
    behind_since: Option<Instant>,
}

impl Reckoning {
    fn starting_at(stored: Time, tick: Instant) -> Reckoning {
        let built = Time::ZERO;
        Reckoning { anchor: (stored, tick), issued: None, expires: None, built, behind_since: None }
    }

    /// The moment to show when the system's clock reads `wall` and the monotonic clock `tick`.
    fn at(&mut self, wall: Time, tick: Instant) -> Time {
        let (shown, since) = self.anchor;
        let passed = tick.saturating_duration_since(since).as_millis();
        let mut reckoned = shown.after_ms(u64::try_from(passed).unwrap_or(u64::MAX));
        let least = self.built.max(self.issued.unwrap_or_default());
        if reckoned < least {
            reckoned = least;
            self.anchor = (least, tick);
        }
        let behind = reckoned.since_ms(wall) > BEHIND_MS;
        let behind_since = behind.then(|| self.behind_since.unwrap_or(tick));
        let believed = behind_since.is_some_and(|since| match self.issued {
            Some(_) => wall >= least,
            None => wall >= least && tick.saturating_duration_since(since) >= BELIEVED_AFTER,
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
    fn the_clock_is_never_behind_the_agents_build_nor_a_signed_plan() {
        let day = Time(DAY_MS);
        let minute = |n: u64| TODAY.after_ms(n * 60_000);
        // A new device whose clock starts in 1970, with and without a plan of later.
        let built = Reckoning { built: TODAY, ..stored(Time::ZERO, None) };
        check(
            built,
            &[(0, day, TODAY), (1, day, minute(1)), (600, day, minute(600)), (601, FAR_AHEAD, FAR_AHEAD)],
        );
        let issued = Some(TODAY.after_ms(DAY_MS));
        let planned = Reckoning { built: TODAY, ..stored(Time::ZERO, issued) };
        check(planned, &[(0, day, TODAY.after_ms(DAY_MS)), (1, TODAY, minute(1).after_ms(DAY_MS))]);
        // A plan that arrives moves it, and it goes on from there.
        let mut clock = Reckoning { built: TODAY, ..stored(Time::ZERO, None) };
        let start = clock.anchor.1;
        assert_eq!(clock.at(day, start), TODAY);
        clock.issued = Some(TODAY.after_ms(HOUR_MS));
        assert_eq!(clock.at(day, start), TODAY.after_ms(HOUR_MS));
        assert_eq!(clock.at(day, start + Duration::from_secs(60)), minute(61));
    }

    #[test]
    fn certificates_are_checked_by_the_device_and_never_by_a_clock_before_the_build() {
        let time = CertificateTime::default();
        let ms = |time: &CertificateTime| time.current_time().unwrap().as_secs() * 1_000;
        assert!(BUILT > Time::ZERO && ms(&time) >= BUILT.0 / 1_000 * 1_000);
        let stored = wall().after_ms(DAY_MS);
        time.follow(&Arc::new(Clock::starting_at(stored)));
        assert!(ms(&time) >= stored.0 / 1_000 * 1_000, "the system's clock is behind");
    }

    #[test]
    fn a_clock_far_ahead_is_past_all_plans() {
        let plan = |expires: u64| {
            let text = format!(
                r#"{{"namespace":"plant","model":"pump","epoch":1,"revision":1,"issued":1,"expires":{expires}}}"#
            );
            let kept = SavedModel {
                plan: Some(Arc::new(serde_json::from_str(&text).unwrap())),
                ..SavedModel::default()
            };
            Saved { models: [("pump".parse().unwrap(), kept)].into(), ..Saved::default() }
        };
        let clock = Clock::starting_at(Time::ZERO);
        assert_eq!(clock.past_all_plans(), None, "there is none");
        clock.learn(&plan(wall().0 + DAY_MS));
        assert_eq!(clock.past_all_plans(), None);
        clock.learn(&plan(wall().0 - DAY_MS));
        assert!(clock.past_all_plans().unwrap() >= Duration::from_millis(DAY_MS));
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
