//! The newest order of each key. What a device has seen binds the key that signed it, and others only while that key counts:
//! a stolen key that signed the highest order stops the keys after it until it is revoked, or no longer named, and no longer.

use std::collections::BTreeMap;

use modelfleet_protocol::envelope::KeyId;
use modelfleet_protocol::plan::Order;
use modelfleet_protocol::trust::KEYS_MAX;
use serde::{Deserialize, Serialize};

use crate::trust::TrustRules;

/// The newest orders of plans for one model, or of overrides. Agents that know no keys read the newest one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SeenOrders {
    /// The order that was accepted last; zero: none was, or the key that signed it was revoked.
    #[serde(flatten)]
    pub newest: Order,
    /// The key that signed what was accepted last; `None`: not known, of an agent that knew no keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<KeyId>,
    /// The newest order of each key that is not revoked, at most [`KEYS_MAX`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub of_keys: BTreeMap<KeyId, Order>,
}

/// How a message compares with those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rank {
    /// It comes after all that bind it.
    Newer,
    /// It is the newest of its key, and what was accepted after it counts no more.
    Again,
    /// It is what was accepted last.
    Repeated,
    /// It does not come after this one.
    Older {
        than: Order,
        /// Another key has signed that: once that key counts no more, this message may be accepted.
        by_other: bool,
    },
}

impl SeenOrders {
    /// Orders that were accepted by an agent that knew no keys: one of the keys of the settings had signed them.
    pub(crate) fn attributed(mut self, start_keys: &[KeyId]) -> SeenOrders {
        if self.signer.is_none() && self.of_keys.is_empty() && self.newest != Order::default() {
            self.of_keys = start_keys.iter().take(KEYS_MAX).map(|key| (*key, self.newest)).collect();
            self.signer = if let [key] = start_keys { Some(*key) } else { None };
        }
        self
    }

    /// Whether what was accepted last counts: the key that signed it was not revoked, then or since.
    pub(crate) fn counts(&self, trust: &TrustRules) -> bool {
        self.signer.is_none_or(|signer| !trust.has_revoked(signer) && self.newest != Order::default())
    }

    pub(crate) fn rank(&self, order: &Order, by: KeyId, trust: &TrustRules) -> Rank {
        let number = |order: &Order| (order.epoch, order.revision);
        let own = self.of_keys.get(&by).copied().unwrap_or_default();
        let others = self.of_keys.iter().filter(|(key, _)| **key != by && trust.binds(**key));
        let other = others.map(|(_, order)| *order).max_by_key(number).unwrap_or_default();
        if order.replaces(&own) && order.replaces(&other) {
            Rank::Newer
        } else if number(order) == number(&own) && number(order) >= number(&other) {
            if self.counts(trust) { Rank::Repeated } else { Rank::Again }
        } else if number(&other) > number(&own) {
            Rank::Older { than: other, by_other: order.replaces(&own) || number(order) == number(&own) }
        } else {
            Rank::Older { than: own, by_other: false }
        }
    }

    /// Takes over a message that was accepted.
    pub(crate) fn accept(&mut self, order: Order, by: KeyId, trust: &TrustRules) {
        (self.newest, self.signer) = (order, Some(by));
        self.of_keys.insert(by, order);
        while self.of_keys.len() > KEYS_MAX {
            // The document names no more keys than there is room for, so one that it does not name goes first.
            let others = self.of_keys.iter().filter(|(key, _)| **key != by);
            let least = others.min_by_key(|(key, order)| (trust.binds(**key), order.epoch, order.revision));
            let Some(least) = least.map(|(key, _)| *key) else { return };
            self.of_keys.remove(&least);
        }
    }

    /// Forgets what revoked keys have signed. Returns whether that changes anything.
    pub(crate) fn forget_revoked(&mut self, trust: &TrustRules) -> bool {
        let before = self.of_keys.len();
        self.of_keys.retain(|key, _| !trust.has_revoked(*key));
        let ended = !self.counts(trust) && self.newest != Order::default();
        if ended {
            // Also if a later document revokes the key no more.
            self.newest = Order::default();
        }
        ended || self.of_keys.len() != before
    }
}
