//! The connection to the broker. No type of the MQTT library goes past this file.
//!
//! One connection after the other, each begun clean: everything on the wire is retained state, so nothing is
//! worth keeping in a session but what the outbox keeps anyway.

mod inbox;
mod outbox;
mod settings;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use modelfleet_protocol::envelope::ENVELOPE_BYTES_MAX;
use modelfleet_protocol::overrides::Override;
use modelfleet_protocol::plan::Plan;
use modelfleet_protocol::presence::Presence;
use modelfleet_protocol::report::REPORT_BYTES_MAX;
use modelfleet_protocol::topic::{Channel, Topic, device_filters};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Filter, LastWill, Packet, PubAckReason, SubscribeReasonCode};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions};
use rumqttc::{NetworkOptions, Outgoing, TlsConfiguration, Transport};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

pub use inbox::Inbox;
pub use outbox::{Item, Outbox};
pub use settings::{Backoff, Credentials, Settings, read_password};

/// Publishes that wait for the broker's acknowledgement at most.
const IN_FLIGHT_MAX: usize = 8;
/// Requests handed to the library at most: those in flight, the subscription, the disconnect.
const REQUESTS_MAX: usize = IN_FLIGHT_MAX + 8;
/// Largest packet in either direction.
const PACKET_BYTES_MAX: usize = ENVELOPE_BYTES_MAX + 1024;
/// The agent hears of the broker at most this often.
const HEARD_EVERY: Duration = Duration::from_secs(1);
/// A connection that lasted this long makes the next wait short again.
const STEADY_AFTER: Duration = Duration::from_secs(60);
/// Longest wait for the last words of a connection that is closed on purpose.
const GOODBYE: Duration = Duration::from_secs(3);

const _: () = assert!(REPORT_BYTES_MAX + 1024 <= PACKET_BYTES_MAX);

/// What the connection tells the agent.
#[derive(Debug)]
pub enum LinkEvent {
    /// It is about to connect and needs a last will.
    Connecting,
    /// The broker accepted.
    Connected,
    /// The connection is gone.
    Disconnected,
    /// The broker answered.
    Heard,
    /// A plan, opened.
    Plan(Arc<Plan>),
    /// An override, opened.
    Override(Box<Override>),
}

/// The connection of one device.
pub struct Link {
    /// Where and who.
    pub settings: Settings,
    /// What is to be published.
    pub outbox: Arc<Outbox>,
    /// Opens what arrives.
    pub inbox: Arc<Inbox>,
    /// Hears what happens.
    pub events: mpsc::Sender<LinkEvent>,
    /// Last wills, one for every [`LinkEvent::Connecting`].
    pub wills: mpsc::Receiver<Presence>,
}

enum End {
    Stopped,
    Lost(Box<dyn std::error::Error + Send + Sync>),
}

