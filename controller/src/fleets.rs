//! What devices and the broker say, a lock for each fleet.
//!
//! A fleet's lock is held to fold one message, to copy the fleet out or to note a plan, and never while anything is decided:
//! no fleet waits for another one's look, and none for its own. The list of fleets has a lock that is held to find one in it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, TryLockError};

use ed25519_dalek::VerifyingKey;
use modelfleet_fleet::malformed::Malformed;
use modelfleet_fleet::malformed::Named;
use modelfleet_fleet::trust::{Followed, TrustTopic, plan_keys};
use modelfleet_fleet::{Enrolment, FleetIndex, Ledger, Link, Room, Trust};
use modelfleet_model::LastLooks;
use modelfleet_model::decide_model::Recorded;
use modelfleet_protocol::envelope::KeyId;
use modelfleet_protocol::ids::{ModelName, Namespace};
use modelfleet_protocol::trust::{PublicKey, TrustDocument};

use tokio::sync::Notify;

use crate::context::compute;
use crate::mqtt::Outbox;
use crate::trust::TrustEnd;

/// All fleets.
pub struct Fleets {
    /// One that was named once stays: what devices may have seen of its plans must not be forgotten.
    fleets: RwLock<BTreeMap<Namespace, Arc<Fleet>>>,
    /// Those that have a managed model: the broker is asked for their devices.
    wanted: Mutex<BTreeSet<Namespace>>,
    link: Mutex<Link>,
    malformed: Mutex<Malformed>,
    room: Arc<Room>,
    /// Most devices of one fleet.
    fleet_max: usize,
    /// The key that signs our plans.
    key: VerifyingKey,
    /// The trust document that counts; `None`: none does, and plans by our own key alone are ours.
    trust: RwLock<Option<Trust>>,
    /// Why this process has to end after a change of the trust document.
    trust_end: OnceLock<TrustEnd>,
    /// A newer trust document counts since this was waited for last.
    trust_moved: Notify,
    /// Looks are recorded.
    records: bool,
    /// Whose word counts for the devices' labels.
    enrolment: Enrolment,
}

/// One fleet behind its lock.
pub struct Fleet {
    state: Mutex<FleetState>,
}

/// What the devices of one fleet and the broker say.
pub struct FleetState {
    /// Devices.
    pub index: FleetIndex,
    /// Plans at the broker.
    pub ledger: Ledger,
    /// The trust document at the broker.
    pub trust_topic: TrustTopic,
    /// What was recorded last, by namespace and rollout; `None`: nothing is recorded.
    pub recorded: Option<Arc<Recorded>>,
    /// What was seen at the last look at each model.
    pub last_looks: BTreeMap<ModelName, Arc<LastLooks>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Fleet {
    /// The fleet, locked, unless it is locked already.
    #[must_use]
    pub fn try_locked(&self) -> Option<MutexGuard<'_, FleetState>> {
        match self.state.try_lock() {
            Ok(state) => Some(state),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// The fleet, locked. A thread that panicked with the lock has left it whole: each message replaces entries, it never
    /// leaves one half written.
    pub fn locked(&self) -> MutexGuard<'_, FleetState> {
        match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // To let a large fleet go takes a moment, in which no thread may be kept from the lease and the probes.
            Err(TryLockError::WouldBlock) => compute(|| locked(&self.state)),
        }
    }
}

impl Fleets {
    /// No fleets yet. Plans that this key has signed are ours; all fleets have room for `devices_max` devices, each for
    /// `fleet_max` of them.
    #[must_use]
    pub fn new(key: VerifyingKey, devices_max: usize, fleet_max: usize) -> Fleets {
        Fleets {
            fleets: RwLock::default(),
            wanted: Mutex::default(),
            link: Mutex::default(),
            malformed: Mutex::default(),
            room: Arc::new(Room::new(devices_max)),
            fleet_max,
            key,
            trust: RwLock::default(),
            trust_end: OnceLock::new(),
            trust_moved: Notify::new(),
            records: false,
            enrolment: Enrolment::default(),
        }
    }

    /// The same, with labels that an enrolment key vouches for.
    #[must_use]
    pub fn enrolling(self, enrolment: Enrolment) -> Fleets {
        Fleets { enrolment, ..self }
    }

    /// The same, with a trust document.
    #[must_use]
    pub fn trusting(self, trust: Trust) -> Fleets {
        Fleets { trust: RwLock::new(Some(trust)), ..self }
    }

