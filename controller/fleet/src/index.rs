//! Several fleets in one place, for one thread: what the controller has behind a lock for each.

use std::collections::BTreeMap;
use std::sync::Arc;

use modelfleet_protocol::causes::with_causes;
use modelfleet_protocol::ids::Namespace;
use modelfleet_protocol::time::Time;
use modelfleet_protocol::topic::Topic;

use crate::fleet::Fleet;
use crate::fleet_index::{Change, FleetIndex};
use crate::ledger::Key;
use crate::malformed::Malformed;
use crate::managed::Source;
use crate::room::Room;

/// The fleets that have a managed model. Of any other nothing is kept.
#[derive(Debug)]
pub struct Index {
    fleets: BTreeMap<Namespace, FleetIndex>,
    /// What could not be read.
    pub malformed: Malformed,
    room: Arc<Room>,
    fleet_max: usize,
}

impl Index {
    /// An index of at most `devices_max` devices; further ones are refused and counted as malformed.
    #[must_use]
    pub fn new(devices_max: usize) -> Index {
        Index {
            fleets: BTreeMap::new(),
            malformed: Malformed::default(),
            room: Arc::new(Room::new(devices_max)),
            fleet_max: devices_max,
        }
    }

    /// The same, of at most `fleet_max` devices in any fleet: one fleet cannot take the room of all.
    #[must_use]
    pub fn with_fleet_max(self, fleet_max: usize) -> Index {
        Index { fleet_max, ..self }
    }

    /// How many devices are known.
    #[must_use]
    pub fn devices(&self) -> usize {
        self.room.taken()
    }

    /// `source` names a model. Returns whether its fleet is new: then what its devices have retained is still to be heard.
    pub fn note(&mut self, key: &Key, source: Source) -> bool {
        let (namespace, model) = key;
        let fresh = || FleetIndex::new(namespace.clone(), Arc::clone(&self.room), self.fleet_max);
        self.fleets.entry(namespace.clone()).or_insert_with(fresh).note(model, source)
    }

    /// `source` names a model no more. What nothing names is let go; returns whether that is the whole fleet.
    pub fn forget(&mut self, key: &Key, source: &Source) -> bool {
        let gone = self.fleets.get_mut(&key.0).is_some_and(|fleet| fleet.forget(&key.1, source));
        if gone {
            self.fleets.remove(&key.0);
        }
        gone
    }

    /// The devices of a namespace as they are now.
    #[must_use]
    pub fn fleet(&self, namespace: &Namespace) -> Option<Fleet> {
        self.fleets.get(namespace).map(FleetIndex::fleet)
    }

    /// The devices of a namespace, to keep report samples of; `None` where there is no such fleet.
    pub fn fleet_mut(&mut self, namespace: &Namespace) -> Option<&mut FleetIndex> {
        self.fleets.get_mut(namespace)
    }

    /// All that the devices of a fleet had retained has arrived.
    pub fn complete(&mut self, namespace: &Namespace, now: Time) {
        if let Some(fleet) = self.fleets.get_mut(namespace) {
            fleet.complete(now);
        }
    }

    /// The connection is new: nothing that devices have retained counts as heard.
    pub fn reconnect(&mut self) {
        self.fleets.values_mut().for_each(FleetIndex::reconnect);
    }

    /// Folds a device's message, as [`FleetIndex::fold`] does. One about a fleet without managed models changes nothing.
    pub fn fold(&mut self, topic: &str, payload: &[u8], retained: bool, now: Time) -> Change {
        let parsed = match Topic::parse(topic) {
            Ok(parsed) => parsed,
            Err(error) => {
                self.malformed.note(topic, &with_causes(&error));
                return Change::Nothing;
            }
        };
        let Some(fleet) = self.fleets.get_mut(&parsed.namespace) else { return Change::Nothing };
        let folded = fleet.fold(&parsed.channel, payload, retained, now);
        if let Some(problem) = &folded.problem {
            self.malformed.note(topic, problem);
        }
        folded.change
    }
}

#[cfg(test)]
mod bounds_tests;
#[cfg(test)]
mod copies_tests;
#[cfg(test)]
mod future_windows_tests;
#[cfg(test)]
mod retired_tests;
#[cfg(test)]
mod tests;
