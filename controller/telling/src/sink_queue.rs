//! What waits for one sink, in order, and when the first of it is sent.

use std::collections::VecDeque;

use modelfleet_protocol::time::Time;

use crate::answer::Answer;
use crate::breaker::Breaker;

/// Most that waits for one sink; the oldest goes for the newest.
pub const WAITING_MAX: usize = 1_024;

/// What to do for a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next<T> {
    /// Nothing waits.
    Idle,
    /// Nothing is sent before this moment.
    Wait(Time),
    /// Send this, and say what came of it.
    Send(T),
    /// The sink wants nothing any more.
    Stopped,
}

/// What became of the event that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent<T> {
    /// The sink has it.
    Delivered(T),
    /// It is passed over: the sink has read it and will not have it.
    Refused(T),
    /// It is sent again later.
    Again,
    /// The sink wants nothing any more; all that waited is given up.
    Stopped(Vec<T>),
}

/// What waits for one sink. One event is on the way at a time, so that they arrive in order.
#[derive(Clone, Debug)]
pub struct SinkQueue<T> {
    waiting: VecDeque<T>,
    breaker: Breaker,
    /// The first one is on the way.
    sending: bool,
    stopped: bool,
    dropped: u64,
}

impl<T> Default for SinkQueue<T> {
    fn default() -> SinkQueue<T> {
        SinkQueue {
            waiting: VecDeque::new(),
            breaker: Breaker::default(),
            sending: false,
            stopped: false,
            dropped: 0,
        }
    }
}

impl<T: Clone> SinkQueue<T> {
    /// Puts an event behind the others. Returns the one that gives way where there is no room: the oldest that is not on the
    /// way, or the new one where the sink wants nothing any more.
    pub fn offer(&mut self, event: T) -> Option<T> {
        if self.stopped {
            self.dropped += 1;
            return Some(event);
        }
        self.waiting.push_back(event);
        if self.waiting.len() <= WAITING_MAX {
            return None;
        }
        self.dropped += 1;
        self.waiting.remove(usize::from(self.sending))
    }

    /// What to do now. After [`Next::Send`] nothing is sent until [`SinkQueue::done`].
    pub fn next(&mut self, now: Time) -> Next<T> {
        if self.stopped {
            return Next::Stopped;
        }
        let Some(first) = self.waiting.front().filter(|_| !self.sending) else { return Next::Idle };
        if let Some(until) = self.breaker.closed_until(now) {
            return Next::Wait(until);
        }
        self.sending = true;
        Next::Send(first.clone())
    }

    /// Notes what came of the event on the way.
    pub fn done(&mut self, answer: Answer, now: Time, chance: f64) -> Sent<T> {
        self.sending = false;
        match answer {
            Answer::Taken | Answer::Refused => {
                // A sink that refuses one event has read it: it is well.
                self.breaker.note_success();
                match self.waiting.pop_front() {
                    Some(event) if answer == Answer::Taken => Sent::Delivered(event),
                    Some(event) => Sent::Refused(event),
                    None => Sent::Again,
                }
            }
            Answer::Gone => {
                self.stopped = true;
                self.dropped += self.waiting.len() as u64;
                Sent::Stopped(self.waiting.drain(..).collect())
            }
            Answer::Later(asked_ms) => {
                self.breaker.note_failure(asked_ms, now, chance);
                Sent::Again
            }
        }
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many were given up, because there was no room or the sink wants nothing any more.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether the sink counts as dead.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.breaker.is_open()
    }

