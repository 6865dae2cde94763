//! Connections between clients and the broker: each carries frames and notes in order, after a delay, until it is cut.
//! What was on its way when it is cut is lost on both sides.

use std::collections::BTreeMap;

use modelfleet_number::chance::Chance;
use modelfleet_protocol::time::Time;

use crate::broker::{Connection, Note};

/// A retained message may come so much later than those behind it, milliseconds.
const RETAINED_LATE_MAX_MS: u64 = 30_000;

/// How slow and how unreliable connections are.
#[derive(Clone, Copy, Debug)]
pub struct Quality {
    /// Longest delay of one packet, milliseconds; the shortest is a hundredth.
    pub delay_max_ms: u64,
    /// Packets of a million that are delayed a hundredfold.
    pub stall_ppm: u32,
    /// Packets of a million after which the connection is cut.
    pub cut_ppm: u32,
    /// Packets of a million that arrive twice, as an unacknowledged QoS 1 message does.
    pub twice_ppm: u32,
    /// Whether retained messages may arrive behind newer ones, which MQTT allows.
    pub retained_late: bool,
}

impl Default for Quality {
    fn default() -> Quality {
        Quality { delay_max_ms: 200, stall_ppm: 0, cut_ppm: 0, twice_ppm: 0, retained_late: false }
    }
}

/// One connection.
#[derive(Debug)]
struct Wire {
    /// Who connected.
    client: usize,
    /// The last packet of each direction arrives then; no later one arrives sooner.
    last: [Time; 2],
}

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client.
    ToBroker,
    /// To the client.
    ToClient,
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrives then; twice where there are two moments.
    Arrives(Vec<Time>),
    /// The connection is cut under it.
    Cut,
    /// There is no such connection.
    Nowhere,
}

/// All connections.
#[derive(Debug, Default)]
pub struct Network {
    wires: BTreeMap<Connection, Wire>,
    next: u64,
    /// How good they are.
    pub quality: Quality,
}

impl Network {
    /// A network without connections.
    #[must_use]
    pub fn of(quality: Quality) -> Network {
        Network { quality, ..Network::default() }
    }

    /// A new connection of a client.
    pub fn open(&mut self, client: usize) -> Connection {
        self.next += 1;
        let connection = Connection(self.next);
        self.wires.insert(connection, Wire { client, last: [Time::ZERO; 2] });
        connection
    }

    /// Who is at the other end; `None` when the connection is gone.
    #[must_use]
    pub fn client(&self, connection: Connection) -> Option<usize> {
        self.wires.get(&connection).map(|wire| wire.client)
    }

    /// The connection of a client, if it has one.
    #[must_use]
    pub fn connection_of(&self, client: usize) -> Option<Connection> {
        self.wires.iter().find(|(_, wire)| wire.client == client).map(|(connection, _)| *connection)
    }

    /// Ends a connection. Returns whether it was there.
    pub fn close(&mut self, connection: Connection) -> bool {
        self.wires.remove(&connection).is_some()
    }

    /// What becomes of a packet that is sent now.
    pub fn send(&mut self, on: Connection, way: Way, now: Time, chance: &mut Chance) -> Fate {
        let quality = self.quality;
        let Some(wire) = self.wires.get_mut(&on) else { return Fate::Nowhere };
        if happens(chance, quality.cut_ppm) {
            return Fate::Cut;
        }
        let mut delay_ms = 1 + drawn(chance, quality.delay_max_ms);
        if happens(chance, quality.stall_ppm) {
            delay_ms *= 100;
        }
        let last = &mut wire.last[usize::from(way == Way::ToClient)];
        *last = now.after_ms(delay_ms).max(*last);
        let mut moments = vec![*last];
        if happens(chance, quality.twice_ppm) {
            *last = last.after_ms(drawn(chance, quality.delay_max_ms));
            moments.push(*last);
        }
        Fate::Arrives(moments)
    }

    /// How much longer a note may take than those behind it, milliseconds.
    pub fn held_back_ms(&self, note: &Note, chance: &mut Chance) -> u64 {
        match note {
            Note::Message { retained: true, topic, .. } if self.quality.retained_late => {
                // Some come after all seems to be there. Not those of presence: README says why.
                let late = chance.below(8) == 0 && !topic.ends_with("/presence");
                drawn(chance, if late { RETAINED_LATE_MAX_MS } else { 4 * self.quality.delay_max_ms })
            }
            _ => 0,
        }
    }
}

/// Whether something happens that does so in so many of a million cases.
pub fn happens(chance: &mut Chance, ppm: u32) -> bool {
    ppm > 0 && chance.below(1_000_000) < ppm
}

/// A number from 0 to `most`, evenly.
pub fn drawn(chance: &mut Chance, most: u64) -> u64 {
    u64::from(chance.below(u32::try_from(most.saturating_add(1)).unwrap_or(u32::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_of_one_direction_keep_their_order_and_none_outlives_its_connection() {
        let quality = Quality { stall_ppm: 300_000, twice_ppm: 300_000, ..Quality::default() };
        let mut network = Network::of(quality);
        let mut chance = Chance::new(1);
        let wire = network.open(4);
        assert_eq!((network.client(wire), network.connection_of(4)), (Some(4), Some(wire)));
        let mut last = Time::ZERO;
        for now in 0..500 {
            let Fate::Arrives(moments) = network.send(wire, Way::ToBroker, Time(now), &mut chance) else {
                panic!("nothing cuts here")
            };
            for moment in moments {
                assert!(moment >= last && moment > Time(now));
                last = moment;
            }
        }
        assert!(network.close(wire) && !network.close(wire));
        assert_eq!(network.send(wire, Way::ToBroker, Time(0), &mut chance), Fate::Nowhere);
    }
}
