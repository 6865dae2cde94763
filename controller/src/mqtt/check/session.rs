//! One connection of the trial, step by step, each with a limit.

use std::time::Duration;

use bytes::Bytes;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{ConnAckProperties, Filter, Packet, PubAckReason, SubscribeReasonCode};
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use tokio::time::{Instant, timeout_at};

use super::CheckError;

/// Longest that the broker may take for an answer.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(20);
const REQUESTS_MAX: usize = 256;

/// One connection.
pub(super) struct Session {
    client: AsyncClient,
    events: EventLoop,
    /// What the broker said when it accepted the connection, if anything.
    terms: Option<ConnAckProperties>,
    /// It had kept something of an earlier connection.
    pub(super) is_resumed: bool,
}

/// A message as it came.
pub(super) struct Came {
    pub(super) topic: Bytes,
    pub(super) payload: Bytes,
    pub(super) retained: bool,
}

impl Session {
    pub(super) async fn open(options: MqttOptions) -> Result<Session, CheckError> {
        let (client, events) = AsyncClient::new(options, REQUESTS_MAX);
        let mut session = Session { client, events, terms: None, is_resumed: false };
        match session.next("accept the connection", ANSWER_WITHIN).await? {
            Packet::ConnAck(ack) => {
                session.is_resumed = ack.session_present;
                session.terms = ack.properties;
                Ok(session)
            }
            other => Err(CheckError::Odd { doing: "accept the connection", packet: format!("{other:?}") }),
        }
    }

    /// One thing that the broker said when it accepted the connection.
    pub(super) fn said<T>(&self, what: impl Fn(&ConnAckProperties) -> Option<T>) -> Option<T> {
        self.terms.as_ref().and_then(what)
    }

    /// The next packet within a time.
    pub(super) async fn next(&mut self, doing: &'static str, within: Duration) -> Result<Packet, CheckError> {
        let end = Instant::now() + within;
        loop {
            match timeout_at(end, self.events.poll()).await {
                Ok(Ok(Event::Incoming(packet))) => return Ok(packet),
                Ok(Ok(Event::Outgoing(_))) => {}
                Ok(Err(error)) => return Err(CheckError::Ended { doing, source: Box::new(error) }),
                Err(_) => return Err(CheckError::Silent { doing, within }),
            }
        }
    }

    /// The next message within a time; `None`: none came.
    pub(super) async fn message(
        &mut self,
        doing: &'static str,
        within: Duration,
    ) -> Result<Option<Came>, CheckError> {
        let end = Instant::now() + within;
        loop {
            match self.next(doing, end.saturating_duration_since(Instant::now())).await {
                Ok(Packet::Publish(message)) => {
                    let (topic, payload, retained) = (message.topic, message.payload, message.retain);
                    return Ok(Some(Came { topic, payload, retained }));
                }
                Ok(_) => {}
                Err(CheckError::Silent { .. }) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// Puts a message on its way (QoS 1).
    pub(super) fn send(&self, topic: &str, payload: Vec<u8>, retain: bool) -> Result<(), CheckError> {
        self.client
            .try_publish(topic, QoS::AtLeastOnce, retain, payload)
            .map_err(|source| CheckError::Send(Box::new(source)))
    }

    /// Publishes retained messages, some at a time; returns how many the broker took.
    pub(super) async fn publish_all(
        &mut self,
        doing: &'static str,
        messages: impl IntoIterator<Item = (String, Vec<u8>)>,
    ) -> Result<usize, CheckError> {
        let (mut on_their_way, mut taken) = (0, 0);
        let mut messages = messages.into_iter();
        loop {
            while on_their_way < REQUESTS_MAX / 4
                && let Some((topic, payload)) = messages.next()
            {
                self.send(&topic, payload, true)?;
                on_their_way += 1;
            }
            if on_their_way == 0 {
                return Ok(taken);
            }
            if let Packet::PubAck(ack) = self.next(doing, ANSWER_WITHIN).await? {
                on_their_way -= 1;
                let is_taken =
                    matches!(ack.reason, PubAckReason::Success | PubAckReason::NoMatchingSubscribers);
                taken += usize::from(is_taken);
            }
        }
    }

    /// Subscribes; false when the broker refuses one of the filters. Messages that come before its answer are returned.
    pub(super) async fn subscribe(&mut self, filters: &[&str]) -> Result<(bool, Vec<Came>), CheckError> {
        let asked: Vec<Filter> = filters.iter().map(|&path| Filter::new(path, QoS::AtLeastOnce)).collect();
        self.client.try_subscribe_many(asked).map_err(|source| CheckError::Send(Box::new(source)))?;
        let mut early = Vec::new();
        loop {
            match self.next("answer a subscription", ANSWER_WITHIN).await? {
                Packet::SubAck(ack) => {
                    let granted =
                        |code: &SubscribeReasonCode| matches!(code, SubscribeReasonCode::Success(_));
                    return Ok((ack.return_codes.iter().all(granted), early));
                }
                Packet::Publish(m) => {
                    early.push(Came { topic: m.topic, payload: m.payload, retained: m.retain })
                }
                _ => {}
            }
        }
    }
}
