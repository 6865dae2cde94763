//! What is read of the fleet in one closed window.

use crate::stream::Stream;

/// Millionths in the whole.
const WHOLE_PPM: u64 = 1_000_000;

/// How much is bad, of how much, and which share may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Bad ones.
    pub bad: u64,
    /// All that are known.
    pub known: u64,
    /// Share that may be bad, millionths.
    pub allowed_ppm: u32,
}

impl Share {
    /// The bad share in millionths; `None` where nothing is known.
    #[must_use]
    pub fn ppm(&self) -> Option<u32> {
        let share = self.bad.min(self.known).saturating_mul(WHOLE_PPM).checked_div(self.known)?;
        u32::try_from(share).ok()
    }
}

/// What one stream shows in a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Which.
    pub stream: Stream,
    /// For the levels: what is bad against what may be.
    pub level: Option<Share>,
    /// For the changes: a number from 0 to 1 000 000 whose mean over a day is compared with the days before.
    pub position_ppm: Option<u32>,
    /// A difference of the position that does not matter in practice, millionths.
    pub small_ppm: u32,
}

/// One closed window of the fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowReading {
    /// Its number: the time of its start over its length.
    pub index: u64,
    /// What was seen, each stream at most once.
    pub seen: Vec<Seen>,
}

/// Where the difference of two shares lies, as a position from 0 to 1 000 000: half of it where they are equal.
#[must_use]
pub fn share_difference(with_ppm: u32, without_ppm: u32) -> u32 {
    let with = with_ppm.min(1_000_000);
    (with + 1_000_000 - without_ppm.min(1_000_000)) / 2
}
