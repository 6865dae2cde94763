//! The broker's side of an MQTT connection, packet by packet, for what a good broker cannot be made to do.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::v5::{Packet, Publish};
use rumqttc::v5::mqttbytes::{Error, QoS};

/// Longest that anything may take.
pub const LIMIT: Duration = Duration::from_secs(20);

/// Accepts connections one after the other.
pub struct Wire(TcpListener);

/// One connection.
pub struct Peer {
    stream: TcpStream,
    read: BytesMut,
}

impl Wire {
    pub fn start() -> Wire {
        Wire(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    pub fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    /// The next connection, accepted; it takes so many messages that are not acknowledged.
    pub fn accept(&self, receive_max: u16) -> Peer {
        let (stream, _) = self.0.accept().unwrap();
        let mut peer = Peer { stream, read: BytesMut::new() };
        let connect = peer.next_within(LIMIT);
        assert!(matches!(connect, Some(Packet::Connect(..))), "{connect:?}");
        let [high, low] = receive_max.to_be_bytes();
        peer.send(&[0x20, 6, 0, 0, 3, 0x21, high, low]);
        peer
    }
}

impl Peer {
    /// The next packet but for pings; `None`: none in this time, or the other side has ended the connection.
    pub fn next_within(&mut self, time: Duration) -> Option<Packet> {
        self.stream.set_read_timeout(Some(time)).unwrap();
        loop {
            match Packet::read(&mut self.read, None) {
                Ok(Packet::PingReq(_)) => self.send(&[0xD0, 0]),
                Ok(packet) => return Some(packet),
                Err(Error::InsufficientBytes(_)) => {
                    let mut bytes = [0; 4096];
                    match self.stream.read(&mut bytes) {
                        Ok(0) => return None,
                        Ok(count) => self.read.extend_from_slice(&bytes[..count]),
                        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                            return None;
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Confirms the subscription that comes next.
    pub fn subscribed(&mut self) {
        let Some(Packet::Subscribe(subscribe)) = self.next_within(LIMIT) else { panic!("no subscription") };
        let [high, low] = subscribe.pkid.to_be_bytes();
        let codes = vec![1; subscribe.filters.len()];
        self.send(&[&[0x90, 3 + codes.len() as u8, high, low, 0], &codes[..]].concat());
    }

    /// The next message.
    pub fn message(&mut self) -> Publish {
        match self.next_within(LIMIT) {
            Some(Packet::Publish(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    pub fn acknowledge(&mut self, pkid: u16) {
        let [high, low] = pkid.to_be_bytes();
        self.send(&[0x40, 2, high, low]);
    }

    /// Sends a message to the one that it is from, as to a subscriber.
    pub fn send_back(&mut self, message: &Publish) {
        let mut out = BytesMut::new();
        let again = Publish { qos: QoS::AtMostOnce, pkid: 0, ..message.clone() };
        again.write(&mut out).unwrap();
        self.send(&out);
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }
}
