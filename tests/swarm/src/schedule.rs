//! Virtual time: what is to happen, in the order in which it happens. Two things at one moment keep the order in which
//! they were planned, so that a seed always plays alike.

use std::collections::BTreeMap;

use modelfleet_protocol::time::Time;

/// What is to happen, and when.
#[derive(Debug)]
pub struct Schedule<E> {
    now: Time,
    planned: BTreeMap<(Time, u64), E>,
    next: u64,
}

impl<E> Schedule<E> {
    /// Nothing is planned yet.
    #[must_use]
    pub fn starting_at(now: Time) -> Schedule<E> {
        Schedule { now, planned: BTreeMap::new(), next: 0 }
    }

    /// The moment of what happened last.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// Plans an event; one in the past happens next.
    pub fn at(&mut self, when: Time, event: E) {
        let key = (when.max(self.now), self.next);
        self.next += 1;
        self.planned.insert(key, event);
    }

    /// Plans an event in so many milliseconds.
    pub fn in_ms(&mut self, wait_ms: u64, event: E) {
        self.at(self.now.after_ms(wait_ms), event);
    }

    /// The next event up to `end`; the clock moves to it, or to `end` when there is none.
    pub fn next(&mut self, end: Time) -> Option<E> {
        let first = self.planned.first_entry().filter(|first| first.key().0 <= end);
        match first {
            Some(first) => {
                self.now = first.key().0;
                Some(first.remove())
            }
            None => {
                self.now = end.max(self.now);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_the_order_of_time_and_then_of_planning() {
        let mut schedule = Schedule::starting_at(Time(10));
        schedule.at(Time(30), "late");
        schedule.at(Time(20), "first");
        schedule.at(Time(20), "second");
        schedule.at(Time(1), "past");
        let played: Vec<(Time, &str)> =
            std::iter::from_fn(|| schedule.next(Time(25)).map(|event| (schedule.now(), event))).collect();
        assert_eq!(played, [(Time(10), "past"), (Time(20), "first"), (Time(20), "second")]);
        assert_eq!(schedule.now(), Time(25));
        assert_eq!(schedule.next(Time(99)), Some("late"));
    }
}
