//! The broker's side of an MQTT connection, packet by packet, for what a good broker cannot be made to do.

#![allow(clippy::unwrap_used, reason = "a test may end where it stands")]
#![allow(
    clippy::missing_panics_doc,
    reason = "everything here ends the test when the other side does something else"
)]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::v5::{Packet, Publish};
use rumqttc::v5::mqttbytes::{Error, QoS};

use crate::wait::LIMIT;

/// Accepts connections one after the other.
#[derive(Debug)]
pub struct Wire(TcpListener);

/// What the broker says that it takes; `None`: it says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms {
    /// Messages that are not acknowledged.
    pub receive_max: Option<u16>,
    /// Bytes of a packet.
    pub packet_bytes_max: Option<u32>,
}

/// One connection.
#[derive(Debug)]
pub struct Peer {
    stream: TcpStream,
    read: BytesMut,
}

/// What came within a time.
enum Came {
    Packet(Box<Packet>),
    Nothing,
    End,
}

impl Wire {
    /// Listens on a free port.
    #[must_use]
    pub fn start() -> Wire {
        Wire(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    /// The next connection, accepted.
    #[must_use]
    pub fn accept(&self, terms: Terms) -> Peer {
        let (stream, _) = self.0.accept().unwrap();
        let mut peer = Peer { stream, read: BytesMut::new() };
        let connect = peer.next();
        assert!(matches!(connect, Some(Packet::Connect(..))), "{connect:?}");
        let mut properties = Vec::new();
        if let Some(messages) = terms.receive_max {
            properties.push(0x21);
            properties.extend(messages.to_be_bytes());
        }
        if let Some(bytes) = terms.packet_bytes_max {
            properties.push(0x27);
            properties.extend(bytes.to_be_bytes());
        }
        let length = properties.len() as u8;
        peer.send(&[&[0x20, 3 + length, 0, 0, length], &properties[..]].concat());
        peer
    }
}

impl Peer {
    /// The next packet but for pings, which has to come; `None` when the other side has ended the connection.
    #[allow(clippy::should_implement_trait, reason = "it reads from a connection, which is no sequence")]
    pub fn next(&mut self) -> Option<Packet> {
        match self.within(LIMIT) {
            Came::Packet(packet) => Some(*packet),
            Came::End => None,
            Came::Nothing => panic!("no packet within {LIMIT:?}"),
        }
    }

    /// The next packet but for pings; `None`: none in this time, or the other side has ended the connection.
    pub fn next_within(&mut self, time: Duration) -> Option<Packet> {
        match self.within(time) {
            Came::Packet(packet) => Some(*packet),
            Came::Nothing | Came::End => None,
        }
    }

    fn within(&mut self, time: Duration) -> Came {
        self.stream.set_read_timeout(Some(time)).unwrap();
        loop {
            match Packet::read(&mut self.read, None) {
                Ok(Packet::PingReq(_)) => self.send(&[0xD0, 0]),
                Ok(packet) => return Came::Packet(Box::new(packet)),
                Err(Error::InsufficientBytes(_)) => {
                    let mut bytes = [0; 4096];
                    match self.stream.read(&mut bytes) {
                        Ok(0) => return Came::End,
                        Ok(count) => self.read.extend_from_slice(&bytes[..count]),
                        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                            return Came::Nothing;
                        }
                        // It hung up without having read all that we sent.
                        Err(e) if e.kind() == ErrorKind::ConnectionReset => return Came::End,
                        Err(error) => panic!("{error}"),
                    }
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Number and filters of the subscription, which comes next.
    pub fn subscription(&mut self) -> (u16, usize) {
        match self.next() {
            Some(Packet::Subscribe(subscribe)) => (subscribe.pkid, subscribe.filters.len()),
            other => panic!("{other:?}"),
        }
    }

    /// Answers a subscription, a code for each of its filters.
    pub fn answer_subscription(&mut self, number: u16, codes: &[u8]) {
        let [high, low] = number.to_be_bytes();
        self.send(&[&[0x90, 3 + codes.len() as u8, high, low, 0], codes].concat());
    }

    /// Grants the subscription that comes next.
    pub fn grant_subscription(&mut self) {
        let (number, filters) = self.subscription();
        self.answer_subscription(number, &vec![1; filters]);
    }

    /// The next message, acknowledged.
    pub fn message(&mut self) -> Publish {
        let message = self.unacknowledged();
        self.acknowledge(message.pkid);
        message
    }

    /// The next message.
    pub fn unacknowledged(&mut self) -> Publish {
        match self.next() {
            Some(Packet::Publish(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    /// Acknowledges a message.
    pub fn acknowledge(&mut self, number: u16) {
        let [high, low] = number.to_be_bytes();
        self.send(&[0x40, 2, high, low]);
    }

    /// Sends a message to the one that it is from, as to a subscriber.
    pub fn send_back(&mut self, message: &Publish) {
        let mut out = BytesMut::new();
        let again = Publish { qos: QoS::AtMostOnce, pkid: 0, ..message.clone() };
        again.write(&mut out).unwrap();
        self.send(&out);
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }
}
