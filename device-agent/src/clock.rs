//! The wall clock of a device: it never goes back, not even across restarts.
//!
//! Probation, expiry and windows are moments that outlive the process. A device without a battery for its
//! clock starts in 1970; it then goes on from the last moment that it stored.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use modelfleet_protocol::time::Time;

/// A clock that only goes forward.
pub struct Clock {
    anchor: Mutex<(Time, Instant)>,
}

impl Clock {
    /// A clock that does not show anything before `stored`, the last moment that was written to disk.
    #[must_use]
    pub fn starting_at(stored: Time) -> Clock {
        Clock { anchor: Mutex::new((stored, Instant::now())) }
    }

    /// This moment: the system's clock, or, where that has gone back, the time that has passed since.
    pub fn now(&self) -> Time {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall = Time(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX));
        let mut anchor = self.anchor.lock().unwrap_or_else(PoisonError::into_inner);
        let (shown, since) = *anchor;
        let passed_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let now = wall.max(shown.after_ms(passed_ms));
        // Moving the anchor only with the wall keeps fractions of milliseconds from being dropped.
        if now == wall {
            *anchor = (now, Instant::now());
        }
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
