//! How many devices hold which trust document: a rotation of keys is done when all that can be reached hold the newest.

use crate::fleet::Fleet;
use crate::intern::NONE;

/// Devices by the trust document that they hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The one that counts.
    pub current: u64,
    /// An earlier one.
    pub earlier: u64,
    /// A later one, which this controller does not know.
    pub later: u64,
    /// None yet, although they have root keys.
    pub none: u64,
    /// They were set up without root keys: no document reaches them.
    pub without_roots: u64,
}

/// The same for devices that are connected, and for those that are not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrustHeld {
    /// Connected devices.
    pub connected: Counts,
    /// Devices that are away. They tell when they are back.
    pub away: Counts,
    /// The latest version that any device says it holds.
    pub latest: u64,
}

impl Counts {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.current + self.earlier + self.later + self.none + self.without_roots
    }

    /// Those that still follow keys of before.
    #[must_use]
    pub fn behind(&self) -> u64 {
        self.earlier + self.none
    }
}

impl Fleet {
    /// How many devices hold the trust document of this version. Looks at all devices.
    #[must_use]
    pub fn trust_held(&self, version: u64) -> TrustHeld {
        let mut held = TrustHeld::default();
        for (_, device) in self.devices.devices().filter(|(_, device)| device.labels != NONE) {
            let counts = match device.presence {
                Some(presence) if presence.online => &mut held.connected,
                _ => &mut held.away,
            };
            let told = self.texts.trust.get(device.trust).copied();
            held.latest = held.latest.max(told.unwrap_or(0));
            *match told {
                None => &mut counts.without_roots,
                Some(0) => &mut counts.none,
                Some(told) if told < version => &mut counts.earlier,
                Some(told) if told > version => &mut counts.later,
                Some(_) => &mut counts.current,
            } += 1;
        }
        held
    }
}
