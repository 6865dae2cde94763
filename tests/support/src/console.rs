//! A client with the controller's rights: it sees everything that is retained, and writes plans.

#![allow(clippy::unwrap_used, reason = "a test may end where it stands")]
#![allow(clippy::missing_panics_doc, reason = "what devices do not do in time ends the test")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use modelfleet_protocol::generated::Report;
use modelfleet_protocol::ids::DeviceId;
use modelfleet_protocol::plan::Plan;
use modelfleet_protocol::presence::Presence;
use modelfleet_protocol::state::{DeviceState, ModelState, Phase};
use modelfleet_protocol::topic::{Channel, Topic};
use prost::Message as _;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{Client, Event, MqttOptions};

use crate::broker::{Broker, CONTROLLER_USER};
use crate::pump_plan::{MODEL, NAMESPACE, sealed};
use crate::wait::{LIMIT, until};

type Seen = Arc<Mutex<HashMap<String, Vec<u8>>>>;

/// Sees what is retained in the fleet of [`crate::pump_plan`] and writes plans, as a controller does.
pub struct Console {
    client: Client,
    seen: Seen,
}

impl std::fmt::Debug for Console {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Console").finish_non_exhaustive()
    }
}

impl Console {
    /// Connects, and again whenever the broker was away.
    #[must_use]
    pub fn connect(broker: &Broker) -> Console {
        let mut options = MqttOptions::new("console", "127.0.0.1", broker.port());
        options.set_credentials(CONTROLLER_USER, broker.password(CONTROLLER_USER).unwrap());
        options.set_max_packet_size(Some(1024 * 1024));
        options.set_outgoing_inflight_upper_limit(16);
        let (client, mut connection) = Client::new(options, 16);
        let seen = Seen::default();
        let (into, again) = (seen.clone(), client.clone());
        std::thread::spawn(move || {
            for event in connection.iter() {
                match event {
                    Ok(Event::Incoming(Packet::ConnAck(_))) => {
                        again.try_subscribe("mf/1/#", QoS::AtLeastOnce).unwrap();
                    }
                    Ok(Event::Incoming(Packet::Publish(message))) => {
                        let topic = String::from_utf8(message.topic.to_vec()).unwrap();
                        into.lock().unwrap().insert(topic, message.payload.to_vec());
                    }
                    Ok(_) => {}
                    // The broker is restarted by some tests.
                    Err(_) => std::thread::sleep(Duration::from_millis(50)),
                }
            }
        });
        Console { client, seen }
    }

    /// Publishes a retained message.
    pub fn publish(&self, channel: Channel, payload: Vec<u8>) {
        let topic = Topic { namespace: NAMESPACE.parse().unwrap(), channel }.name();
        self.client.publish(topic, QoS::AtLeastOnce, true, payload).unwrap();
    }

    /// Publishes a plan, signed.
    pub fn publish_plan(&self, plan: &Plan) {
        self.publish(Channel::Plan(plan.model.clone()), sealed(plan));
    }

    fn get(&self, channel: Channel) -> Option<Vec<u8>> {
        let topic = Topic { namespace: NAMESPACE.parse().unwrap(), channel }.name();
        self.seen.lock().unwrap().get(&topic).cloned()
    }

    /// What a device last said of itself.
    #[must_use]
    pub fn state(&self, device: &DeviceId) -> Option<DeviceState> {
        DeviceState::from_json(device, &self.get(Channel::State(device.clone()))?).ok()
    }

    /// Whether a device is online.
    #[must_use]
    pub fn presence(&self, device: &DeviceId) -> Option<Presence> {
        serde_json::from_slice(&self.get(Channel::Presence(device.clone()))?).ok()
    }

    /// What a device last reported.
    #[must_use]
    pub fn report(&self, device: &DeviceId) -> Option<Report> {
        Report::decode(&*self.get(Channel::Report(device.clone(), MODEL.parse().unwrap()))?).ok()
    }

    /// Waits until the device says this of its model.
    pub fn wait_model(
        &self,
        device: &DeviceId,
        what: &str,
        good: impl Fn(&ModelState) -> bool,
    ) -> ModelState {
        let model = MODEL.parse().unwrap();
        let found = until(what, LIMIT, || {
            let state = self.state(device);
            let found = state.as_ref().and_then(|state| state.model(&model)).filter(|m| good(m)).cloned();
            found.ok_or_else(|| format!("{state:#?}"))
        });
        found.unwrap_or_else(|late| panic!("{late}"))
    }

    /// Waits until the attempt has come to this phase.
    pub fn wait_phase(&self, device: &DeviceId, rollout: &str, phase: Phase) -> ModelState {
        self.wait_model(device, &format!("{rollout} to be {phase:?}"), |m| {
            m.candidate.as_ref().is_some_and(|c| c.rollout == rollout && c.phase == phase)
        })
    }
}
