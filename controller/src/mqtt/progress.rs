//! Whether anything of ours still comes back from the broker. A connection may stand, and answer pings, while nothing
//! that we send goes out any more: then it is given up.

use std::time::Duration;

use tokio::time::Instant;

/// A connection has so many beats to show that it moves.
const BEATS: u32 = 6;
/// First word of a beat, a message that we send to ourselves.
const WORD: &str = "beat";

/// How one connection gets on.
#[derive(Debug)]
pub struct Progress {
    every: Duration,
    /// When something last came back.
    moved: Instant,
    next: Instant,
}

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub enum Due {
    /// This message to ourselves.
    Beat(&'static str),
    /// Nothing has come back for this long: a new connection.
    End(Duration),
}

impl Progress {
    /// A connection that begins now, with a beat so often.
    #[must_use]
    pub fn new(every: Duration, now: Instant) -> Progress {
        Progress { every, moved: now, next: now + every }
    }

    /// Something came back: a message of ours, or one of those that were retained before we subscribed.
    pub fn moved(&mut self, now: Instant) {
        self.moved = now;
    }

    /// Whether a message on our own topic is a beat.
    #[must_use]
    pub fn is_beat(payload: &[u8]) -> bool {
        payload == WORD.as_bytes()
    }

    /// When [`Progress::due`] has something.
    #[must_use]
    pub fn next(&self) -> Instant {
        self.next.min(self.ends())
    }

    /// What is due now, if anything.
    pub fn due(&mut self, now: Instant) -> Option<Due> {
        if now >= self.ends() {
            return Some(Due::End(now - self.moved));
        }
        (now >= self.next).then(|| {
            self.next = now + self.every;
            Due::Beat(WORD)
        })
    }

    fn ends(&self) -> Instant {
        self.moved + self.every * BEATS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(30);

    #[test]
    fn a_connection_beats_and_ends_when_nothing_comes_back() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut progress = Progress::new(EVERY, began);
        assert_eq!((progress.due(at(29)), progress.next()), (None, at(30)));
        assert_eq!(progress.due(at(30)), Some(Due::Beat("beat")));
        assert_eq!(progress.due(at(31)), None, "one at a time");
        progress.moved(at(32));
        assert_eq!(progress.due(at(180)), Some(Due::Beat("beat")), "it moved since it began");
        assert_eq!(progress.next(), at(210));
        assert_eq!(progress.due(at(212)), Some(Due::End(EVERY * 6)));
        assert!(Progress::is_beat(b"beat") && !Progress::is_beat(b"1"));
    }
}
