//! The connection to the broker. No type of the MQTT library is visible outside of this folder.
//!
//! Each connection starts with a clean session. All messages are retained state, so a session would keep nothing that the
//! outbox does not keep.

mod flight;
mod held_plans;
mod inbox;
mod options;
mod outbox;
mod settings;
mod subscription;

use std::sync::Arc;
use std::time::Duration;

use modelfleet_protocol::envelope::Signed;
use modelfleet_protocol::overrides::Override;
use modelfleet_protocol::plan::Plan;
use modelfleet_protocol::presence::Presence;
use modelfleet_protocol::topic::{Channel, Topic};
use modelfleet_protocol::trust::TrustDocument;
use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, PubAckReason};
use rumqttc::v5::{AsyncClient, Event, EventLoop};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::log::chain;
use flight::{Flight, Stage, at, late};
pub use held_plans::HeldPlans;
pub use inbox::Inbox;
use inbox::excerpt;
use options::{IN_FLIGHT_MAX, REQUESTS_MAX, options, plain};
use outbox::TooLarge;
pub use outbox::{Item, Outbox};
pub use settings::{Backoff, Credentials, Settings, read_password};

/// After a connection that lasted this long, the next wait is short again.
const STEADY_AFTER: Duration = Duration::from_secs(60);
/// After so many short connections in a row, the log says what may be behind them.
const SHORT_CONNECTIONS_TOLD: u32 = 4;
/// Longest time to close a connection in order.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The broker may take this many keep-alive intervals to acknowledge a message.
const ALIVE_PER_ACKNOWLEDGEMENT: u32 = 3;

/// An event of the connection.
#[derive(Debug)]
pub enum LinkEvent {
    /// The connection is about to be made, and needs a last will.
    Connecting,
    /// The broker accepted the device and its subscription.
    Connected,
    /// The connection was lost.
    Disconnected,
    /// The broker answered.
    Heard,
    /// A plan whose signature was verified, and the key that made it.
    Plan(Signed<Arc<Plan>>),
    /// An override whose signature was verified, and the key that made it.
    Override(Signed<Box<Override>>),
    /// The trust document that is followed; the device may know it.
    Trust(Arc<TrustDocument>),
}

/// The connection of one device.
pub struct Link {
    /// Address and account.
    pub settings: Settings,
    /// Messages to publish.
    pub outbox: Arc<Outbox>,
    /// Verifies messages that arrive.
    pub inbox: Arc<Inbox>,
    /// The plans that the device took last.
    pub held: Arc<HeldPlans>,
    /// Receives the events.
    pub events: mpsc::Sender<LinkEvent>,
    /// Last wills, one for every [`LinkEvent::Connecting`].
    pub wills: mpsc::Receiver<Presence>,
}

type LinkError = Box<dyn std::error::Error + Send + Sync>;

enum End {
    Stopped,
    Lost {
        error: LinkError,
        /// Whether the connection had come about.
        open: bool,
    },
}

