//! One prediction, as it is counted.

use crate::truth::Answer;

/// How a prediction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The model answered.
    Answered,
    /// It ended with an error.
    Error,
    /// It ran out of time.
    Timeout,
    /// The fallback answered because the model might not.
    Fallback,
    /// No build could have answered: the request asks for what the model does not take. Counted apart.
    Refused,
}

/// One prediction.
#[derive(Clone, Copy, Debug)]
pub struct Prediction<'a> {
    /// [`key`] of the id that ground truth will name; 0: none.
    pub key: u64,
    /// Duration, nanoseconds.
    pub latency_ns: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// The model's confidence, if it gives one.
    pub confidence: Option<f64>,
    /// Whether the answer was positive (an alarm), if the build says how to read it.
    pub positive: Option<bool>,
    /// What the model answered, where it can be compared with a class or a number.
    pub answer: Answer<'a>,
    /// The elements of the first input; a missing one is NaN.
    pub features: &'a [f32],
}

/// The key of a prediction id (FNV-1a, never 0).
#[must_use]
pub fn key(id: &str) -> u64 {
    more(0xcbf2_9ce4_8422_2325, id).max(1)
}

/// The key of a row of a request: the first has the request's own, the next ones those of `id/1`, `id/2` and so on.
#[must_use]
pub fn row_key(key: u64, row: usize) -> u64 {
    if row == 0 || key == 0 { key } else { more(key, &format!("/{row}")).max(1) }
}

fn more(hash: u64, text: &str) -> u64 {
    text.bytes().fold(hash, |h: u64, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
}
