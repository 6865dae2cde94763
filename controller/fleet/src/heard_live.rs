//! Which devices have spoken since we connected: what they had retained before may come behind it.
//!
//! A device that has lost its record counts its connects and states from one again, and its clock alone tells the new message
//! from the old. When the old one, which the broker sent for our subscription, comes behind the new one, its count is higher and
//! its clock is behind: the same as for a device whose clock was set back. What was heard live decides: on one connection a
//! broker never sends a retained message that is newer than a live one of the same topic.

use std::collections::BTreeSet;

use modelfleet_protocol::time::Time;

use crate::shards::{Hashed, IdHash};

/// Most messages that are remembered; behind further ones an old retained message counts until the device speaks again.
const REMEMBERED_MAX: usize = 65_536;

/// What a device has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Said {
    Presence,
    State,
}

/// What was heard live on this connection.
#[derive(Debug, Default)]
pub(crate) struct HeardLive(BTreeSet<(IdHash, Said)>);

impl HeardLive {
    /// A message has come live, and counts.
    pub(crate) fn note(&mut self, device: Hashed<'_>, said: Said) {
        if self.0.len() < REMEMBERED_MAX {
            self.0.insert((device.number(), said));
        }
    }

    /// Whether a retained message that was said at `at` is older than what counts, which was said at `kept`; both by the
    /// device's clock.
    pub(crate) fn outdates(&self, device: Hashed<'_>, said: Said, kept: Option<Time>, at: Time) -> bool {
        kept.is_some_and(|kept| at < kept) && self.0.contains(&(device.number(), said))
    }

    /// The connection is new: what is retained may be newer than all that was heard.
    pub(crate) fn reconnect(&mut self) {
        self.0.clear();
    }
}
