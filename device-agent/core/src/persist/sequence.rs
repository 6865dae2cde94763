//! Numbers of messages, which grow across restarts.

use serde::{Deserialize, Serialize};

/// Numbers that a sequence reserves with one write.
const RESERVED: u64 = 64;

/// Numbers that grow across restarts. A block of them is reserved with one write, so that counting does not wear the flash
/// memory. A restart goes on after the block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "u64", into = "u64")]
pub struct Sequence {
    last: u64,
    reserved: u64,
    /// The last number that the record on disk reserves.
    written: u64,
}

impl Sequence {
    /// The next number, and whether the record must be written before it is used.
    #[must_use]
    pub fn take(&mut self) -> (u64, bool) {
        self.last = self.last.saturating_add(1);
        let write = self.last > self.reserved;
        if write {
            self.reserved = self.last.saturating_add(RESERVED - 1);
        }
        (self.last, write)
    }

    /// The record with the reserved numbers is on disk.
    pub(crate) fn was_written(&mut self) {
        self.written = self.reserved;
    }

    /// The record could not be written: a restart would use the reserved numbers again.
    pub(crate) fn was_not_written(&mut self) {
        self.reserved = self.written;
    }

    /// Whether the record must be written before the next number is used.
    pub(crate) fn is_used_up(&self) -> bool {
        self.last >= self.reserved
    }

    /// The number that was taken last.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last
    }
}

impl From<u64> for Sequence {
    fn from(reserved: u64) -> Sequence {
        Sequence { last: reserved, reserved, written: reserved }
    }
}

impl From<Sequence> for u64 {
    fn from(sequence: Sequence) -> u64 {
        sequence.reserved.max(sequence.last)
    }
}
