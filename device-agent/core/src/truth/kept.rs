//! What is kept of one prediction.

use std::collections::VecDeque;

/// What is kept of one prediction, 40 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// Key of its id; 0: it has none, and only a span can be about it.
    pub key: u64,
    /// Grows with every prediction.
    pub sequence: u64,
    /// Its window.
    pub index: u64,
    /// The answer: the key of a class, or the bits of a number.
    pub value: u64,
    /// Number of the build.
    pub build: u8,
    /// What is known of it.
    pub flags: u8,
}

/// The answer, as it is kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Given {
    Nothing,
    Class(u64),
    Number(f64),
}

const DECIDED: u8 = 1;
const POSITIVE: u8 = 2;
const CLASS: u8 = 4;
const NUMBER: u8 = 8;

impl Given {
    pub fn is_nothing(self) -> bool {
        self == Given::Nothing
    }

    pub fn value(self) -> u64 {
        match self {
            Given::Nothing => 0,
            Given::Class(class) => class,
            Given::Number(number) => number.to_bits(),
        }
    }
}

pub(super) fn flags(positive: Option<bool>, given: Given) -> u8 {
    let decided = positive.map_or(0, |positive| if positive { DECIDED | POSITIVE } else { DECIDED });
    decided
        | match given {
            Given::Nothing => 0,
            Given::Class(_) => CLASS,
            Given::Number(_) => NUMBER,
        }
}

impl Kept {
    /// Whether it was an alarm, if the build says how to read that.
    pub fn positive(&self) -> Option<bool> {
        (self.flags & DECIDED > 0).then_some(self.flags & POSITIVE > 0)
    }

    pub fn is_alarm(&self) -> bool {
        self.positive() == Some(true)
    }

    pub fn given(&self) -> Given {
        match self.flags & (CLASS | NUMBER) {
            CLASS => Given::Class(self.value),
            NUMBER => Given::Number(f64::from_bits(self.value)),
            _ => Given::Nothing,
        }
    }
}

/// Predictions in the order in which they were made.
pub(super) type Queue = VecDeque<Kept>;

/// The prediction of this number.
pub(super) fn numbered(queue: &Queue, sequence: u64) -> Option<&Kept> {
    let at = queue.partition_point(|kept| kept.sequence < sequence);
    queue.get(at).filter(|kept| kept.sequence == sequence)
}