impl Link {
    /// Connects, again and again, until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut tries = 0;
        loop {
            if self.events.send(LinkEvent::Connecting).await.is_err() {
                return;
            }
            let will = tokio::select! {
                will = self.wills.recv() => will,
                () = stop.cancelled() => None,
            };
            let Some(will) = will else { return };
            let began = Instant::now();
            let end = self.connection(will, &stop).await;
            if let End::Lost(error) = end {
                if began.elapsed() > STEADY_AFTER {
                    tries = 0;
                }
                let wait = self.settings.backoff.wait(tries, rand::random());
                let device = &self.settings.device;
                info!(%device, error = %chain(&*error), wait_ms = wait.as_millis() as u64, "not connected");
                tries = tries.saturating_add(1);
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = stop.cancelled() => return,
                }
            } else {
                return;
            }
        }
    }

    fn options(&self, will: Presence) -> MqttOptions {
        let s = &self.settings;
        let mut options = MqttOptions::new(s.device.as_str(), &s.host, s.port);
        let topic = self.topic(Channel::Presence(s.device.clone()));
        let payload = serde_json::to_vec(&will).unwrap_or_default();
        options.set_last_will(LastWill::new(topic, payload, QoS::AtLeastOnce, true, None));
        options.set_keep_alive(s.keep_alive.max(Duration::from_secs(5)));
        // Nothing is kept by the broker: plans and overrides are retained and come again.
        options.set_clean_start(true).set_session_expiry_interval(Some(0));
        options.set_max_packet_size(Some(PACKET_BYTES_MAX as u32));
        options.set_outgoing_inflight_upper_limit(IN_FLIGHT_MAX as u16);
        options.set_connection_timeout(20);
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        network.set_connection_timeout(20);
        options.set_network_options(network);
        if let Some(Credentials { username, password }) = &s.credentials {
            options.set_credentials(username, password);
        }
        if let Some(tls) = &s.tls {
            options.set_transport(Transport::Tls(TlsConfiguration::Rustls(tls.clone())));
        }
        options
    }

    fn topic(&self, channel: Channel) -> String {
        Topic { namespace: self.settings.namespace.clone(), channel }.name()
    }

    fn topic_of(&self, item: &Item) -> String {
        let device = self.settings.device.clone();
        self.topic(match item {
            Item::Presence => Channel::Presence(device),
            Item::State => Channel::State(device),
            Item::Report(model) => Channel::Report(device, model.clone()),
        })
    }

    /// One connection from beginning to end.
    async fn connection(&mut self, will: Presence, stop: &CancellationToken) -> End {
        let (client, mut events) = AsyncClient::new(self.options(will), REQUESTS_MAX);
        let mut flight = Flight::default();
        let end = loop {
            // The library's future is never dropped half way: it may be in the middle of a connect or write.
            let poll = events.poll();
            tokio::pin!(poll);
            let event = loop {
                tokio::select! {
                    event = &mut poll => break Some(event),
                    () = self.outbox.changed(), if flight.open => self.send(&client, &mut flight),
                    () = stop.cancelled() => break None,
                }
            };
            match event {
                None => break End::Stopped,
                Some(Err(error)) => break End::Lost(plain(error)),
                Some(Ok(event)) => {
                    if let Err(error) = self.took(event, &client, &mut flight).await {
                        break End::Lost(error);
                    }
                }
            }
        };
        if matches!(end, End::Stopped) && flight.open {
            self.goodbye(will, &client, &mut events).await;
        }
        for (item, payload) in flight.unacknowledged() {
            self.outbox.put_back(item, payload);
        }
        if flight.open {
            // The agent may be gone already when it stops.
            let _ = self.events.send(LinkEvent::Disconnected).await;
        }
        end
    }

    async fn took(
        &mut self,
        event: Event,
        client: &AsyncClient,
        flight: &mut Flight,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        match event {
            Event::Incoming(Packet::ConnAck(_)) => {
                let filters = device_filters(&self.settings.namespace, &self.settings.device);
                let filters = filters.map(|path| Filter::new(path, QoS::AtLeastOnce));
                client.try_subscribe_many(filters)?;
                flight.open = true;
                self.tell(LinkEvent::Connected).await;
                self.send(client, flight);
            }
            Event::Incoming(Packet::SubAck(ack)) => {
                let refused = |code: &SubscribeReasonCode| !matches!(code, SubscribeReasonCode::Success(_));
                if ack.return_codes.iter().any(refused) {
                    let device = &self.settings.device;
                    warn!(%device, codes = ?ack.return_codes, "the broker refuses a subscription");
                }
                self.heard(flight).await;
            }
            Event::Incoming(Packet::PubAck(ack)) => {
                let item = flight.sent.remove(&ack.pkid);
                if !matches!(ack.reason, PubAckReason::Success | PubAckReason::NoMatchingSubscribers) {
                    let device = &self.settings.device;
                    warn!(%device, reason = ?ack.reason, what = ?item.map(|i| i.0), "the broker refuses a message");
                }
                self.heard(flight).await;
                self.send(client, flight);
            }
            Event::Incoming(Packet::PingResp(_)) => self.heard(flight).await,
            Event::Incoming(Packet::Publish(message)) => {
                self.heard(flight).await;
                let topic = String::from_utf8_lossy(&message.topic);
                let own = (&self.settings.namespace, &self.settings.device);
                match self.inbox.open(own, &topic, &message.payload) {
                    Ok(Some(event)) => self.tell(event).await,
                    Ok(None) => {}
                    Err(error) => {
                        let device = &self.settings.device;
                        warn!(%device, %topic, error = %chain(&error), "message refused");
                    }
                }
            }
            Event::Outgoing(Outgoing::Publish(number)) => flight.numbered(number),
            _ => {}
        }
        Ok(())
    }

    /// Hands the library what is to be published, as far as there is room.
    fn send(&self, client: &AsyncClient, flight: &mut Flight) {
        while flight.len() < IN_FLIGHT_MAX {
            let Some((item, payload)) = self.outbox.take() else { return };
            let topic = self.topic_of(&item);
            match client.try_publish(topic, QoS::AtLeastOnce, true, payload.clone()) {
                Ok(()) => flight.handed.push_back((item, payload)),
                Err(error) => {
                    debug!(%error, "the library takes nothing now");
                    return self.outbox.put_back(item, payload);
                }
            }
        }
    }

    async fn heard(&self, flight: &mut Flight) {
        if flight.heard.is_none_or(|at| at.elapsed() >= HEARD_EVERY) {
            flight.heard = Some(Instant::now());
            self.tell(LinkEvent::Heard).await;
        }
    }

    async fn tell(&self, event: LinkEvent) {
        // An agent that is gone has stopped, and the link stops with it.
        let _ = self.events.send(event).await;
    }

    /// Says that the device goes offline on purpose; a clean disconnect drops the will.
    async fn goodbye(&self, will: Presence, client: &AsyncClient, events: &mut EventLoop) {
        let topic = self.topic(Channel::Presence(self.settings.device.clone()));
        let payload = serde_json::to_vec(&will).unwrap_or_default();
        let last = async {
            client.try_publish(topic, QoS::AtLeastOnce, true, payload).ok()?;
            client.try_disconnect().ok()?;
            while !matches!(events.poll().await.ok()?, Event::Outgoing(Outgoing::Disconnect)) {}
            Some(())
        };
        // Whoever does not listen in time gets the will.
        let _ = tokio::time::timeout(GOODBYE, last).await;
    }
}

/// What was handed to the library and is not acknowledged yet.
#[derive(Default)]
struct Flight {
    open: bool,
    heard: Option<Instant>,
    handed: VecDeque<(Item, Bytes)>,
    sent: BTreeMap<u16, (Item, Bytes)>,
}

impl Flight {
    fn len(&self) -> usize {
        self.handed.len() + self.sent.len()
    }

    /// The oldest message that was handed over got this packet number.
    fn numbered(&mut self, number: u16) {
        if let Some(message) = self.handed.pop_front() {
            self.sent.insert(number, message);
        }
    }

    fn unacknowledged(&mut self) -> impl Iterator<Item = (Item, Bytes)> {
        std::mem::take(&mut self.sent).into_values().chain(std::mem::take(&mut self.handed))
    }
}

/// The library's error without its type; a refusal of the broker in words.
fn plain(error: ConnectionError) -> Box<dyn std::error::Error + Send + Sync> {
    match error {
        ConnectionError::ConnectionRefused(code) => format!("the broker refuses: {code:?}").into(),
        other => other.into(),
    }
}

/// An error and its sources on one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}
