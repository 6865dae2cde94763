//! An MQTT 5 broker, as far as Modelfleet leans on one: retained messages, clean sessions, QoS 1, last wills, takeover of a
//! client id, rights by client, restarts with and without memory. Pure: it says which notes go to which connection, and
//! [`crate::network`] carries them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Number of one connection; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Connection(pub u64);

/// What a client sends.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// The first of a connection.
    Connect {
        /// Its name; the broker keeps one connection for each.
        client: String,
        /// Published retained when the connection ends without [`Frame::Goodbye`].
        will: Option<(String, Arc<[u8]>)>,
    },
    /// Asks for topics, with `+` for one level.
    Subscribe(Vec<String>),
    /// A message with QoS 1; the number comes back with the acknowledgement.
    Publish {
        /// The sender's number.
        id: u64,
        /// Where.
        topic: String,
        /// What; nothing clears a retained message.
        payload: Arc<[u8]>,
        /// Whether the broker keeps it.
        retain: bool,
    },
    /// Ends the connection; the will is dropped.
    Goodbye,
}

/// What a client is sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    /// The connection is accepted.
    Accepted,
    /// An answer to a subscription: whether each filter was granted.
    Subscribed(Vec<bool>),
    /// A publish was taken, or dropped for lack of rights, which MQTT 3.1.1 cannot tell apart.
    Acknowledged(u64),
    /// A message.
    Message {
        /// Where.
        topic: String,
        /// What.
        payload: Arc<[u8]>,
        /// It lay there before the subscription.
        retained: bool,
    },
    /// The connection is closed.
    Closed,
}

/// The broker.
#[derive(Debug, Default)]
pub struct Broker {
    retained: BTreeMap<String, Arc<[u8]>>,
    /// What a restart without its last minutes comes back with.
    snapshot: BTreeMap<String, Arc<[u8]>>,
    clients: BTreeMap<Connection, Client>,
    /// At most so many messages are retained: one on a further topic is sent on and not kept.
    kept_max: Option<usize>,
    /// At most so many retained messages are sent to one subscription; the others never are.
    pub sent_max: Option<usize>,
}

#[derive(Debug)]
struct Client {
    name: String,
    filters: BTreeSet<String>,
    will: Option<(String, Arc<[u8]>)>,
}

/// A note and the connection that it goes to.
pub type Sent = (Connection, Note);

impl Broker {
    /// Takes a frame of a connection.
    pub fn take(&mut self, from: Connection, frame: Frame) -> Vec<Sent> {
        match frame {
            Frame::Connect { client, will } => self.connect(from, client, will),
            Frame::Subscribe(filters) => self.subscribe(from, filters),
            Frame::Publish { id, topic, payload, retain } => {
                let Some(client) = self.clients.get(&from) else { return Vec::new() };
                let allowed = may_write(&client.name, &topic);
                let mut sent = match allowed {
                    true => self.publish(topic, payload, retain),
                    false => Vec::new(),
                };
                sent.push((from, Note::Acknowledged(id)));
                sent
            }
            Frame::Goodbye => {
                self.clients.remove(&from);
                vec![(from, Note::Closed)]
            }
        }
    }

    /// A connection is gone without a goodbye: its will is published.
    pub fn lose(&mut self, gone: Connection) -> Vec<Sent> {
        match self.clients.remove(&gone).and_then(|client| client.will) {
            Some((topic, payload)) => self.publish(topic, payload, true),
            None => Vec::new(),
        }
    }

    /// As [`Broker::lose`], but the will is handed back instead of published: some brokers publish it late.
    pub fn lose_quietly(&mut self, gone: Connection) -> Option<(String, Arc<[u8]>)> {
        self.clients.remove(&gone).and_then(|client| client.will)
    }

    /// Publishes for nobody in particular: a will that comes late.
    pub fn publish(&mut self, topic: String, payload: Arc<[u8]>, retain: bool) -> Vec<Sent> {
        if retain && payload.is_empty() {
            self.retained.remove(&topic);
        } else if retain && self.has_room(&topic) {
            self.retained.insert(topic.clone(), Arc::clone(&payload));
        }
        let to = self.clients.iter().filter(|(_, c)| c.filters.iter().any(|filter| matches(filter, &topic)));
        let note = Note::Message { topic: topic.clone(), payload: Arc::clone(&payload), retained: false };
        to.map(|(connection, _)| (*connection, note.clone())).collect()
    }