    /// The same, with looks recorded.
    #[must_use]
    pub fn recording(self) -> Fleets {
        Fleets { records: true, ..self }
    }

    /// A fleet that was named before.
    #[must_use]
    pub fn get(&self, namespace: &Namespace) -> Option<Arc<Fleet>> {
        self.fleets.read().unwrap_or_else(PoisonError::into_inner).get(namespace).cloned()
    }

    /// A fleet that an object or a plan of ours names.
    #[must_use]
    pub fn named(&self, namespace: &Namespace) -> Arc<Fleet> {
        self.get(namespace).unwrap_or_else(|| {
            let mut fleets = self.fleets.write().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(fleets.entry(namespace.clone()).or_insert_with(|| Arc::new(self.fresh(namespace))))
        })
    }

    fn fresh(&self, namespace: &Namespace) -> Fleet {
        let index = FleetIndex::new(namespace.clone(), Arc::clone(&self.room), self.fleet_max);
        let state = FleetState {
            index: index.enrolling(self.enrolment_of(namespace)),
            ledger: self.ledger(namespace),
            trust_topic: TrustTopic::default(),
            recorded: self.records.then(Arc::default),
            last_looks: BTreeMap::new(),
        };
        Fleet { state: Mutex::new(state) }
    }

    /// Every fleet that was named.
    #[must_use]
    pub fn all(&self) -> Vec<(Namespace, Arc<Fleet>)> {
        let fleets = self.fleets.read().unwrap_or_else(PoisonError::into_inner);
        fleets.iter().map(|(namespace, fleet)| (namespace.clone(), Arc::clone(fleet))).collect()
    }

    /// Whether a plan is ours.
    #[must_use]
    pub fn is_ours(&self, key: &modelfleet_fleet::Key, payload: &[u8]) -> bool {
        self.ledger(&key.0).take(key, payload).is_some()
    }

    /// The key that signs our plans.
    #[must_use]
    pub fn own_key(&self) -> KeyId {
        KeyId::of(&self.key)
    }

    /// The same, to verify with.
    #[must_use]
    pub fn own(&self) -> &VerifyingKey {
        &self.key
    }

    /// The keys that the trust document of a fleet names for plans; none without one.
    #[must_use]
    pub fn plan_keys_of(&self, namespace: &Namespace) -> Vec<VerifyingKey> {
        self.trust_of(namespace).map_or_else(Vec::new, |document| plan_keys(&document))
    }

    fn ledger(&self, namespace: &Namespace) -> Ledger {
        let mut ledger = Ledger::new(self.key);
        if let Some(document) = self.trust_of(namespace) {
            ledger.trust(plan_keys(&document).into());
        }
        ledger
    }

    /// Whose word counts for the labels of a fleet's devices: that of the keys in the trust document, where there is one.
    fn enrolment_of(&self, namespace: &Namespace) -> Enrolment {
        match self.trust_of(namespace) {
            Some(document) => Enrolment {
                keys: document.enrolment_keys.iter().map(PublicKey::verifying).collect(),
                required: self.enrolment.required,
            },
            None => self.enrolment.clone(),
        }
    }

    fn trust(&self) -> RwLockReadGuard<'_, Option<Trust>> {
        self.trust.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The trust document that counts for a fleet.
    #[must_use]
    pub fn trust_of(&self, namespace: &Namespace) -> Option<Arc<TrustDocument>> {
        self.trust().as_ref().and_then(|trust| trust.of(namespace)).cloned()
    }

    /// The trust file that the broker shall hold for a fleet.
    #[must_use]
    pub fn trust_file_of(&self, namespace: &Namespace) -> Option<Arc<[u8]>> {
        self.trust()
            .as_ref()
            .filter(|trust| trust.of(namespace).is_some())
            .map(|trust| Arc::clone(trust.file()))
    }

