//! Folds what devices say into a compact index, one fleet for each namespace. No IO and no clock.
//!
//! A message changes what is known of its own device only. The newest wins, so that lost, repeated, re-ordered and
//! late messages change nothing; what cannot be read is counted, named in a bounded sample and harms nobody else.

use std::collections::BTreeMap;

use modelfleet_protocol::causes::with_causes;
use modelfleet_protocol::ids::{DeviceId, ModelName, Namespace};
use modelfleet_protocol::presence::Presence;
use modelfleet_protocol::report;
use modelfleet_protocol::state::{DeviceState, StateError};
use modelfleet_protocol::time::Time;
use modelfleet_protocol::topic::{Channel, Topic};

use crate::fleet::Fleet;
use crate::future_windows;
use crate::ledger::Key;
use crate::malformed::Malformed;
use crate::managed::{Gone, Managed, Source};

/// Most bytes of a presence message.
const PRESENCE_BYTES_MAX: usize = 1024;

/// All fleets that there are, as [`Managed`] has it. Of any other nothing is kept.
#[derive(Debug)]
pub struct Index {
    fleets: BTreeMap<Namespace, Fleet>,
    managed: Managed,
    /// What could not be read.
    pub malformed: Malformed,
    devices: usize,
    devices_max: usize,
    fleet_max: usize,
}

