//! The broker's side of an MQTT connection, packet by packet, for what a good broker cannot be made to do.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::Error;
use rumqttc::v5::mqttbytes::v5::{Packet, Publish};

use super::LIMIT;

/// Accepts connections one after the other.
pub struct Wire {
    listener: TcpListener,
}

/// One connection.
pub struct Peer {
    stream: TcpStream,
    read: BytesMut,
}

impl Wire {
    pub fn start() -> Wire {
        Wire { listener: TcpListener::bind("127.0.0.1:0").unwrap() }
    }

    pub fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    /// The next connection, accepted; `most`: the largest packet that is said to be taken, bytes.
    pub fn accept(&self, most: Option<u32>) -> Peer {
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let mut peer = Peer { stream, read: BytesMut::new() };
        let connect = peer.next();
        assert!(matches!(connect, Some(Packet::Connect(..))), "{connect:?}");
        let mut properties = Vec::new();
        if let Some(most) = most {
            properties.push(0x27);
            properties.extend(most.to_be_bytes());
        }
        let length = properties.len() as u8;
        peer.send(&[&[0x20, 3 + length, 0, 0, length], &properties[..]].concat());
        peer
    }
}

impl Peer {
    /// The next packet but for pings; `None` when the device has ended the connection.
    pub fn next(&mut self) -> Option<Packet> {
        loop {
            match Packet::read(&mut self.read, None) {
                Ok(Packet::PingReq(_)) => self.send(&[0xD0, 0]),
                Ok(packet) => return Some(packet),
                Err(Error::InsufficientBytes(_)) => {
                    let mut bytes = [0; 4096];
                    let count = match self.stream.read(&mut bytes) {
                        // It hung up without having read all that we sent.
                        Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
                        read => read.expect("a packet in time"),
                    };
                    if count == 0 {
                        return None;
                    }
                    self.read.extend_from_slice(&bytes[..count]);
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// The number of the subscription, which comes next.
    pub fn subscription(&mut self) -> u16 {
        match self.next() {
            Some(Packet::Subscribe(subscribe)) => subscribe.pkid,
            other => panic!("{other:?}"),
        }
    }

    /// Answers the subscription to plans and to overrides.
    pub fn subscribed(&mut self, number: u16, codes: [u8; 2]) {
        let [high, low] = number.to_be_bytes();
        self.send(&[0x90, 5, high, low, 0, codes[0], codes[1]]);
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

    pub fn acknowledge(&mut self, number: u16) {
        let [high, low] = number.to_be_bytes();
        self.send(&[0x40, 2, high, low]);
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }
}