    /// Everybody is thrown off. What was retained stays, goes back to the last snapshot, or is forgotten.
    pub fn restart(&mut self, memory: Memory) -> Vec<Sent> {
        match memory {
            Memory::Kept => {}
            Memory::Snapshot => self.retained = self.snapshot.clone(),
            Memory::Forgotten => self.retained.clear(),
        }
        let gone = std::mem::take(&mut self.clients);
        gone.into_keys().map(|connection| (connection, Note::Closed)).collect()
    }

    /// Writes what is retained to disk, as brokers do from time to time.
    pub fn store_snapshot(&mut self) {
        self.snapshot = self.retained.clone();
    }

    /// Loses one retained message, chosen by `pick` out of their number.
    pub fn forget_one(&mut self, pick: impl FnOnce(usize) -> usize) {
        if self.retained.is_empty() {
            return;
        }
        let at = pick(self.retained.len()) % self.retained.len();
        let topic = self.retained.keys().nth(at).cloned();
        topic.map(|topic| self.retained.remove(&topic));
    }

    /// How many messages are retained.
    #[must_use]
    pub fn count(&self) -> usize {
        self.retained.len()
    }

    /// Keeps `most` retained messages, chosen by `pick` out of the number that is left, and no others until
    /// [`Broker::keep_all`].
    pub fn cut_to(&mut self, most: usize, mut pick: impl FnMut(usize) -> usize) {
        self.kept_max = Some(most);
        while self.retained.len() > most {
            self.forget_one(&mut pick);
        }
    }

    /// Nothing bounds what is retained and sent any more.
    pub fn keep_all(&mut self) {
        (self.kept_max, self.sent_max) = (None, None);
    }

    fn has_room(&self, topic: &str) -> bool {
        self.retained.contains_key(topic) || self.kept_max.is_none_or(|most| self.retained.len() < most)
    }

    /// What is retained on a topic.
    #[must_use]
    pub fn retained(&self, topic: &str) -> Option<&Arc<[u8]>> {
        self.retained.get(topic)
    }

    fn connect(&mut self, from: Connection, name: String, will: Option<(String, Arc<[u8]>)>) -> Vec<Sent> {
        let taken: Vec<Connection> =
            self.clients.iter().filter(|(_, c)| c.name == name).map(|(connection, _)| *connection).collect();
        let mut sent = Vec::new();
        for old in taken {
            sent.push((old, Note::Closed));
            sent.extend(self.lose(old));
        }
        self.clients.insert(from, Client { name, filters: BTreeSet::new(), will });
        sent.push((from, Note::Accepted));
        sent
    }

    fn subscribe(&mut self, from: Connection, filters: Vec<String>) -> Vec<Sent> {
        let Some(client) = self.clients.get_mut(&from) else { return Vec::new() };
        client.filters.extend(filters.iter().cloned());
        let mut sent = vec![(from, Note::Subscribed(vec![true; filters.len()]))];
        for filter in &filters {
            let found = self.retained.iter().filter(|(topic, _)| matches(filter, topic));
            let notes = found.map(|(topic, payload)| {
                let note =
                    Note::Message { topic: topic.clone(), payload: Arc::clone(payload), retained: true };
                (from, note)
            });
            sent.extend(notes);
        }
        // The answer to the subscription comes first, and always.
        sent.truncate(self.sent_max.map_or(usize::MAX, |most| most + 1));
        sent
    }
}

/// What a restart leaves of the retained messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// All.
    Kept,
    /// What was there at the last snapshot.
    Snapshot,
    /// Nothing.
    Forgotten,
}

/// The rights that the shipped settings give: a device writes below its own name, a controller anywhere.
fn may_write(client: &str, topic: &str) -> bool {
    match client.strip_prefix("device:") {
        None => true,
        Some(id) => topic.split('/').nth(5) == Some(id),
    }
}

