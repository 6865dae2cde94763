//! When a sink that fails is tried again: soon and with growing pauses at first; after some failures in a row seldom, with one
//! event as a trial, until one goes through.

use modelfleet_protocol::time::Time;

/// The first pause, milliseconds; each further one is twice as long.
const FIRST_MS: u64 = 1_000;
/// Failures in a row after which the circuit is open.
pub const FAILURES_MAX: u32 = 5;
/// How long the circuit stays open at first, milliseconds; twice as long after each trial that fails.
const OPEN_FIRST_MS: u64 = 60_000;
/// Longest time between two trials, milliseconds.
pub const OPEN_MAX_MS: u64 = 900_000;

/// What is known of a sink's failures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    failures: u32,
    wait_until: Option<Time>,
}

impl Breaker {
    /// Until when nothing is sent; `None`: it may be sent now.
    #[must_use]
    pub fn closed_until(&self, now: Time) -> Option<Time> {
        self.wait_until.filter(|until| now < *until)
    }

    /// Whether so many failed in a row that the sink counts as dead.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.failures >= FAILURES_MAX
    }

    /// Failures in a row.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// The sink has answered as it should.
    pub fn note_success(&mut self) {
        *self = Breaker::default();
    }

    /// The sink has failed. It is tried again after a pause, or after the one that it has asked for if that is longer.
    /// `chance`, from 0 to 1, spreads the pauses: many senders must not come back at the same moment.
    pub fn note_failure(&mut self, asked_ms: Option<u64>, now: Time, chance: f64) {
        self.failures = self.failures.saturating_add(1);
        let pause = match self.failures.checked_sub(FAILURES_MAX) {
            Some(trials) => doubled(OPEN_FIRST_MS, trials).min(OPEN_MAX_MS),
            None => doubled(FIRST_MS, self.failures - 1),
        };
        // Half of it for certain.
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let spread = (pause as f64 / 2.0 * chance.clamp(0.0, 1.0)) as u64;
        let pause = (pause / 2 + spread).max(asked_ms.unwrap_or(0));
        self.wait_until = Some(now.after_ms(pause));
    }
}

fn doubled(first_ms: u64, times: u32) -> u64 {
    first_ms.saturating_mul(1_u64.checked_shl(times).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pauses after failures in a row, seconds.
    fn pauses(count: usize, chance: f64) -> Vec<u64> {
        let (mut breaker, mut now) = (Breaker::default(), Time(1_000));
        let mut pauses = Vec::new();
        for _ in 0..count {
            breaker.note_failure(None, now, chance);
            let until = breaker.closed_until(now).unwrap();
            assert!(
                breaker.closed_until(Time(until.0 - 1)).is_some() && breaker.closed_until(until).is_none()
            );
            pauses.push(until.since_ms(now) / 1_000);
            now = until;
        }
        pauses
    }

    #[test]
    fn pauses_grow_and_have_an_end() {
        assert_eq!(pauses(10, 1.0), [1, 2, 4, 8, 60, 120, 240, 480, 900, 900]);
        assert_eq!(pauses(10, 0.0), [0, 1, 2, 4, 30, 60, 120, 240, 450, 450]);
        assert_eq!(pauses(200, 1.0).last(), Some(&900));
    }

    #[test]
    fn the_circuit_opens_and_one_success_closes_it() {
        let mut breaker = Breaker::default();
        for failures in 1..=FAILURES_MAX {
            assert!(!breaker.is_open());
            breaker.note_failure(None, Time(0), 0.5);
            assert_eq!(breaker.failures(), failures);
        }
        assert!(breaker.is_open() && breaker.closed_until(Time(0)).is_some());
        breaker.note_success();
        assert!(!breaker.is_open() && breaker.closed_until(Time(0)).is_none());
        assert_eq!(breaker, Breaker::default());
    }

    #[test]
    fn a_pause_that_a_sink_asks_for_is_kept() {
        let mut breaker = Breaker::default();
        breaker.note_failure(Some(7_000), Time(0), 0.0);
        assert_eq!(breaker.closed_until(Time(0)), Some(Time(7_000)));
        breaker.note_failure(Some(1), Time(7_000), 1.0);
        assert_eq!(breaker.closed_until(Time(7_000)), Some(Time(9_000)), "ours is longer");
    }
}
