//! Online or offline, since when. Apart from the state, which a stale last will would overwrite.

use serde::{Deserialize, Serialize};

use crate::time::Time;

/// Whether a device is connected. The last will carries `online: false` with the `since` of the connection it
/// ends, so that a will that arrives after the next connect is older than what it would replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Presence {
    /// Connected or not.
    pub online: bool,
    /// Device clock at the connect that this speaks of.
    pub since: Time,
    /// Counts the device's connects; a presence of a smaller one is stale.
    pub connection: u64,
    /// Drawn anew at each start of the agent, so that two devices with one id are told from one; 0: not told.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub instance: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Presence {
    /// Whether this presence replaces `seen`: a newer connection, or the end of the same one.
    #[must_use]
    pub fn replaces(&self, seen: &Presence) -> bool {
        self.connection > seen.connection || (self.connection == seen.connection && !self.online)
    }
}
