//! Folds what devices say into a compact index, one fleet for each namespace. No IO and no clock.
//!
//! A message changes what is known of its own device only. The newest wins, so that lost, repeated, re-ordered and
//! late messages change nothing; what cannot be read is counted, named in a bounded sample and harms nobody else.

pub mod device;
pub mod fleet;
pub mod intern;
pub mod malformed;
pub mod merged;
pub mod view;
pub mod windows;

use std::collections::BTreeMap;

use modelfleet_protocol::ids::{DeviceId, ModelName, Namespace};
use modelfleet_protocol::presence::Presence;
use modelfleet_protocol::report;
use modelfleet_protocol::state::DeviceState;
use modelfleet_protocol::time::Time;
use modelfleet_protocol::topic::{Channel, Topic};

pub use fleet::Fleet;
pub use malformed::Malformed;

/// Most bytes of a presence message.
const PRESENCE_BYTES_MAX: usize = 1024;

/// All fleets.
#[derive(Debug)]
pub struct Index {
    fleets: BTreeMap<Namespace, Fleet>,
    /// What could not be read.
    pub malformed: Malformed,
    devices: usize,
    devices_max: usize,
}

/// What a message changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing: older than what is known, or unreadable.
    Nothing,
    /// What is known of one model.
    Model(Namespace, ModelName),
    /// What is known of a whole device.
    Device(Namespace),
}

impl Index {
    /// An index of at most `devices_max` devices; further ones are refused and counted as malformed.
    #[must_use]
    pub fn new(devices_max: usize) -> Index {
        Index { fleets: BTreeMap::new(), malformed: Malformed::default(), devices: 0, devices_max }
    }

    /// How many devices are known.
    #[must_use]
    pub fn devices(&self) -> usize {
        self.devices
    }

    /// The devices of a namespace.
    #[must_use]
    pub fn fleet(&self, namespace: &Namespace) -> Option<&Fleet> {
        self.fleets.get(namespace)
    }

    /// The devices of a namespace, made if it has none yet.
    pub fn fleet_mut(&mut self, namespace: &Namespace) -> &mut Fleet {
        self.fleets.entry(namespace.clone()).or_default()
    }

    /// Folds a device's message. `retained`: it lay at the broker before we connected. Plans and overrides are not
    /// for the index and change nothing.
    pub fn fold(&mut self, topic: &str, payload: &[u8], retained: bool, now: Time) -> Change {
        match self.try_fold(topic, payload, retained, now) {
            Ok(change) => change,
            Err(reason) => {
                self.malformed.note(topic, &reason);
                Change::Nothing
            }
        }
    }

    fn try_fold(&mut self, topic: &str, payload: &[u8], retained: bool, now: Time) -> Result<Change, String> {
        let Topic { namespace, channel } = Topic::parse(topic).map_err(|e| crate::error::chain(&e))?;
        match channel {
            Channel::Plan(_) | Channel::Override(_) => Ok(Change::Nothing),
            Channel::State(device) if payload.is_empty() => {
                let gone = self.fleets.get_mut(&namespace).is_some_and(|fleet| fleet.remove(&device));
                self.devices -= usize::from(gone);
                Ok(if gone { Change::Device(namespace) } else { Change::Nothing })
            }
            Channel::State(device) => {
                let state = DeviceState::from_json(&device, payload).map_err(|e| crate::error::chain(&e))?;
                let fleet = self.admit(&namespace, &device)?;
                fleet.note_heard(if retained { now.min(state.at) } else { now });
                let changed = fleet.take_state(&device, state);
                Ok(if changed { Change::Device(namespace) } else { Change::Nothing })
            }
            Channel::Presence(_) | Channel::Report(..) if payload.is_empty() => Ok(Change::Nothing),
            Channel::Presence(device) => {
                if payload.len() > PRESENCE_BYTES_MAX {
                    return Err(format!("presence has {} bytes", payload.len()));
                }
                let presence: Presence =
                    serde_json::from_slice(payload).map_err(|e| format!("presence is not readable: {e}"))?;
                let changed = self.admit(&namespace, &device)?.take_presence(&device, presence);
                Ok(if changed { Change::Device(namespace) } else { Change::Nothing })
            }
            Channel::Report(device, model) => {
                let report = report::read(&namespace, &device, &model, payload)
                    .map_err(|e| crate::error::chain(&e))?;
                let heard = if retained { now.min(Time(report.sent_at_ms)) } else { now };
                let fleet = self.admit(&namespace, &device)?;
                fleet.note_heard(heard);
                let changed = fleet.take_report(&device, &model, &report, heard)?;
                Ok(if changed { Change::Model(namespace, model) } else { Change::Nothing })
            }
        }
    }

    fn admit(&mut self, namespace: &Namespace, device: &DeviceId) -> Result<&mut Fleet, String> {
        let known = self.fleets.get(namespace).is_some_and(|fleet| fleet.knows(device));
        if !known && self.devices >= self.devices_max {
            return Err(format!("more than {} devices", self.devices_max));
        }
        self.devices += usize::from(!known);
        let fleet = self.fleets.entry(namespace.clone()).or_default();
        if !known {
            fleet.add(device.clone());
        }
        Ok(fleet)
    }
}

#[cfg(test)]
mod tests;
