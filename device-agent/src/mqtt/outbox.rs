//! What is to be published: the newest of each kind. Bounded by nature, however long the device is offline.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use modelfleet_protocol::ids::ModelName;
use tokio::sync::Notify;

/// One message of the device.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    /// Online.
    Presence,
    /// The state.
    State,
    /// The report of a model.
    Report(ModelName),
    /// The signed plan of a model that the device took last: for a broker that has none.
    HeldPlan(ModelName),
}

impl Item {
    /// Whether the broker keeps the message.
    pub(super) fn is_retained(&self) -> bool {
        !matches!(self, Item::HeldPlan(_))
    }

    /// Whether the message belongs to the connection that it was sent on.
    fn is_of_connection(&self) -> bool {
        matches!(self, Item::Presence | Item::HeldPlan(_))
    }
}

/// A message on its way.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// Of which kind.
    pub(super) item: Item,
    /// What it says.
    pub(super) payload: Bytes,
    /// Messages are numbered in the order in which they were put in: of two of a kind, the higher one counts.
    number: u64,
}

/// What a publish adds to its topic and payload at most, bytes: header, length, number, properties.
const PUBLISH_BYTES: usize = 16;
/// What a report's topic has at most, bytes.
const TOPIC_BYTES: usize = 512;

/// A message that the broker does not take.
pub(super) struct TooLarge {
    /// Its size on the wire.
    pub(super) bytes: usize,
    /// What the broker takes.
    pub(super) most: usize,
    /// Whether it is the first of its kind.
    pub(super) news: bool,
}

/// The newest message of each kind that the broker has not acknowledged.
pub struct Outbox {
    waiting: Mutex<Waiting>,
    changed: Notify,
    packet_bytes_max: AtomicUsize,
    /// The broker is to be asked for its plans once more.
    ask_for_plans: AtomicBool,
}

#[derive(Default)]
struct Waiting {
    messages: BTreeMap<Item, Message>,
    /// The number of the last message that was put in.
    last: u64,
    /// Kinds of which a message was found to be too large.
    too_large: BTreeSet<Item>,
}

impl Default for Outbox {
    fn default() -> Outbox {
        let (waiting, changed) = Default::default();
        Outbox {
            waiting,
            changed,
            packet_bytes_max: AtomicUsize::new(usize::MAX),
            ask_for_plans: AtomicBool::new(false),
        }
    }
}

impl Outbox {
    /// Replaces what waits of this kind.
    pub fn put(&self, item: Item, payload: Vec<u8>) {
        let mut waiting = self.lock();
        waiting.last += 1;
        let message = Message { item: item.clone(), payload: payload.into(), number: waiting.last };
        waiting.messages.insert(item, message);
        drop(waiting);
        self.changed.notify_one();
    }

    /// Asks the broker for its plans and overrides once more, on the connection that there is.
    pub fn ask_for_plans(&self) {
        self.ask_for_plans.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    /// Whether the broker is to be asked for its plans once more; told once.
    pub(super) fn take_ask_for_plans(&self) -> bool {
        self.ask_for_plans.swap(false, Ordering::AcqRel)
    }

    /// Forgets what waits of this kind: it belonged to a connection that is gone.
    pub fn drop_waiting(&self, item: &Item) {
        self.lock().messages.remove(item);
    }

    /// Largest payload that the broker accepts, if it stated a limit. A larger message is not sent.
    #[must_use]
    pub fn payload_bytes_max(&self) -> usize {
        self.packet_bytes_max.load(Ordering::Relaxed).saturating_sub(PUBLISH_BYTES + TOPIC_BYTES)
    }

    /// The broker takes packets of so many bytes at most.
    pub(super) fn keep_to(&self, packet_bytes_max: usize) {
        self.packet_bytes_max.store(packet_bytes_max, Ordering::Relaxed);
    }

    /// Whether a message is too large for the broker.
    pub(super) fn too_large(&self, message: &Message, topic: &str) -> Option<TooLarge> {
        let most = self.packet_bytes_max.load(Ordering::Relaxed);
        let bytes = PUBLISH_BYTES + topic.len() + message.payload.len();
        (bytes > most).then(|| {
            let news = self.lock().too_large.insert(message.item.clone());
            TooLarge { bytes, most, news }
        })
    }

    /// The next message: presence before state before reports.
    pub(super) fn take(&self) -> Option<Message> {
        self.lock().messages.pop_first().map(|(_, message)| message)
    }

    /// Takes a message back that was not acknowledged, unless a newer one has come. A presence or a held plan belongs to its
    /// connection and is not taken back.
    pub(super) fn put_back(&self, message: Message) {
        if message.item.is_of_connection() {
            return;
        }
        match self.lock().messages.entry(message.item.clone()) {
            Entry::Vacant(empty) => drop(empty.insert(message)),
            Entry::Occupied(mut other) if other.get().number < message.number => {
                other.insert(message);
            }
            Entry::Occupied(_) => {}
        }
    }

    /// Forgets the plans that wait: they were for the broker of a connection that is gone.
    pub(super) fn drop_held_plans(&self) {
        self.lock().messages.retain(|item, _| !matches!(item, Item::HeldPlan(_)));
    }

    /// Waits until something was put in.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_message_replaces_an_older_one() {
        let outbox = Outbox::default();
        let report = Item::Report("pump-anomaly".parse().unwrap());
        outbox.put(report.clone(), b"one".to_vec());
        outbox.put(Item::State, b"state".to_vec());
        outbox.put(report.clone(), b"two".to_vec());
        assert_eq!(outbox.take().unwrap().item, Item::State);
        let message = outbox.take().unwrap();
        assert_eq!(&message.payload[..], b"two");
        assert!(outbox.take().is_none());

        outbox.put_back(message.clone());
        assert_eq!(&outbox.take().unwrap().payload[..], b"two");
        outbox.put(message.item.clone(), b"three".to_vec());
        outbox.put_back(message);
        assert_eq!(&outbox.take().unwrap().payload[..], b"three");
        outbox.put(Item::Presence, Vec::new());
        let presence = outbox.take().unwrap();
        outbox.put_back(presence);
        assert!(outbox.take().is_none());
    }

    #[test]
    fn of_two_that_come_back_the_newer_one_is_kept() {
        for newer_first in [false, true] {
            let outbox = Outbox::default();
            let mut taken = [b"older", b"newer"].map(|payload| {
                outbox.put(Item::State, payload.to_vec());
                outbox.take().unwrap()
            });
            if newer_first {
                taken.reverse();
            }
            taken.into_iter().for_each(|message| outbox.put_back(message));
            assert_eq!(&outbox.take().unwrap().payload[..], b"newer");
        }
    }
}