/// What a message changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing: older than what is known, unreadable, or about what nobody manages.
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
        Index {
            fleets: BTreeMap::new(),
            managed: Managed::default(),
            malformed: Malformed::default(),
            devices: 0,
            devices_max,
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
        self.devices
    }

    /// Which fleets and models there are.
    #[must_use]
    pub fn managed(&self) -> &Managed {
        &self.managed
    }

    /// Somebody names a model. Returns whether its fleet is new: then what its devices have retained is still to be
    /// heard.
    pub fn note(&mut self, key: &Key, source: Source) -> bool {
        self.managed.note(key, source);
        let fresh = !self.fleets.contains_key(&key.0);
        self.fleets.entry(key.0.clone()).or_default();
        fresh
    }

    /// Somebody names a model no more. What nobody names is let go; returns whether that is the whole fleet.
    pub fn forget(&mut self, key: &Key, source: &Source) -> bool {
        match self.managed.forget(key, source) {
            Gone::Nothing => false,
            Gone::Model => {
                if let Some(fleet) = self.fleets.get_mut(&key.0) {
                    fleet.forget_model(&key.1);
                }
                false
            }
            Gone::Fleet => {
                let gone = self.fleets.remove(&key.0);
                self.devices -= gone.map_or(0, |fleet| fleet.len());
                true
            }
        }
    }

    /// The devices of a namespace.
    #[must_use]
    pub fn fleet(&self, namespace: &Namespace) -> Option<&Fleet> {
        self.fleets.get(namespace)
    }

    /// The devices of a namespace, to keep report samples of; `None` where there is no such fleet.
    pub fn fleet_mut(&mut self, namespace: &Namespace) -> Option<&mut Fleet> {
        self.fleets.get_mut(namespace)
    }

    /// All that the devices of a fleet had retained has arrived.
    pub fn complete(&mut self, namespace: &Namespace, now: Time) {
        if let Some(fleet) = self.fleets.get_mut(namespace) {
            fleet.complete_since = Some(now);
        }
    }

    /// The connection is new: nothing that devices have retained counts as heard.
    pub fn reconnect(&mut self) {
        self.fleets.values_mut().for_each(|fleet| fleet.complete_since = None);
    }

    /// Folds a device's message. `retained`: it lay at the broker before we connected. Plans and overrides are not
    /// for the index and change nothing, and neither does a message about a fleet or a model that nobody manages.
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
        let Topic { namespace, channel } = Topic::parse(topic).map_err(|e| with_causes(&e))?;
        if !self.fleets.contains_key(&namespace) {
            return Ok(Change::Nothing);
        }
        match channel {
            Channel::Plan(_) | Channel::Override(_) => Ok(Change::Nothing),
            Channel::State(device) if payload.is_empty() => {
                let gone = self.fleets.get_mut(&namespace).is_some_and(|fleet| fleet.remove(&device));
                self.devices -= usize::from(gone);
                Ok(if gone { Change::Device(namespace) } else { Change::Nothing })
            }
            Channel::State(device) => {
                let state = match DeviceState::from_json(&device, payload) {
                    Ok(state) => state,
                    Err(error) => return self.leave_out(topic, &namespace, &device, &error),
                };
                let fleet = self.admit(&namespace, &device)?;
                fleet.note_heard(if retained { now.min(state.at) } else { now });
                let changed = fleet.take_state(&device, state);
                Ok(if changed { Change::Device(namespace) } else { Change::Nothing })
            }
            Channel::Presence(_) | Channel::Report(..) if payload.is_empty() => Ok(Change::Nothing),
            Channel::Presence(device) => {
                if payload.len() > PRESENCE_BYTES_MAX {
                    return Err(format!(
                        "presence has {} bytes, at most {PRESENCE_BYTES_MAX} are allowed",
                        payload.len()
                    ));
                }
                let presence: Presence =
                    serde_json::from_slice(payload).map_err(|e| format!("presence cannot be read: {e}"))?;
                let changed = self.admit(&namespace, &device)?.take_presence(&device, presence);
                Ok(if changed { Change::Device(namespace) } else { Change::Nothing })
            }
            Channel::Report(device, model) => {
                let named = |fleet: &Fleet| fleet.names(&device, &model);
                if !self.managed.has(&namespace, &model) && !self.fleets.get(&namespace).is_some_and(named) {
                    return Ok(Change::Nothing);
                }
                let mut report =
                    report::read(&namespace, &device, &model, payload).map_err(|e| with_causes(&e))?;
                let ahead = future_windows::take_out(&mut report, now);
                let heard = if retained { now.min(Time(report.sent_at_ms)) } else { now };
                let fleet = self.admit(&namespace, &device)?;
                fleet.note_heard(heard);
                let changed = fleet.take_report(&device, &model, &report, heard)?;
                if ahead > 0 {
                    let most = modelfleet_evidence::AHEAD_MAX;
                    let reason = format!(
                        "{ahead} windows are more than {most} windows ahead of the controller's clock and do not count \
                         yet; check the device's clock"
                    );
                    self.malformed.note(topic, &reason);
                }
                Ok(if changed { Change::Model(namespace, model) } else { Change::Nothing })
            }
        }
    }

    /// A state that cannot be taken. One that breaks a bound makes the one before worthless: by which labels the device
    /// is drawn is not known any more. What cannot be read at all says nothing, and the one before stays.
    fn leave_out(
        &mut self,
        topic: &str,
        namespace: &Namespace,
        device: &DeviceId,
        error: &StateError,
    ) -> Result<Change, String> {
        let reason = with_causes(error);
        self.malformed.note(topic, &reason);
        let beyond = matches!(error, StateError::Content(_) | StateError::Label(_));
        let heard = self.fleets.get(namespace).is_some_and(|fleet| fleet.has_told(device));
        if heard && !beyond {
            return Ok(Change::Nothing);
        }
        let changed = self.admit(namespace, device)?.leave_out(device, &reason);
        Ok(if changed { Change::Device(namespace.clone()) } else { Change::Nothing })
    }

    fn admit(&mut self, namespace: &Namespace, device: &DeviceId) -> Result<&mut Fleet, String> {
        let Some(fleet) = self.fleets.get_mut(namespace) else {
            return Err(
                "the namespace is not managed: it has no Rollout, no ModelVersion and no plan".to_owned()
            );
        };
        if !fleet.knows(device) {
            if self.devices >= self.devices_max {
                return Err(format!(
                    "the limit of {} devices is reached; raise --devices-max",
                    self.devices_max
                ));
            }
            if fleet.len() >= self.fleet_max {
                return Err(format!(
                    "the limit of {} devices of a namespace is reached; raise --fleet-devices-max",
                    self.fleet_max
                ));
            }
            self.devices += 1;
            fleet.add(device.clone());
        }
        Ok(fleet)
    }
}

#[cfg(test)]
mod bounds_tests;
#[cfg(test)]
mod future_windows_tests;
#[cfg(test)]
mod tests;
