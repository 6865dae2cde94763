//! The plans that the broker holds, as far as we know: what was sent, and what came back.

use std::collections::BTreeMap;
use std::sync::Arc;

use ed25519_dalek::VerifyingKey;
use modelfleet_protocol::envelope::{KeyId, Signed, open_signed_plan};
use modelfleet_protocol::ids::{Digest, ModelName, Namespace};
use modelfleet_protocol::plan::{Order, Plan, REVISION_MAX};
use modelfleet_protocol::time::Time;

/// Where a plan is: one fleet, one model.
pub type Key = (Namespace, ModelName);

/// A plan that the broker did not send back for so long is sent again, milliseconds.
pub(crate) const ECHO_MAX_MS: u64 = 5_000;

/// The plans that the broker holds.
pub struct Ledger {
    /// Plans by these keys count.
    trusted: Arc<[VerifyingKey]>,
    /// The highest epoch that a leader can have by now, and whether plans with a higher one count for nothing.
    latest: (u64, bool),
    entries: BTreeMap<Key, Entry>,
    /// The newest plan of each model that the broker has ever held. It outlives the connection: an older one that was put
    /// in its place says nothing.
    known: BTreeMap<Key, Known>,
    /// The highest revision that devices may have seen. It outlives what the broker holds: devices refuse a lower
    /// one, so a topic that another client overwrote or a broker that lost its memory must not set it back.
    highest: BTreeMap<Key, u64>,
    /// The newest plan that a device has sent back, where the broker holds none or an older one.
    recalled: BTreeMap<Key, Known>,
}

/// A plan, and the key that signed it.
#[derive(Clone)]
struct Known {
    plan: Arc<Plan>,
    by: KeyId,
}

