//! The broker: connect, subscribe, publish, reconnect. No type of the MQTT library leaves this file.
//!
//! After every connect the retained messages arrive first: plans, then the devices of the fleets that are asked for
//! ([`hearing`]). Until those of a fleet are all there nothing is decided about it.

mod hearing;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use modelfleet_protocol::envelope::ENVELOPE_BYTES_MAX;
use modelfleet_protocol::ids::Namespace;
use modelfleet_protocol::topic::ROOT;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{ConnectProperties, Filter, Packet, SubscribeReasonCode};
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use rumqttc::{TlsConfiguration, Transport};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use hearing::{Heard, Hearing, Next};

/// Most messages that wait to be sent.
const OUTBOX_MAX: usize = 1024;
/// Most bytes of a message that the broker may send us; it leaves out larger ones.
const PACKET_BYTES_MAX: u32 = ENVELOPE_BYTES_MAX as u32 + 4 * 1024;
/// The answer to a ping stands in line behind what a fleet has retained: three million messages of a million devices take
/// the better part of a minute, and a connection given up meanwhile would begin anew for ever.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
const BACKOFF_MIN: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(15);

/// Where the broker is and who we are to it.
pub struct BrokerSettings {
    /// `mqtt://host:1883` or `mqtts://host:8883`.
    pub url: String,
    /// User name; none: anonymous.
    pub user: Option<String>,
    /// Password, if any.
    pub password: Option<String>,
    /// Certificates to trust (PEM) for `mqtts`; none: those of the system.
    pub ca_pem: Option<Vec<u8>>,
    /// Unique name of this process.
    pub identity: String,
}

/// What arrives from the broker.
pub enum Feed<'a> {
    /// Connected; retained messages follow.
    Connected,
    /// Every plan that was retained has arrived. No device is listened to before.
    PlansHeard,
    /// Every message that these fleets' devices had retained has arrived.
    Heard {
        /// Which.
        fleets: &'a [Namespace],
        /// Nothing that was asked for is missing.
        all: bool,
    },
    /// The broker refuses subscriptions: what they would bring will not be heard.
    Denied {
        /// Which.
        filters: &'a [String],
    },
    /// The connection is gone, and why.
    Lost(String),
    /// A message.
    Message {
        /// Its topic.
        topic: &'a str,
        /// Its bytes; empty: the retained message was cleared.
        payload: &'a [u8],
        /// Whether it was retained before we subscribed.
        retained: bool,
    },
}

/// Why the broker cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MqttError {
    /// Not a broker address.
    #[error("broker address must be mqtt://host:port or mqtts://host:port")]
    ReadAddress,
    /// Too much waits to be sent.
    #[error("publish on {topic}: the outbox of {OUTBOX_MAX} messages is full")]
    Queue {
        /// Where it was going.
        topic: String,
    },
}

/// Sends messages; cheap to clone.
#[derive(Clone)]
pub struct Publisher {
    client: AsyncClient,
    wanted: Arc<watch::Sender<BTreeSet<Namespace>>>,
    sync_topic: String,
}

impl Publisher {
    /// Puts a retained message (QoS 1) in the outbox; no bytes clear the topic.
    ///
    /// What the outbox holds is lost with the connection: whoever publishes compares with what the broker holds
    /// after the next connect.
    ///
    /// # Errors
    /// When the outbox is full.
    pub fn publish_retained(&self, topic: &str, payload: Vec<u8>) -> Result<(), MqttError> {
        self.client
            .try_publish(topic, QoS::AtLeastOnce, true, payload)
            .map_err(|_| MqttError::Queue { topic: topic.to_owned() })
    }

    /// Listens to the devices of these fleets and no others, on this connection and all later ones.
    pub fn hear(&self, fleets: BTreeSet<Namespace>) {
        self.wanted.send_replace(fleets);
        // Wakes the connection. Where there is no room something else will.
        let _ = self.client.try_publish(&self.sync_topic, QoS::AtMostOnce, false, "wake");
    }
}

/// The connection, to be run.
pub struct Broker {
    client: AsyncClient,
    events: EventLoop,
    sync_topic: String,
    wanted: watch::Receiver<BTreeSet<Namespace>>,
    hearing: Hearing,
    /// All that was wanted when it was last asked for is heard, and nothing else.
    hears_all: bool,
}

