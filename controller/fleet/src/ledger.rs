//! The plans that the broker holds, as far as we know: what was sent, and what came back.

use std::collections::BTreeMap;
use std::sync::Arc;

use ed25519_dalek::VerifyingKey;
use modelfleet_protocol::envelope::open_plan;
use modelfleet_protocol::ids::{Digest, ModelName, Namespace};
use modelfleet_protocol::plan::{Order, Plan, REVISION_MAX};
use modelfleet_protocol::time::Time;

/// Where a plan is: one fleet, one model.
pub type Key = (Namespace, ModelName);

/// A plan that the broker did not send back for so long is sent again, milliseconds.
const ECHO_MAX_MS: u64 = 5_000;

/// The plans that the broker holds.
pub struct Ledger {
    trusted: [VerifyingKey; 1],
    entries: BTreeMap<Key, Entry>,
    /// The highest revision that devices may have seen. It outlives what the broker holds: devices refuse a lower
    /// one, so a topic that another client overwrote or a broker that lost its memory must not set it back.
    highest: BTreeMap<Key, u64>,
    /// The newest plan that a device has sent back, where the broker holds none or an older one.
    recalled: BTreeMap<Key, Arc<Plan>>,
}

#[derive(Default)]
struct Entry {
    /// What the broker holds; `None`: nothing, or something that is not ours.
    held: Option<Held>,
    /// What was sent last on this connection.
    sent: Option<Sent>,
    /// The topic holds something, ours or not.
    occupied: bool,
}

struct Held {
    plan: Arc<Plan>,
    envelope: Digest,
}

struct Sent {
    plan: Arc<Plan>,
    bytes: Vec<u8>,
    at: Time,
}

/// What is to be done for a plan.
#[derive(Debug, PartialEq)]
pub enum Due {
    /// The broker holds it.
    Nothing,
    /// It was sent and has to come back by then.
    Echo(Time),
    /// It was sent and did not come back.
    Again(Vec<u8>),
    /// It has to be signed and sent with a revision above this one.
    Sign(u64),
}

impl Ledger {
    /// An empty ledger that takes plans of this key for ours.
    #[must_use]
    pub fn new(key: VerifyingKey) -> Ledger {
        Ledger {
            trusted: [key],
            entries: BTreeMap::new(),
            highest: BTreeMap::new(),
            recalled: BTreeMap::new(),
        }
    }

    /// Forgets what was sent and held: the connection is new, and the broker will say what it holds.
    pub fn reconnect(&mut self) {
        self.entries.clear();
    }

    /// Devices may have seen this revision: the next plan gets a higher one.
    pub fn raise(&mut self, key: &Key, revision: u64) {
        let highest = self.highest.entry(key.clone()).or_default();
        // One more than this has to be possible, whatever a thief of the key has signed.
        *highest = revision.min(REVISION_MAX - 1).max(*highest);
    }

    /// A plan arrived from the broker. Returns the epoch of a plan that is ours.
    pub fn take(&mut self, key: &Key, payload: &[u8]) -> Option<u64> {
        let entry = self.entries.entry(key.clone()).or_default();
        entry.occupied = !payload.is_empty();
        let plan = open_plan(&self.trusted, payload).ok();
        let plan = plan.filter(|plan| (&plan.namespace, &plan.model) == (&key.0, &key.1));
        entry.held = plan.map(|plan| Held { plan: Arc::new(plan), envelope: Digest::of(payload) });
        if entry.sent.as_ref().is_some_and(|sent| {
            entry.held.as_ref().is_some_and(|held| held.envelope == Digest::of(&sent.bytes))
        }) {
            entry.sent = None;
        }
        let order = entry.held.as_ref().map(|held| held.plan.order)?;
        self.raise(key, order.revision);
        Some(order.epoch)
    }

    /// A device has sent the plan that it holds. True for one that is ours, and that is newer than what the broker holds and
    /// other devices have sent.
    pub fn recall(&mut self, key: &Key, payload: &[u8]) -> bool {
        let plan = open_plan(&self.trusted, payload).ok();
        let plan = plan.filter(|plan| (&plan.namespace, &plan.model) == (&key.0, &key.1));
        let known = [self.newest(key), self.recalled.get(key)].into_iter().flatten().map(|plan| plan.order);
        let known: Vec<Order> = known.collect();
        let Some(plan) = plan.filter(|plan| known.iter().all(|known| plan.order.replaces(known))) else {
            return false;
        };
        self.raise(key, plan.order.revision);
        self.recalled.insert(key.clone(), Arc::new(plan));
        true
    }

    /// The newest plan of a model that a device has sent back, while the broker holds none or an older one.
    #[must_use]
    pub fn recalled(&self, key: &Key) -> Option<&Arc<Plan>> {
        let newest = self.newest(key);
        self.recalled.get(key).filter(|plan| newest.is_none_or(|newest| plan.order.replaces(&newest.order)))
    }

    /// The newest plan of a model: the one that was sent last, else the one that the broker holds.
    #[must_use]
    pub fn newest(&self, key: &Key) -> Option<&Arc<Plan>> {
        let entry = self.entries.get(key)?;
        entry.sent.as_ref().map(|sent| &sent.plan).or(entry.held.as_ref().map(|held| &held.plan))
    }