    /// Takes a trust file, of the disk or of the broker. A newer one counts at once: for plans that the broker holds, too. `None`:
    /// this controller was given no trust document. When it cannot go on with the new one, [`Fleets::trust_end`] says why.
    pub fn take_trust(&self, file: &[u8]) -> Option<Followed> {
        let (followed, before, after) = {
            let mut trust = self.trust.write().unwrap_or_else(PoisonError::into_inner);
            let trust = trust.as_mut()?;
            let before = Arc::clone(trust.document());
            let followed = trust.take(file);
            (followed, before, Arc::clone(trust.document()))
        };
        if matches!(followed, Followed::Newer) {
            self.trust_moved.notify_one();
            if let Some(end) = TrustEnd::of(&before, &after, self.own_key()) {
                let _ = self.trust_end.set(end);
            }
            for (namespace, fleet) in self.all() {
                if let Some(document) = self.trust_of(&namespace) {
                    let keys = plan_keys(&document);
                    let mut ids: Vec<KeyId> = keys.iter().map(KeyId::of).collect();
                    ids.push(self.own_key());
                    let mut fleet = fleet.locked();
                    fleet.ledger.trust(keys.into());
                    // `everything` is asked for after this, the orders among it.
                    fleet.index.single_mut().trust(&ids);
                }
            }
        }
        Some(followed)
    }

    /// Waits until a newer trust document counts. One task waits; none is lost while it does something else.
    pub async fn trust_moved(&self) {
        self.trust_moved.notified().await;
    }

    /// Why this process has to end after a change of the trust document.
    #[must_use]
    pub fn trust_end(&self) -> Option<&TrustEnd> {
        self.trust_end.get()
    }

    /// A fleet came or went: the broker is asked for the devices of those that there are, and of no others. To be called
    /// with the fleet locked, so that what is asked for last is what is true last.
    pub fn moved(&self, outbox: &dyn Outbox, namespace: &Namespace, fleet: &FleetState) {
        let mut wanted = locked(&self.wanted);
        match fleet.index.managed().is_empty() {
            true => wanted.remove(namespace),
            false => wanted.insert(namespace.clone()),
        };
        outbox.subscribe_to(wanted.clone());
    }

    /// The connection to the broker.
    #[must_use]
    pub fn link(&self) -> Link {
        *locked(&self.link)
    }

    /// Changes what is known of the connection; returns what was known before.
    pub fn set_link(&self, change: impl FnOnce(Link) -> Link) -> Link {
        let mut link = locked(&self.link);
        let before = *link;
        *link = change(before);
        before
    }

    /// The connection, as far as one fleet goes.
    #[must_use]
    pub fn link_of(&self, fleet: &FleetState) -> Link {
        self.link().of_fleet(fleet.index.complete_since())
    }

    /// How many devices are known.
    #[must_use]
    pub fn devices(&self) -> usize {
        self.room.taken()
    }

    /// Notes a message that could not be read.
    pub fn note_malformed(&self, topic: &str, problem: &str) {
        locked(&self.malformed).note(topic, problem);
    }

    /// The latest topics with something unreadable.
    #[must_use]
    pub fn malformed(&self) -> Vec<Named> {
        locked(&self.malformed).sample()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::SigningKey;
    use modelfleet_fleet::Source;
    use modelfleet_protocol::time::Time;

    fn fleets() -> Fleets {
        Fleets::new(SigningKey::from_bytes(&[7; 32]).verifying_key(), 10, 10)
    }

    #[test]
    fn a_fleet_is_seen_whole_once_all_that_its_devices_retained_is_here() {
        let fleets = fleets();
        let namespace = |name: &str| -> Namespace { name.parse().unwrap() };
        fleets.set_link(|_| Link { connected: true, settled: true, since: Time(5) });
        let (a, b) = (fleets.named(&namespace("a")), fleets.named(&namespace("b")));
        for fleet in [&a, &b] {
            fleet.locked().index.note(&"m".parse().unwrap(), Source::Plan);
        }
        a.locked().index.complete(Time(9));
        let link = |fleet: &Fleet| fleets.link_of(&fleet.locked());
        assert_eq!(link(&a), Link { connected: true, settled: true, since: Time(9) });
        assert!(!link(&b).settled, "a fleet that is new waits for its own devices");
        a.locked().index.reconnect();
        assert!(!link(&a).settled, "a new connection begins anew");
    }

    #[test]
    fn a_locked_fleet_keeps_no_other_waiting() {
        let fleets = fleets();
        let namespace = |name: &str| -> Namespace { name.parse().unwrap() };
        let busy = fleets.named(&namespace("busy"));
        let held = busy.locked();
        // All of this would wait for ever if it asked for the lock.
        let other = fleets.named(&namespace("other"));
        other.locked().index.note(&"m".parse().unwrap(), Source::Plan);
        assert_eq!((fleets.all().len(), fleets.devices(), fleets.malformed().len()), (2, 0, 0));
        fleets.note_malformed("topic", "problem");
        assert!(!fleets.link().connected && fleets.get(&namespace("busy")).is_some());
        drop(held);
    }
}