impl Link {
    /// Connects, again and again, until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut tries = 0;
        let mut short = 0_u32;
        // After a power cut, all devices of a site start at one moment.
        if !pause(self.settings.backoff.at_start(rand::random()), &stop).await {
            return;
        }
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
            let End::Lost { error, open } = self.connection(will, &stop).await else { return };
            if began.elapsed() > STEADY_AFTER {
                tries = 0;
            }
            short = if open && began.elapsed() <= STEADY_AFTER { short.saturating_add(1) } else { 0 };
            if short == SHORT_CONNECTIONS_TOLD {
                // Not every broker says why it ends a connection: Mosquitto 2.0 closes it without a word.
                let device = &self.settings.device;
                warn!(%device, "the broker has ended {short} connections in a row soon after they were made; does a second device use this id?");
            }
            let backoff = self.settings.backoff;
            let random = rand::random();
            let wait =
                if open && tries == 0 { backoff.after_loss(random) } else { backoff.wait(tries, random) };
            let device = &self.settings.device;
            info!(%device, error = %chain(&*error), wait_ms = wait.as_millis() as u64, "no connection to the broker, trying again");
            tries = tries.saturating_add(1);
            if !pause(wait, &stop).await {
                return;
            }
        }
    }

    fn topic(&self, channel: Channel) -> String {
        Topic { namespace: self.settings.namespace.clone(), channel }.name()
    }

    fn presence(&self) -> String {
        self.topic(Channel::Presence(self.settings.device.clone()))
    }

    fn topic_of(&self, item: &Item) -> String {
        let device = self.settings.device.clone();
        self.topic(match item {
            Item::Presence => Channel::Presence(device),
            Item::State => Channel::State(device),
            Item::Report(model) => Channel::Report(device, model.clone()),
            Item::HeldPlan(model) => Channel::HeldPlan(device, model.clone()),
        })
    }

    /// One connection from beginning to end.
    async fn connection(&mut self, will: Presence, stop: &CancellationToken) -> End {
        let (client, mut events) =
            AsyncClient::new(options(&self.settings, self.presence(), &will), REQUESTS_MAX);
        let mut flight = Flight::default();
        self.outbox.drop_held_plans();
        let _ = self.outbox.take_ask_for_plans(); // A new connection brings them all.
        let time_limit = self.settings.keep_alive * ALIVE_PER_ACKNOWLEDGEMENT;
        let lost = 'connection: loop {
            // The library's future is never dropped half way: it may be in the middle of a connect or write.
            let poll = events.poll();
            tokio::pin!(poll);
            let event = loop {
                tokio::select! {
                    event = &mut poll => break event,
                    () = self.outbox.changed(), if flight.stage == Stage::Open => self.send(&client, &mut flight),
                    () = at(flight.plans_due()) => self.send_held_plans(&mut flight),
                    what = late(flight.due(time_limit)) => break 'connection Some(what.as_str().into()),
                    () = stop.cancelled() => break 'connection None,
                }
            };
            let took = match event {
                Ok(event) => self.took(event, &client, &mut flight).await,
                Err(error) => Err(plain(error)),
            };
            if let Err(error) = took {
                break Some(error);
            }
        };
        let open = flight.stage == Stage::Open;
        if lost.is_none() && flight.stage != Stage::Knocking {
            self.disconnect(will, &client, &mut events).await;
        }
        for message in flight.unacknowledged() {
            self.outbox.put_back(message);
        }
        if open {
            // The agent may be gone already when it stops.
            let _ = self.events.send(LinkEvent::Disconnected).await;
        }
        lost.map_or(End::Stopped, |error| End::Lost { error, open })
    }

    async fn took(
        &mut self,
        event: Event,
        client: &AsyncClient,
        flight: &mut Flight,
    ) -> Result<(), LinkError> {
        match event {
            Event::Incoming(Packet::ConnAck(ack)) => {
                let limit = ack.properties.and_then(|p| p.max_packet_size);
                self.outbox.keep_to(limit.map_or(usize::MAX, |bytes| bytes as usize));
                client.try_subscribe_many(self.filters())?;
                flight.stage = Stage::accepted();
            }
            Event::Incoming(Packet::SubAck(ack)) => {
                self.subscribed(&ack.return_codes)?;
                if flight.stage == Stage::Open {
                    return Ok(()); // It was asked for its plans once more.
                }
                flight.stage = Stage::Open;
                flight.wait_for_plans(HeldPlans::wait(self.settings.backoff.spread, rand::random()));
                self.tell(LinkEvent::Connected).await;
                self.heard(flight).await;
                self.send(client, flight);
            }
            Event::Incoming(Packet::PubAck(ack)) => {
                let message = flight.acknowledged(ack.pkid);
                if !matches!(ack.reason, PubAckReason::Success | PubAckReason::NoMatchingSubscribers) {
                    let device = &self.settings.device;
                    let what = message.map(|message| message.item);
                    warn!(%device, reason = ?ack.reason, ?what, "the broker refused a message; check that the account may write the device's topics");
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
                    Ok(Some(event)) => {
                        match &event {
                            LinkEvent::Plan(Signed { what: plan, .. }) => {
                                self.held.keep(plan, &message.payload);
                                flight.plan_came(plan);
                            }
                            LinkEvent::Trust(document) => {
                                self.held
                                    .check_again(document.version, |envelope| self.inbox.kept_plan(envelope));
                                if flight.followed(document.version) {
                                    self.outbox.ask_for_plans();
                                }
                            }
                            _ => {}
                        }
                        self.tell(event).await;
                    }
                    Ok(None) => {}
                    Err(error) => {
                        if error.is_of_key() {
                            flight.refused_for_key(self.inbox.trust_version());
                        }
                        let device = &self.settings.device;
                        let (topic, begins) = (excerpt(&message.topic), excerpt(&message.payload));
                        let bytes = message.payload.len();
                        warn!(%device, topic, bytes, begins, error = %chain(&error), "ignored a message that could not be accepted");
                    }
                }
            }
            Event::Outgoing(Outgoing::Publish(number)) => flight.numbered(number),
            _ => {}
        }
        Ok(())
    }

    /// The broker has sent the plans that it has: those of other models, and newer ones, it gets from the device, once a
    /// connection.
    fn send_held_plans(&self, flight: &mut Flight) {
        for (model, envelope) in self.held.to_send(Instant::now(), |model| flight.plan_of(model)) {
            info!(device = %self.settings.device, %model, "the broker has no plan of this model, or an older one, so the device sends the one that it holds");
            self.outbox.put(Item::HeldPlan(model), envelope.to_vec());
        }
        flight.plans_sent();
    }

    /// Passes messages to the MQTT client, as far as there is room.
    fn send(&self, client: &AsyncClient, flight: &mut Flight) {
        if flight.stage != Stage::Open {
            return;
        }
        self.ask_for_plans(client);
        while flight.len() < IN_FLIGHT_MAX {
            let Some(message) = self.outbox.take() else { return };
            let topic = self.topic_of(&message.item);
            if let Some(TooLarge { bytes, most, news }) = self.outbox.too_large(&message, &topic) {
                // The broker would end the connection over it, now and at every later try.
                if news {
                    let (device, what) = (&self.settings.device, &message.item);
                    warn!(%device, ?what, bytes, most, "not sent: the message is larger than the broker accepts");
                }
                continue;
            }
            match client.try_publish(
                topic,
                QoS::AtLeastOnce,
                message.item.is_retained(),
                message.payload.clone(),
            ) {
                Ok(()) => flight.handed(message),
                Err(error) => {
                    debug!(%error, "the MQTT client's queue is full");
                    return self.outbox.put_back(message);
                }
            }
        }
    }

    async fn heard(&self, flight: &mut Flight) {
        // Before the subscription stands, an answer shows half a line only.
        if flight.stage == Stage::Open && flight.news() {
            self.tell(LinkEvent::Heard).await;
        }
    }

    async fn tell(&self, event: LinkEvent) {
        // An agent that is gone has stopped, and the link stops with it.
        let _ = self.events.send(event).await;
    }

    /// Says that the device goes offline on purpose; a clean disconnect drops the will.
    async fn disconnect(&self, will: Presence, client: &AsyncClient, events: &mut EventLoop) {
        let payload = serde_json::to_vec(&will).unwrap_or_default();
        let last = async {
            client.try_publish(self.presence(), QoS::AtLeastOnce, true, payload).ok()?;
            client.try_disconnect().ok()?;
            while !matches!(events.poll().await.ok()?, Event::Outgoing(Outgoing::Disconnect)) {}
            Some(())
        };
        // A subscriber that is too late gets the will.
        let _ = tokio::time::timeout(DISCONNECT_TIMEOUT, last).await;
    }
}

/// Waits, unless it is time to stop; false at the stop.
async fn pause(wait: Duration, stop: &CancellationToken) -> bool {
    tokio::select! {
        () = tokio::time::sleep(wait) => true,
        () = stop.cancelled() => false,
    }
}