/// Whether a topic filter matches; `+` stands for one level.
fn matches(filter: &str, topic: &str) -> bool {
    let (mut filter, mut topic) = (filter.split('/'), topic.split('/'));
    loop {
        match (filter.next(), topic.next()) {
            (None, None) => return true,
            (Some(level), Some(name)) if level == "+" || level == name => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: &str = "mf/1/plant/device/3f/pump-1/state";

    fn connect(broker: &mut Broker, number: u64, client: &str, will: Option<&str>) -> Vec<Sent> {
        let will = will.map(|topic| (topic.to_owned(), Arc::from(&b"offline"[..])));
        broker.take(Connection(number), Frame::Connect { client: client.to_owned(), will })
    }

    fn publish(broker: &mut Broker, from: u64, topic: &str, payload: &[u8]) -> Vec<Sent> {
        let frame =
            Frame::Publish { id: 7, topic: topic.to_owned(), payload: Arc::from(payload), retain: true };
        broker.take(Connection(from), frame)
    }

    #[test]
    fn what_is_retained_reaches_who_subscribes_later() {
        let mut broker = Broker::default();
        connect(&mut broker, 1, "device:pump-1", None);
        publish(&mut broker, 1, STATE, b"one");
        publish(&mut broker, 1, STATE, b"two");
        connect(&mut broker, 2, "controller", None);
        let sent =
            broker.take(Connection(2), Frame::Subscribe(vec!["mf/1/plant/device/+/+/state".to_owned()]));
        let note = Note::Message { topic: STATE.to_owned(), payload: Arc::from(&b"two"[..]), retained: true };
        assert_eq!(sent, [(Connection(2), Note::Subscribed(vec![true])), (Connection(2), note)]);
        publish(&mut broker, 1, STATE, b"");
        assert_eq!(broker.retained(STATE), None, "nothing clears it");
    }

    #[test]
    fn a_second_connection_under_one_name_throws_the_first_off_and_publishes_its_will() {
        let mut broker = Broker::default();
        connect(&mut broker, 1, "device:pump-1", Some(STATE));
        let sent = connect(&mut broker, 2, "device:pump-1", None);
        assert_eq!(sent, [(Connection(1), Note::Closed), (Connection(2), Note::Accepted)]);
        assert_eq!(broker.retained(STATE).map(|p| &p[..]), Some(&b"offline"[..]));
        assert!(publish(&mut broker, 1, STATE, b"late").is_empty(), "who is off says nothing");
    }

    #[test]
    fn nobody_writes_below_the_name_of_another() {
        let mut broker = Broker::default();
        connect(&mut broker, 1, "device:pump-2", None);
        publish(&mut broker, 1, STATE, b"forged");
        publish(&mut broker, 1, "mf/1/plant/plan/pump", b"forged");
        assert!(broker.retained.is_empty());
    }

    #[test]
    fn a_store_that_was_cut_takes_no_further_topic_and_a_subscription_gets_a_part() {
        let mut broker = Broker::default();
        connect(&mut broker, 1, "controller", None);
        let topics = ["a/state", "b/state", "c/state"].map(|end| format!("mf/1/plant/device/3f/{end}"));
        topics.iter().for_each(|topic| drop(publish(&mut broker, 1, topic, b"one")));
        let all = || Frame::Subscribe(vec!["mf/1/plant/device/+/+/state".to_owned()]);
        broker.sent_max = Some(1);
        assert_eq!(broker.take(Connection(1), all()).len(), 2, "the answer and one message");
        broker.cut_to(2, |_| 0);
        assert_eq!((broker.count(), broker.retained(&topics[0])), (2, None));
        publish(&mut broker, 1, &topics[0], b"two");
        publish(&mut broker, 1, &topics[1], b"two");
        assert_eq!((broker.count(), broker.retained(&topics[1]).map(|p| &p[..])), (2, Some(&b"two"[..])));
        broker.keep_all();
        publish(&mut broker, 1, &topics[0], b"two");
        assert_eq!(broker.take(Connection(1), all()).len(), 4);
    }

    #[test]
    fn restarts_keep_what_they_are_told_to_keep() {
        for (memory, left) in
            [(Memory::Kept, Some("two")), (Memory::Snapshot, Some("one")), (Memory::Forgotten, None)]
        {
            let mut broker = Broker::default();
            connect(&mut broker, 1, "device:pump-1", None);
            publish(&mut broker, 1, STATE, b"one");
            broker.store_snapshot();
            publish(&mut broker, 1, STATE, b"two");
            assert_eq!(broker.restart(memory), [(Connection(1), Note::Closed)]);
            assert_eq!(broker.retained(STATE).map(|p| &p[..]), left.map(str::as_bytes), "{memory:?}");
        }
    }
}