    /// Whether the sink wants nothing any more.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Failures in a row.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.breaker.failures()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_go_one_by_one_and_in_order() {
        let mut queue = SinkQueue::default();
        assert_eq!(queue.next(Time(0)), Next::Idle);
        for event in 1..=3 {
            assert_eq!(queue.offer(event), None);
        }
        assert_eq!(queue.next(Time(0)), Next::Send(1));
        assert_eq!(queue.next(Time(0)), Next::Idle, "one is on the way");
        assert_eq!(queue.done(Answer::Taken, Time(0), 0.5), Sent::Delivered(1));
        assert_eq!(queue.next(Time(0)), Next::Send(2));
        assert_eq!(queue.done(Answer::Later(None), Time(0), 1.0), Sent::Again);
        assert_eq!(queue.next(Time(999)), Next::Wait(Time(1_000)));
        assert_eq!(queue.next(Time(1_000)), Next::Send(2), "the one that failed, not the next");
        assert_eq!(queue.done(Answer::Refused, Time(1_000), 0.5), Sent::Refused(2));
        assert_eq!(queue.next(Time(1_000)), Next::Send(3), "what is refused keeps no other waiting");
    }

    #[test]
    fn the_oldest_gives_way_and_never_the_one_on_the_way() {
        let mut queue = SinkQueue::default();
        for event in 0..WAITING_MAX {
            assert_eq!(queue.offer(event), None);
        }
        assert_eq!(queue.offer(WAITING_MAX), Some(0));
        assert_eq!(queue.next(Time(0)), Next::Send(1));
        assert_eq!(queue.offer(WAITING_MAX + 1), Some(2));
        assert_eq!((queue.waiting(), queue.dropped()), (WAITING_MAX, 2));
        assert_eq!(queue.done(Answer::Taken, Time(0), 0.5), Sent::Delivered(1));
        assert_eq!(queue.next(Time(0)), Next::Send(3));
    }

    #[test]
    fn a_sink_that_is_gone_is_never_asked_again() {
        let mut queue = SinkQueue::default();
        queue.offer(1);
        queue.offer(2);
        assert_eq!(queue.next(Time(0)), Next::Send(1));
        assert_eq!(queue.done(Answer::Gone, Time(0), 0.5), Sent::Stopped(vec![1, 2]));
        assert_eq!((queue.next(Time(u64::MAX)), queue.dropped()), (Next::Stopped, 2));
        assert_eq!((queue.offer(3), queue.waiting(), queue.dropped()), (Some(3), 0, 3));
    }

    /// A year of virtual time with a sink that is dead for the second half of each hour: nothing is lost but what had no room,
    /// all that arrives is in order, and a dead sink is asked seldom.
    #[test]
    fn a_year_with_a_sink_that_comes_and_goes() {
        const HOUR_MS: u64 = 3_600_000;
        let mut queue = SinkQueue::default();
        let (mut now, mut offered, mut lost, mut asked_dead) = (0_u64, 0_u64, Vec::new(), 0_u64);
        let (mut delivered, mut hours) = (Vec::new(), 0_u64);
        while now < 365 * 24 * HOUR_MS {
            if now >= hours * HOUR_MS {
                hours += 1;
                for _ in 0..20 {
                    lost.extend(queue.offer(offered));
                    offered += 1;
                }
            }
            match queue.next(Time(now)) {
                Next::Send(_) => {
                    let dead = now % HOUR_MS >= HOUR_MS / 2;
                    asked_dead += u64::from(dead);
                    let answer = if dead { Answer::Later(None) } else { Answer::Taken };
                    if let Sent::Delivered(event) = queue.done(answer, Time(now), 0.3) {
                        delivered.push(event);
                    }
                    now += 120_000;
                }
                Next::Wait(until) => now = until.0.min(hours * HOUR_MS),
                Next::Idle => now = hours * HOUR_MS,
                Next::Stopped => unreachable!("it never says that it is gone"),
            }
        }
        assert!(delivered.is_sorted(), "in order");
        assert_eq!(delivered.len() + lost.len() + queue.waiting(), usize::try_from(offered).unwrap());
        assert_eq!(lost.len() as u64, queue.dropped());
        assert!(delivered.len() > 100_000, "{} delivered", delivered.len());
        assert!(asked_dead < hours * 12, "{asked_dead} tries of a dead sink in {hours} hours");
    }
}
