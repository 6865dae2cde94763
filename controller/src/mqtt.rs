//! The broker: connect, subscribe, publish, reconnect. No type of the MQTT library leaves this file.
//!
//! Every connection begins with a new event loop: the library's own keeps the numbers and messages of a lost connection,
//! and one that was acknowledged out of order then keeps it from ever publishing again.
//!
//! After every connect the retained messages arrive first: plans, then the devices of the fleets that are asked for
//! ([`subscriptions`]). Until those of a fleet are all there nothing is decided about it.

pub mod check;
mod late;
mod progress;
mod settings;
pub mod subscriptions;

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use modelfleet_protocol::causes::with_causes;
use modelfleet_protocol::ids::Namespace;
use modelfleet_protocol::topic::ROOT;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Filter, Packet, SubscribeReasonCode};
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::lease::fence::NotLeading;
use progress::{Due, Progress};
pub use settings::{BEAT, BrokerSettings, ClientCertificate, is_open};
use subscriptions::{Heard, Next, Subscriptions};

/// Most messages that wait to be sent.
const OUTBOX_MAX: usize = 1024;
const BACKOFF_MIN: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(15);

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
    /// A retained message of this fleet came after it had been heard: the broker is not done with it. It is heard again later.
    Unheard(&'a Namespace),
    /// The broker refuses subscriptions: what they would bring will not be heard.
    Denied {
        /// Which.
        filters: &'a [String],
    },
    /// A message of ours came back: the connection moves.
    Moves,
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
    /// The client certificate or its key cannot be read.
    #[error("read {path} of the client certificate")]
    ReadCertificate {
        /// Which file.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// This process may lead no longer.
    #[error("publish on {topic}")]
    NotLeading {
        /// Where it was going.
        topic: String,
        /// Why not.
        #[source]
        source: NotLeading,
    },
    /// Too much waits to be sent.
    #[error("publish on {topic}: the outbox of {OUTBOX_MAX} messages is full")]
    Queue {
        /// Where it was going.
        topic: String,
    },
}

/// The client of the connection that there is now, or of the one that is being made.
type Current = Arc<RwLock<AsyncClient>>;

fn current(client: &Current) -> AsyncClient {
    client.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Where messages to the broker go.
pub trait Outbox: Send + Sync {
    /// Puts a retained message (QoS 1) in the outbox; no bytes clear the topic.
    ///
    /// What the outbox holds is lost with the connection: the caller compares with what the broker holds after the next
    /// connect.
    ///
    /// # Errors
    /// When the outbox is full.
    fn publish_retained(&self, topic: &str, payload: Vec<u8>) -> Result<(), MqttError>;

    /// Subscribes to the devices of these fleets and no others, on this connection and all later ones.
    fn subscribe_to(&self, fleets: BTreeSet<Namespace>);
}

/// Sends messages over the connection that [`Broker`] keeps.
#[derive(Clone)]
pub struct Publisher {
    client: Current,
    wanted: Arc<watch::Sender<BTreeSet<Namespace>>>,
    sync_topic: String,
}

impl Outbox for Publisher {
    fn publish_retained(&self, topic: &str, payload: Vec<u8>) -> Result<(), MqttError> {
        current(&self.client)
            .try_publish(topic, QoS::AtLeastOnce, true, payload)
            .map_err(|_| MqttError::Queue { topic: topic.to_owned() })
    }

    fn subscribe_to(&self, fleets: BTreeSet<Namespace>) {
        self.wanted.send_replace(fleets);
        // Wakes the connection. Where there is no room something else will.
        let _ = current(&self.client).try_publish(&self.sync_topic, QoS::AtMostOnce, false, "wake");
    }
}

/// The connection, to be run.
pub struct Broker {
    settings: BrokerSettings,
    options: MqttOptions,
    client: Current,
    events: EventLoop,
    beat: Duration,
    progress: Progress,
    sync_topic: String,
    wanted: watch::Receiver<BTreeSet<Namespace>>,
    subscriptions: Subscriptions,
    /// All that was wanted when it was last asked for is heard, and nothing else.
    hears_all: bool,
}

/// Prepares a connection; nothing is sent before [`Broker::run`].
///
/// # Errors
/// When the address is none.
pub fn prepare(settings: &BrokerSettings) -> Result<(Publisher, Broker), MqttError> {
    let options = settings::options(settings)?;
    let (client, events) = AsyncClient::new(options.clone(), OUTBOX_MAX);
    let client = Arc::new(RwLock::new(client));
    // A namespace begins with a letter or digit, so that no namespace is called `_controller`.
    let sync_topic = format!("{ROOT}/_controller/{}/sync", settings.identity);
    let (sender, wanted) = watch::channel(BTreeSet::new());
    let subscriptions = Subscriptions::new(&sync_topic);
    let publisher =
        Publisher { client: Arc::clone(&client), wanted: Arc::new(sender), sync_topic: sync_topic.clone() };
    let beat = settings.beat;
    let progress = Progress::new(beat, Instant::now());
    let hears_all = false;
    Ok((
        publisher,
        Broker {
            settings: settings.clone(),
            options,
            client,
            events,
            beat,
            progress,
            sync_topic,
            wanted,
            subscriptions,
            hears_all,
        },
    ))
}

/// The level of a topic that names the fleet.
fn fleet_of(topic: &str) -> Option<&str> {
    topic.strip_prefix(ROOT)?.strip_prefix('/')?.split('/').next()
}

impl Broker {
    /// The same, with trust documents heard.
    #[must_use]
    pub fn with_trust(self) -> Broker {
        Broker { subscriptions: self.subscriptions.with_trust(), ..self }
    }

    /// Feeds `inbox` until `stop`; reconnects with a bounded backoff.
    pub async fn run(mut self, stop: CancellationToken, mut inbox: impl FnMut(Feed<'_>)) {
        let mut backoff = BACKOFF_MIN;
        loop {
            self.progress = Progress::new(self.beat, Instant::now());
            let Some(lost) = self.connection(&stop, &mut inbox, &mut backoff).await else { return };
            inbox(Feed::Lost(lost));
            self.renew();
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(backoff.mul_f64(0.5 + rand::random::<f64>() / 2.0)) => {}
            }
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    /// One connection from beginning to end. Returns why it is lost; `None` at the stop.
    async fn connection(
        &mut self,
        stop: &CancellationToken,
        inbox: &mut impl FnMut(Feed<'_>),
        backoff: &mut Duration,
    ) -> Option<String> {
        loop {
            match self.event(stop).await {
                Ok(Event::Incoming(packet)) => {
                    if matches!(packet, Packet::SubAck(_)) {
                        *backoff = BACKOFF_MIN;
                    }
                    self.take(&packet, inbox);
                    self.advance();
                }
                Ok(Event::Outgoing(_)) => self.advance(),
                Err(ended) => return ended,
            }
        }
    }

    /// What happens next, with a beat meanwhile when one is due. An error is why the connection is lost; none at the stop.
    async fn event(&mut self, stop: &CancellationToken) -> Result<Event, Option<String>> {
        // The library's future is never dropped half way while the connection is kept: it may be in the middle of a
        // connect or write.
        let poll = self.events.poll();
        tokio::pin!(poll);
        let mut has_room = true;
        loop {
            let quiet_at = self.subscriptions.quiet_at().filter(|_| has_room);
            let wake = quiet_at.map_or(self.progress.next(), |at| at.min(self.progress.next()));
            tokio::select! {
                event = &mut poll => return event.map_err(|error| Some(error.to_string())),
                () = stop.cancelled() => return Err(None),
                () = tokio::time::sleep_until(wake) => {}
            }
            if quiet_at.is_some_and(|at| Instant::now() >= at) {
                let client = current(&self.client);
                // A full outbox brings events; with the next one it is tried again.
                has_room = client.try_publish(&self.sync_topic, QoS::AtLeastOnce, false, "quiet").is_ok();
                if has_room {
                    self.subscriptions.ask_quiet();
                }
            }
            match self.progress.due(Instant::now()) {
                Some(Due::Beat(word)) => {
                    // Without room nothing goes out, and the beat that is missing tells.
                    let _ =
                        current(&self.client).try_publish(&self.sync_topic, QoS::AtLeastOnce, false, word);
                }
                Some(Due::End(after)) => {
                    return Err(Some(format!(
                        "no message of the controller has come back for {} s",
                        after.as_secs()
                    )));
                }
                None => {}
            }
        }
    }

    /// Nothing of the connection that is lost is kept: no number, no message, no request.
    fn renew(&mut self) {
        match settings::options(&self.settings) {
            Ok(options) => self.options = options,
            // The files may be in the middle of being replaced: with those before it is tried again.
            Err(error) => {
                tracing::warn!(error = with_causes(&error), "cannot read the client certificate again")
            }
        }
        let (client, events) = AsyncClient::new(self.options.clone(), OUTBOX_MAX);
        *self.client.write().unwrap_or_else(PoisonError::into_inner) = client;
        self.events = events;
    }

    fn take(&mut self, packet: &Packet, inbox: &mut impl FnMut(Feed<'_>)) {
        match packet {
            Packet::ConnAck(_) => {
                self.progress = Progress::new(self.beat, Instant::now());
                self.subscriptions.reconnect();
                self.hears_all = false;
                inbox(Feed::Connected);
            }
            Packet::SubAck(ack) => {
                let confirmed = |code: &SubscribeReasonCode| matches!(code, SubscribeReasonCode::Success(_));
                let confirmed: Vec<bool> = ack.return_codes.iter().map(confirmed).collect();
                let (marker, refused) = self.subscriptions.answered(&confirmed, Instant::now());
                if !refused.is_empty() {
                    inbox(Feed::Denied { filters: &refused });
                }
                if let Some(marker) = marker {
                    let sent = current(&self.client).try_publish(
                        &self.sync_topic,
                        QoS::AtLeastOnce,
                        false,
                        marker.to_string(),
                    );
                    if sent.is_err() {
                        self.subscriptions.not_sent();
                    }
                }
            }
            Packet::Publish(publish) => match std::str::from_utf8(&publish.topic) {
                Ok(topic) if topic == self.sync_topic => self.came_back(&publish.payload, inbox),
                Ok(topic) => {
                    if publish.retain {
                        self.progress.moved(Instant::now());
                        self.subscriptions.retained(Instant::now());
                        self.late(topic, inbox);
                    }
                    inbox(Feed::Message { topic, payload: &publish.payload, retained: publish.retain });
                }
                Err(_) => inbox(Feed::Message { topic: "", payload: &publish.payload, retained: false }),
            },
            _ => {}
        }
    }

    /// A retained message: of a fleet that was heard to its end it comes too late.
    fn late(&mut self, topic: &str, inbox: &mut impl FnMut(Feed<'_>)) {
        let Some(Ok(fleet)) = fleet_of(topic).map(str::parse::<Namespace>) else { return };
        if self.subscriptions.late(&fleet, Instant::now()) {
            self.hears_all = false;
            inbox(Feed::Unheard(&fleet));
        }
    }

    /// A message of ours.
    fn came_back(&mut self, payload: &[u8], inbox: &mut impl FnMut(Feed<'_>)) {
        let now = Instant::now();
        let is_marker = self.subscriptions.marked(payload, now);
        let heard = self.subscriptions.quiet(now);
        if is_marker || heard.is_some() || Progress::is_beat(payload) {
            self.progress.moved(Instant::now());
            inbox(Feed::Moves);
        }
        match heard {
            Some(Heard::Plans) => {
                inbox(Feed::PlansHeard);
                self.tell_heard(&[], inbox);
            }
            Some(Heard::Fleets(fleets)) => self.tell_heard(&fleets, inbox),
            None => {}
        }
    }

    fn tell_heard(&self, fleets: &[Namespace], inbox: &mut impl FnMut(Feed<'_>)) {
        let all = self.subscriptions.is_complete(&self.wanted.borrow());
        inbox(Feed::Heard { fleets, all });
    }

    /// Sends what is to be sent next. What the outbox has no room for is tried again with the next event.
    fn advance(&mut self) {
        // Asked with every message: as long as nothing has changed it costs nothing.
        if self.hears_all && !self.wanted.has_changed().unwrap_or(false) {
            return;
        }
        let wanted = self.wanted.borrow_and_update();
        let next = self.subscriptions.next(&wanted, Instant::now());
        self.hears_all = next.is_none() && self.subscriptions.is_complete(&wanted);
        drop(wanted);
        match next {
            Some(Next::Subscribe(filters)) => {
                let filters = filters.into_iter().map(|path| Filter::new(path, QoS::AtLeastOnce));
                if current(&self.client).try_subscribe_many(filters).is_err() {
                    self.subscriptions.not_sent();
                }
            }
            Some(Next::Unsubscribe(filters)) => {
                // Where there is no room they stay until the next connect; what comes on them is left out.
                filters.into_iter().for_each(|filter| drop(current(&self.client).try_unsubscribe(filter)));
            }
            None => {}
        }
    }
}
