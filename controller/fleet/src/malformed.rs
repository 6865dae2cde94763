//! Messages that cannot be read: counted, and named in a bounded sample.

use std::collections::VecDeque;

use serde::Serialize;

/// Most messages that are named.
pub const SAMPLE_MAX: usize = 16;
const TEXT_MAX: usize = 200;

/// One message that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Named {
    /// Its topic, at most 200 characters.
    pub topic: String,
    /// What is wrong with it.
    pub reason: String,
    /// How often the topic has carried something unreadable while it is in the sample.
    pub times: u64,
}

/// What came in unreadable.
#[derive(Debug, Default)]
pub struct Malformed {
    total: u64,
    sample: VecDeque<Named>,
}

impl Malformed {
    /// Counts a message and names it; the oldest name makes room.
    pub fn note(&mut self, topic: &str, reason: &str) {
        self.total += 1;
        let shortened = |text: &str| text.chars().take(TEXT_MAX).collect::<String>();
        let topic = shortened(topic);
        if let Some(known) = self.sample.iter_mut().find(|named| named.topic == topic) {
            known.times += 1;
            known.reason = shortened(reason);
            return;
        }
        if self.sample.len() == SAMPLE_MAX {
            self.sample.pop_front();
        }
        self.sample.push_back(Named { topic, reason: shortened(reason), times: 1 });
    }

    /// All of them since the start.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The latest topics with something unreadable.
    #[must_use]
    pub fn sample(&self) -> Vec<Named> {
        self.sample.iter().cloned().collect()
    }
}