    /// Whether the broker holds anything for a model, ours or not.
    #[must_use]
    pub fn is_occupied(&self, key: &Key) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.occupied || entry.sent.is_some())
    }

    /// Every model that the broker holds a plan for.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.entries.iter().filter(|(_, entry)| entry.occupied).map(|(key, _)| key)
    }

    /// What is to be done so that the broker holds `wanted` (its order is not looked at) of `epoch`.
    #[must_use]
    pub fn due(&self, key: &Key, wanted: &Plan, epoch: u64, now: Time) -> Due {
        let highest = self.highest.get(key).copied().unwrap_or(0);
        let Some(entry) = self.entries.get(key) else { return Due::Sign(highest) };
        let newest = self.newest(key);
        let good = newest.is_some_and(|plan| {
            let Order { epoch: of, revision: _, issued, expires } = plan.order;
            let half = expires.since_ms(issued) / 2;
            of == epoch && same_content(plan, wanted) && expires.since_ms(now) > half
        });
        match &entry.sent {
            _ if !good => Due::Sign(highest),
            Some(sent) if now.since_ms(sent.at) >= ECHO_MAX_MS => Due::Again(sent.bytes.clone()),
            Some(sent) => Due::Echo(sent.at.after_ms(ECHO_MAX_MS)),
            None => Due::Nothing,
        }
    }

    /// Notes that a plan was sent.
    pub fn note_sent(&mut self, key: &Key, plan: impl Into<Arc<Plan>>, bytes: Vec<u8>, at: Time) {
        let plan = plan.into();
        self.raise(key, plan.order.revision);
        self.entries.entry(key.clone()).or_default().sent = Some(Sent { plan, bytes, at });
    }

    /// Notes that a topic was cleared.
    pub fn note_cleared(&mut self, key: &Key) {
        self.entries.remove(key);
    }
}

fn same_content(a: &Plan, b: &Plan) -> bool {
    *a == Plan { order: a.order, ..b.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::SigningKey;
    use modelfleet_protocol::envelope::{PLAN_TYPE, seal};
    use modelfleet_protocol::observe::Observe;

    fn key() -> Key {
        ("plant".parse().unwrap(), "m".parse().unwrap())
    }

    fn plan(epoch: u64, revision: u64, window_s: u64) -> Plan {
        let (namespace, model) = key();
        let order = Order { epoch, revision, issued: Time(0), expires: Time(1_000_000) };
        let observe = Observe { window_ms: window_s * 1_000, ..Observe::default() };
        Plan {
            namespace,
            model,
            order,
            stable: None,
            stable_for: vec![],
            candidate: None,
            rejected: vec![],
            fetch: None,
            observe,
        }
    }

    #[test]
    fn a_plan_is_sent_once_and_again_when_it_does_not_arrive() {
        let signer = SigningKey::from_bytes(&[7; 32]);
        let mut ledger = Ledger::new(signer.verifying_key());
        let wanted = plan(0, 0, 5);
        assert_eq!(ledger.due(&key(), &wanted, 2, Time(0)), Due::Sign(0));
        let sent = plan(2, 1, 5);
        let bytes = seal(&signer, PLAN_TYPE, &serde_json::to_vec(&sent).unwrap());
        ledger.note_sent(&key(), sent, bytes.clone(), Time(0));
        assert_eq!(ledger.due(&key(), &wanted, 2, Time(1)), Due::Echo(Time(ECHO_MAX_MS)));
        assert_eq!(ledger.due(&key(), &wanted, 2, Time(ECHO_MAX_MS)), Due::Again(bytes.clone()));
        assert_eq!(ledger.take(&key(), &bytes), Some(2));
        assert_eq!(ledger.due(&key(), &wanted, 2, Time(ECHO_MAX_MS)), Due::Nothing);
        assert_eq!(ledger.due(&key(), &wanted, 3, Time(2)), Due::Sign(1), "another leader");
        assert_eq!(ledger.due(&key(), &plan(0, 0, 6), 2, Time(2)), Due::Sign(1), "another plan");
        assert_eq!(ledger.due(&key(), &wanted, 2, Time(600_000)), Due::Sign(1), "half of its life is over");
    }

    #[test]
    fn a_revision_is_never_used_again() {
        let signer = SigningKey::from_bytes(&[7; 32]);
        let mut ledger = Ledger::new(signer.verifying_key());
        let ours = seal(&signer, PLAN_TYPE, &serde_json::to_vec(&plan(2, 8, 5)).unwrap());
        assert_eq!(ledger.take(&key(), &ours), Some(2));
        for payload in [&b""[..], b"garbage"] {
            assert_eq!(ledger.take(&key(), payload), None);
            assert_eq!(ledger.due(&key(), &plan(0, 0, 5), 2, Time(0)), Due::Sign(8), "{payload:?}");
        }
        ledger.note_cleared(&key());
        ledger.reconnect();
        assert_eq!(ledger.due(&key(), &plan(0, 0, 5), 2, Time(0)), Due::Sign(8), "a broker without memory");
        ledger.raise(&key(), 11);
        assert_eq!(ledger.due(&key(), &plan(0, 0, 5), 2, Time(0)), Due::Sign(11), "what the status knows");
    }

    #[test]
    fn what_is_not_signed_by_us_is_replaced() {
        let (signer, other) = (SigningKey::from_bytes(&[7; 32]), SigningKey::from_bytes(&[8; 32]));
        let mut ledger = Ledger::new(signer.verifying_key());
        let forged = seal(&other, PLAN_TYPE, &serde_json::to_vec(&plan(9, 9, 5)).unwrap());
        for payload in [&forged[..], b"garbage"] {
            assert_eq!(ledger.take(&key(), payload), None);
            assert!(ledger.is_occupied(&key()));
            assert_eq!(ledger.due(&key(), &plan(0, 0, 5), 1, Time(0)), Due::Sign(0));
        }
    }
}
