//! One alarm, whatever is behind it.

use serde::{Deserialize, Serialize};

use crate::stream::Stream;

/// Most streams that an alarm names.
pub const CAUSES_MAX: usize = 8;

/// How a stream was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Found {
    /// More is bad than is allowed.
    #[serde(rename = "l")]
    Level,
    /// It differs from the days before.
    #[serde(rename = "c")]
    Change,
    /// A detector of the spec calls, without a promise.
    #[serde(rename = "n")]
    Named,
}

/// One stream of an alarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Which.
    pub stream: Stream,
    /// How it was found.
    pub found: Found,
}

/// An alarm. While it lasts, whatever else is found belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// The window that raised it.
    pub window: u64,
    /// What shows it, what explains most first: groups of devices before the whole fleet.
    pub causes: Vec<Cause>,
    /// What kind of thing it is, one CamelCase word, and what and where, with numbers: of the moment in which it was raised.
    /// Empty until the caller has put it into words.
    pub words: (String, String),
    /// Windows in a row, up to now, in which none of the causes was off.
    pub quiet: u32,
}
