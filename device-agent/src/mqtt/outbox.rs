//! What is to be published: the newest of each kind. Bounded by nature, however long the device is offline.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use modelfleet_protocol::ids::ModelName;
use tokio::sync::Notify;

/// One retained message of the device.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    /// Online.
    Presence,
    /// The state.
    State,
    /// The report of a model.
    Report(ModelName),
}

/// The newest message of each kind that the broker has not acknowledged.
#[derive(Default)]
pub struct Outbox {
    waiting: Mutex<BTreeMap<Item, Bytes>>,
    changed: Notify,
}

impl Outbox {
    /// Replaces what waits of this kind.
    pub fn put(&self, item: Item, payload: Vec<u8>) {
        self.lock().insert(item, payload.into());
        self.changed.notify_one();
    }

    /// Forgets what waits of this kind: it belonged to a connection that is gone.
    pub fn drop_waiting(&self, item: &Item) {
        self.lock().remove(item);
    }

    /// The next message: presence before state before reports.
    pub(super) fn take(&self) -> Option<(Item, Bytes)> {
        self.lock().pop_first()
    }

    /// Takes a message back that was not acknowledged, unless a newer one has come. A presence belongs to its
    /// connection and is not taken back.
    pub(super) fn put_back(&self, item: Item, payload: Bytes) {
        if item != Item::Presence {
            self.lock().entry(item).or_insert(payload);
        }
    }

    /// Waits until something was put in.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Item, Bytes>> {
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
        assert_eq!(outbox.take().unwrap().0, Item::State);
        let (item, payload) = outbox.take().unwrap();
        assert_eq!(&payload[..], b"two");
        assert!(outbox.take().is_none());

        outbox.put_back(item.clone(), payload.clone());
        assert_eq!(&outbox.take().unwrap().1[..], b"two");
        outbox.put(item.clone(), b"three".to_vec());
        outbox.put_back(item, payload);
        assert_eq!(&outbox.take().unwrap().1[..], b"three");
        outbox.put_back(Item::Presence, Bytes::new());
        assert!(outbox.take().is_none());
    }
}
