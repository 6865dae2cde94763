//! The bake clock of a stage: it can be frozen.

use modelfleet_protocol::time::Time;
use serde::{Deserialize, Serialize};

/// Time that a stage was watched. Pauses and times without contact do not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StageClock {
    /// Time counted before the last freeze, milliseconds.
    pub banked_ms: u64,
    /// Running since then; `None` while frozen.
    pub running_since: Option<Time>,
}

impl StageClock {
    /// Time counted so far, milliseconds.
    #[must_use]
    pub fn elapsed_ms(&self, now: Time) -> u64 {
        let running = self.running_since.map_or(0, |since| now.since_ms(since));
        self.banked_ms.saturating_add(running)
    }

    /// Lets it run; nothing changes when it does.
    pub fn run(&mut self, now: Time) {
        self.running_since = self.running_since.or(Some(now));
    }

    /// Stops it; nothing changes when it stands.
    pub fn freeze(&mut self, now: Time) {
        *self = StageClock { banked_ms: self.elapsed_ms(now), running_since: None };
    }

    /// When it will show `total_ms`; `None` while it stands before that.
    #[must_use]
    pub fn reaches(&self, total_ms: u64) -> Option<Time> {
        self.running_since.map(|since| since.after_ms(total_ms.saturating_sub(self.banked_ms)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frozen_clock_keeps_what_it_counted() {
        let mut clock = StageClock::default();
        clock.run(Time(100));
        clock.run(Time(150));
        assert_eq!(clock.elapsed_ms(Time(160)), 60);
        clock.freeze(Time(160));
        clock.freeze(Time(900));
        assert_eq!((clock.elapsed_ms(Time(1000)), clock.reaches(100)), (60, None));
        clock.run(Time(1000));
        assert_eq!(clock.reaches(100), Some(Time(1040)));
    }

    #[test]
    fn a_clock_set_back_counts_nothing() {
        let mut clock = StageClock::default();
        clock.run(Time(100));
        assert_eq!(clock.elapsed_ms(Time(50)), 0);
    }
}