/// Prepares a connection; nothing is sent before [`Broker::run`].
///
/// # Errors
/// When the address is none.
pub fn prepare(settings: &BrokerSettings) -> Result<(Publisher, Broker), MqttError> {
    let address = url::Url::parse(&settings.url).map_err(|_| MqttError::ReadAddress)?;
    let host = address.host_str().ok_or(MqttError::ReadAddress)?;
    let (tls, port) = match address.scheme() {
        "mqtt" | "tcp" => (false, 1883),
        "mqtts" | "ssl" => (true, 8883),
        _ => return Err(MqttError::ReadAddress),
    };
    let id = format!("modelfleet-controller-{}", settings.identity);
    let mut options = MqttOptions::new(id, host, address.port().unwrap_or(port));
    if tls {
        let config = settings.ca_pem.clone().map_or_else(TlsConfiguration::default, |ca| {
            TlsConfiguration::Simple { ca, alpn: None, client_auth: None }
        });
        options.set_transport(Transport::tls_with_config(config));
    }
    if let Some(user) = &settings.user {
        options.set_credentials(user, settings.password.clone().unwrap_or_default());
    }
    let properties = ConnectProperties {
        max_packet_size: Some(PACKET_BYTES_MAX),
        receive_maximum: Some(1024),
        ..ConnectProperties::new()
    };
    options.set_connect_properties(properties).set_keep_alive(KEEP_ALIVE).set_clean_start(true);
    let (client, events) = AsyncClient::new(options, OUTBOX_MAX);
    // A namespace begins with a letter or digit, so that no namespace is called `_controller`.
    let sync_topic = format!("{ROOT}/_controller/{}/sync", settings.identity);
    let (sender, wanted) = watch::channel(BTreeSet::new());
    let hearing = Hearing::new(&sync_topic);
    let publisher =
        Publisher { client: client.clone(), wanted: Arc::new(sender), sync_topic: sync_topic.clone() };
    Ok((publisher, Broker { client, events, sync_topic, wanted, hearing, hears_all: false }))
}

impl Broker {
    /// Feeds `inbox` until `stop`; reconnects with a bounded backoff.
    pub async fn run(mut self, stop: CancellationToken, mut inbox: impl FnMut(Feed<'_>)) {
        let mut backoff = BACKOFF_MIN;
        loop {
            let event = tokio::select! {
                () = stop.cancelled() => return,
                event = self.events.poll() => event,
            };
            match event {
                Ok(Event::Incoming(packet)) => {
                    if matches!(packet, Packet::SubAck(_)) {
                        backoff = BACKOFF_MIN;
                    }
                    self.take(&packet, &mut inbox);
                    self.advance();
                }
                Ok(Event::Outgoing(_)) => self.advance(),
                Err(error) => {
                    inbox(Feed::Lost(error.to_string()));
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(backoff.mul_f64(0.5 + rand::random::<f64>() / 2.0)) => {}
                    }
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                }
            }
        }
    }

    fn take(&mut self, packet: &Packet, inbox: &mut impl FnMut(Feed<'_>)) {
        match packet {
            Packet::ConnAck(_) => {
                self.hearing.reconnect();
                self.hears_all = false;
                inbox(Feed::Connected);
            }
            Packet::SubAck(ack) => {
                let confirmed = |code: &SubscribeReasonCode| matches!(code, SubscribeReasonCode::Success(_));
                let confirmed: Vec<bool> = ack.return_codes.iter().map(confirmed).collect();
                let (marker, refused) = self.hearing.answered(&confirmed, Instant::now());
                if !refused.is_empty() {
                    inbox(Feed::Denied { filters: &refused });
                }
                if let Some(marker) = marker {
                    let sent = self.client.try_publish(
                        &self.sync_topic,
                        QoS::AtLeastOnce,
                        false,
                        marker.to_string(),
                    );
                    if sent.is_err() {
                        self.hearing.not_sent();
                    }
                }
            }
            Packet::Publish(publish) => match std::str::from_utf8(&publish.topic) {
                Ok(topic) if topic == self.sync_topic => match self.hearing.marked(&publish.payload) {
                    Some(Heard::Plans) => {
                        inbox(Feed::PlansHeard);
                        self.tell_heard(&[], inbox);
                    }
                    Some(Heard::Fleets(fleets)) => self.tell_heard(&fleets, inbox),
                    None => {}
                },
                Ok(topic) => {
                    inbox(Feed::Message { topic, payload: &publish.payload, retained: publish.retain });
                }
                Err(_) => inbox(Feed::Message { topic: "", payload: &publish.payload, retained: false }),
            },
            _ => {}
        }
    }

    fn tell_heard(&self, fleets: &[Namespace], inbox: &mut impl FnMut(Feed<'_>)) {
        let all = self.hearing.is_complete(&self.wanted.borrow());
        inbox(Feed::Heard { fleets, all });
    }

    /// Sends what is to be sent next. What the outbox has no room for is tried again with the next event.
    fn advance(&mut self) {
        // Asked with every message: as long as nothing has changed it costs nothing.
        if self.hears_all && !self.wanted.has_changed().unwrap_or(false) {
            return;
        }
        let wanted = self.wanted.borrow_and_update();
        let next = self.hearing.next(&wanted, Instant::now());
        self.hears_all = next.is_none() && self.hearing.is_complete(&wanted);
        drop(wanted);
        match next {
            Some(Next::Subscribe(filters)) => {
                let filters = filters.into_iter().map(|path| Filter::new(path, QoS::AtLeastOnce));
                if self.client.try_subscribe_many(filters).is_err() {
                    self.hearing.not_sent();
                }
            }
            Some(Next::Unsubscribe(filters)) => {
                // Where there is no room they stay until the next connect; what comes on them is left out.
                filters.into_iter().for_each(|filter| drop(self.client.try_unsubscribe(filter)));
            }
            None => {}
        }
    }
}