#[derive(Default)]
struct Entry {
    /// The newest plan that it has held; `None`: the broker holds nothing, or something that is not ours.
    held: Option<Known>,
    /// The broker holds an older plan in its place.
    displaced: bool,
    /// What was sent last on this connection.
    sent: Option<Sent>,
    /// The topic holds something, ours or not.
    occupied: bool,
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
            trusted: [key].into(),
            latest: (u64::MAX, false),
            entries: BTreeMap::new(),
            known: BTreeMap::new(),
            highest: BTreeMap::new(),
            recalled: BTreeMap::new(),
        }
    }

    /// From now on plans by these keys count, and what other keys have signed counts no more.
    pub fn trust(&mut self, keys: Arc<[VerifyingKey]>) {
        let ids: Vec<KeyId> = keys.iter().map(KeyId::of).collect();
        self.trusted = keys;
        self.known.retain(|_, known| ids.contains(&known.by));
        self.recalled.retain(|_, known| ids.contains(&known.by));
        for entry in self.entries.values_mut() {
            entry.held = entry.held.take().filter(|held| ids.contains(&held.by));
        }
    }

    /// No leader can have a higher epoch than this one by now: a thief of a plan key has signed it. With `refused` such plans count
    /// for nothing; otherwise they are told, as those of a later leader.
    pub fn bound_epochs(&mut self, latest: u64, refused: bool) {
        self.latest = (latest, refused);
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

    /// The plan of a model in an envelope that a key that counts has signed.
    fn open(&self, key: &Key, payload: &[u8]) -> Option<Known> {
        let Signed { what: plan, by } = open_signed_plan(&self.trusted, payload).ok()?;
        let (latest, refused) = self.latest;
        let fits = (&plan.namespace, &plan.model) == (&key.0, &key.1);
        let can_be = !refused || plan.order.epoch <= latest;
        (fits && can_be).then(|| Known { plan: Arc::new(plan), by })
    }

    /// A plan arrived from the broker. Returns the epoch of one that counts; one that is older than what the broker has held before
    /// does not, as devices order the plans of all keys that the trust document names.
    pub fn take(&mut self, key: &Key, payload: &[u8]) -> Option<u64> {
        let opened = self.open(key, payload);
        let entry = self.entries.entry(key.clone()).or_default();
        (entry.occupied, entry.displaced) = (!payload.is_empty(), false);
        let Some(opened) = opened else {
            entry.held = None;
            return None;
        };
        let envelope = Digest::of(payload);
        let newer = self.known.get(key).filter(|known| known.plan.order.replaces(&opened.plan.order));
        if let Some(newer) = newer {
            (entry.held, entry.displaced) = (Some(newer.clone()), true);
            return None;
        }
        if entry.sent.as_ref().is_some_and(|sent| Digest::of(&sent.bytes) == envelope) {
            entry.sent = None;
        }
        let order = opened.plan.order;
        entry.held = Some(opened.clone());
        if order.epoch <= self.latest.0 {
            self.known.insert(key.clone(), opened);
        }
        self.raise(key, order.revision);
        Some(order.epoch)
    }

    /// A device has sent the plan that it holds. True for one that is ours, and that is newer than what the broker holds and
    /// other devices have sent.
    pub fn recall(&mut self, key: &Key, payload: &[u8]) -> bool {
        let before = self.recalled.get(key).map(|known| known.plan.order);
        let opened = self.open(key, payload);
        let newer = |known: &Known| before.is_none_or(|before| known.plan.order.replaces(&before));
        let Some(opened) = opened.filter(newer).filter(|known| self.is_newer(key, known)) else {
            return false;
        };
        self.raise(key, opened.plan.order.revision);
        self.recalled.insert(key.clone(), opened);
        true
    }

    /// The newest plan of a model that a device has sent back, while the broker holds none or an older one.
    #[must_use]
    pub fn recalled(&self, key: &Key) -> Option<&Arc<Plan>> {
        self.recalled.get(key).filter(|known| self.is_newer(key, known)).map(|known| &known.plan)
    }

    /// Whether a plan is newer than the newest that we know to be at the broker.
    fn is_newer(&self, key: &Key, one: &Known) -> bool {
        self.newest(key).is_none_or(|newest| one.plan.order.replaces(&newest.order))
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
            None if entry.displaced => Due::Sign(highest),
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
        self.known.remove(key);
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
    use modelfleet_protocol::plan::EPOCH_MAX;

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

    fn sealed(signer: &SigningKey, plan: &Plan) -> Vec<u8> {
        seal(signer, PLAN_TYPE, &serde_json::to_vec(plan).unwrap())
    }

    #[test]
    fn an_older_plan_in_the_place_of_a_newer_one_says_nothing_and_is_replaced() {
        let signer = SigningKey::from_bytes(&[7; 32]);
        let mut ledger = Ledger::new(signer.verifying_key());
        let (older, newer) = (plan(2, 8, 5), plan(3, 9, 6));
        ledger.take(&key(), &sealed(&signer, &newer));
        for _ in 0..2 {
            assert_eq!(ledger.take(&key(), &sealed(&signer, &older)), None);
            assert_eq!(ledger.newest(&key()).map(|plan| plan.order), Some(newer.order));
            assert_eq!(ledger.due(&key(), &plan(0, 0, 6), 3, Time(0)), Due::Sign(9));
            ledger.reconnect();
        }
        ledger.take(&key(), &sealed(&signer, &newer));
        assert_eq!(ledger.due(&key(), &plan(0, 0, 6), 3, Time(0)), Due::Nothing);
    }

    #[test]
    fn keys_come_and_go_and_what_a_gone_one_signed_counts_no_more() {
        let (old, new) = (SigningKey::from_bytes(&[7; 32]), SigningKey::from_bytes(&[8; 32]));
        let mut ledger = Ledger::new(new.verifying_key());
        ledger.trust([old.verifying_key(), new.verifying_key()].into());
        let before = sealed(&old, &plan(2, 4, 5));
        assert_eq!(ledger.take(&key(), &before), Some(2));
        assert_eq!(ledger.due(&key(), &plan(0, 0, 5), 3, Time(0)), Due::Sign(4), "the other key's leader");
        let ours = sealed(&new, &plan(3, 5, 5));
        assert_eq!(ledger.take(&key(), &ours), Some(3));
        assert_eq!(ledger.take(&key(), &before), None, "it is older");
        ledger.trust([new.verifying_key()].into());
        let thief = sealed(&old, &plan(EPOCH_MAX, REVISION_MAX, 5));
        assert_eq!(ledger.take(&key(), &thief), None);
        assert!(ledger.newest(&key()).is_none() && !ledger.recall(&key(), &thief));
        assert_eq!(ledger.due(&key(), &plan(0, 0, 5), 3, Time(0)), Due::Sign(5));
        // What the broker holds of a key is nothing once the key is gone.
        ledger.take(&key(), &ours);
        ledger.trust([old.verifying_key()].into());
        assert!(ledger.newest(&key()).is_none());
    }

    #[test]
    fn an_epoch_that_no_leader_can_have_is_told_or_counts_for_nothing() {
        let signer = SigningKey::from_bytes(&[7; 32]);
        let mut ledger = Ledger::new(signer.verifying_key());
        let (thief, ours) = (sealed(&signer, &plan(EPOCH_MAX, 7, 5)), sealed(&signer, &plan(2, 8, 5)));
        for refused in [false, true] {
            ledger.bound_epochs(1_000, refused);
            assert_eq!(ledger.take(&key(), &thief), (!refused).then_some(EPOCH_MAX));
            // Either way our own plan is not older than it for good.
            assert_eq!(ledger.take(&key(), &ours), Some(2));
            assert_eq!(ledger.due(&key(), &plan(0, 0, 5), 2, Time(0)), Due::Nothing);
        }
    }
}
