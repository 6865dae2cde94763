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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use modelfleet_protocol::time::Time;
    use modelfleet_protocol::topic::Channel;
    use serde_json::json;

    use super::*;
    use crate::managed::Source;
    use crate::{FleetIndex, Room};

    #[test]
    fn devices_are_counted_by_the_document_that_they_say_they_hold() {
        let mut index = FleetIndex::new("plant".parse().unwrap(), Arc::new(Room::new(99)), 99);
        index.note(&"m".parse().unwrap(), Source::Plan);
        let mut tell = |device: &str, sequence: u64, trust: Option<u64>, online: bool| {
            let mut state = json!({ "device": device, "sequence": sequence, "at": sequence, "agent": "t" });
            if let Some(version) = trust {
                state["trustVersion"] = version.into();
            }
            let id = || device.parse().unwrap();
            index.fold(&Channel::State(id()), state.to_string().as_bytes(), false, Time(9));
            let presence = json!({ "online": online, "since": 1, "connection": sequence, "instance": 7 });
            index.fold(&Channel::Presence(id()), presence.to_string().as_bytes(), false, Time(9));
            index.fleet()
        };
        for (device, trust) in [("a", Some(3)), ("b", Some(2)), ("c", Some(9)), ("d", Some(0)), ("e", None)] {
            tell(device, 1, trust, true);
        }
        let fleet = tell("f", 1, Some(3), false);
        let one = Counts { current: 1, earlier: 1, later: 1, none: 1, without_roots: 1 };
        let away = Counts { current: 1, ..Counts::default() };
        assert_eq!(fleet.trust_held(3), TrustHeld { connected: one, away, latest: 9 });
        assert_eq!((one.total(), one.behind()), (5, 2));
        // A device that follows is counted anew, and one that lost its root keys too.
        tell("b", 2, Some(3), true);
        let fleet = tell("a", 2, None, true);
        let after = Counts { current: 1, earlier: 0, later: 1, none: 1, without_roots: 2 };
        assert_eq!(fleet.trust_held(3).connected, after);
    }
}
