//! Devices that have an order of their own: what the broker holds for each, what each says that it has taken, and which are
//! retired. Of all other devices nothing is here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ed25519_dalek::VerifyingKey;
use modelfleet_protocol::envelope::{KeyId, Signed, open_signed_override};
use modelfleet_protocol::ids::{DeviceId, Digest, ModelName, Namespace};
use modelfleet_protocol::overrides::{ModelOverride, Override};
use modelfleet_protocol::plan::REVISION_MAX;
use modelfleet_protocol::state::Overridden;
use modelfleet_protocol::time::Time;

use crate::ledger::{Due, ECHO_MAX_MS};

/// The wait between the first and the second clearing of a retired device's messages, milliseconds.
const CLEAR_AGAIN_MS: u64 = 10_000;
/// The longest such wait, milliseconds.
const CLEAR_AGAIN_MAX_MS: u64 = 3_600_000;
/// Doublings after which the longest wait is reached.
const CLEAR_DOUBLINGS_MAX: u32 = 9;

/// The models that devices run by an order of their own, and not by a plan.
pub type Directed = Arc<BTreeMap<DeviceId, Vec<ModelName>>>;

/// The single devices of a fleet.
#[derive(Debug, Default)]
pub struct SingleDevices {
    directed: Directed,
    retired: BTreeMap<DeviceId, Retired>,
    told: BTreeMap<DeviceId, Overridden>,
    topics: BTreeMap<DeviceId, Held>,
    /// The highest revision that a device may have seen. It outlives what the broker holds.
    highest: BTreeMap<DeviceId, u64>,
    /// Devices of which something has changed since [`SingleDevices::take_touched`].
    touched: BTreeSet<DeviceId>,
}

/// What the broker holds for a device.
#[derive(Debug, Default)]
struct Held {
    ours: Option<Ours>,
    sent: Option<Sent>,
    occupied: bool,
}

/// An override that a key that counts has signed.
#[derive(Debug)]
struct Ours {
    order: Arc<Override>,
    by: KeyId,
    envelope: Digest,
}

#[derive(Debug)]
struct Sent {
    order: Arc<Override>,
    bytes: Vec<u8>,
    at: Time,
}

/// A device that is gone for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retired {
    /// When its messages were cleared last; `None`: they are still to be cleared.
    pub cleared_at: Option<Time>,
    /// How often this process has cleared them.
    pub clearings: u32,
    /// When it said something after that, by its own clock.
    pub heard_at: Option<Time>,
    /// Something that is older than that, or its last will, lies at the broker again.
    pub left: bool,
}

impl Retired {
    /// From when on its messages may be cleared again: a device that comes and goes leaves its last will each time, and must not
    /// keep the controller clearing. The wait doubles with every clearing, up to an hour.
    #[must_use]
    pub fn clears_again_at(&self) -> Time {
        let Some(cleared_at) = self.cleared_at.filter(|_| self.clearings > 0) else { return Time::ZERO };
        let doublings = (self.clearings - 1).min(CLEAR_DOUBLINGS_MAX);
        cleared_at.after_ms((CLEAR_AGAIN_MS << doublings).min(CLEAR_AGAIN_MAX_MS))
    }
}

impl SingleDevices {
    /// The connection is new: the broker will say what it holds.
    pub fn reconnect(&mut self) {
        self.topics.clear();
    }

    /// The models that devices run by an order of their own.
    #[must_use]
    pub fn directed(&self) -> &Directed {
        &self.directed
    }

    /// A device goes by an order of its own for these models from now on. Returns whether that is new.
    pub fn direct(&mut self, device: &DeviceId, models: Vec<ModelName>) -> bool {
        if self.directed.get(device).map_or(&[][..], Vec::as_slice) == models.as_slice() {
            return false;
        }
        let directed = Arc::make_mut(&mut self.directed);
        if models.is_empty() {
            directed.remove(device);
        } else {
            directed.insert(device.clone(), models);
        }
        true
    }

    /// A device is retired. `cleared_at`: when its messages were cleared, as far as is known; `None`: they are still to be.
    pub fn retire(&mut self, device: &DeviceId, cleared_at: Option<Time>) {
        let retired = self.retired.entry(device.clone()).or_default();
        retired.cleared_at = retired.cleared_at.max(cleared_at);
    }

    /// A retired device's messages were cleared just now.
    pub fn note_retired_cleared(&mut self, device: &DeviceId, now: Time) {
        self.note_cleared(device);
        let retired = self.retired.entry(device.clone()).or_default();
        retired.cleared_at = retired.cleared_at.max(Some(now));
        retired.clearings = retired.clearings.saturating_add(1);
        retired.left = false;
    }

    /// A device is not retired any more.
    pub fn take_back(&mut self, device: &DeviceId) {
        self.retired.remove(device);
    }

    /// What is known of a device that is retired.
    #[must_use]
    pub fn retired(&self, device: &DeviceId) -> Option<Retired> {
        self.retired.get(device).copied()
    }

    /// A device said something at `at` by its own clock; `speaks`: not the broker for it, with its last will. Returns whether
    /// it is retired, so that it counts nowhere.
    pub fn note_heard(&mut self, device: &DeviceId, at: Time, speaks: bool) -> bool {
        let Some(retired) = self.retired.get_mut(device) else { return false };
        let before = *retired;
        match retired.cleared_at {
            Some(cleared) if speaks && at > cleared => retired.heard_at = retired.heard_at.max(Some(at)),
            Some(_) => retired.left = true,
            None => {}
        }
        // That it goes on to speak changes nothing.
        if (retired.left, retired.heard_at.is_some()) != (before.left, before.heard_at.is_some()) {
            self.touched.insert(device.clone());
        }
        true
    }

    /// A device says which override it has taken.
    pub fn note_told(&mut self, device: &DeviceId, told: Option<Overridden>) {
        if self.told.get(device) == told.as_ref() {
            return;
        }
        match told {
            Some(told) => drop(self.told.insert(device.clone(), told)),
            None => drop(self.told.remove(device)),
        }
        self.touched.insert(device.clone());
    }

    /// Which override a device says that it has taken.
    #[must_use]
    pub fn told(&self, device: &DeviceId) -> Option<&Overridden> {
        self.told.get(device)
    }

    /// Devices of which something has changed since the last call.
    pub fn take_touched(&mut self) -> BTreeSet<DeviceId> {
        std::mem::take(&mut self.touched)
    }

    /// An override arrived from the broker. It is ours by our `own` key and by those that a trust document `named` for plans.
    pub fn take(
        &mut self,
        (own, named): (&VerifyingKey, &[VerifyingKey]),
        namespace: &Namespace,
        device: &DeviceId,
        payload: &[u8],
    ) {
        let trusted: Vec<VerifyingKey> = std::iter::once(own).chain(named).copied().collect();
        let order = open_signed_override(&trusted, payload).ok();
        let order =
            order.filter(|Signed { what, .. }| (&what.namespace, &what.device) == (namespace, device));
        // What a device has seen is bound to the key that signed it: another key's revisions are none that we have to pass.
        if let Some(Signed { what, .. }) = order.as_ref().filter(|order| order.by == KeyId::of(own)) {
            self.raise(device, what.order.revision);
        }
        let entry = self.topics.entry(device.clone()).or_default();
        entry.occupied = !payload.is_empty();
        entry.ours = order.map(|Signed { what, by }| Ours {
            order: Arc::new(what),
            by,
            envelope: Digest::of(payload),
        });
        let held = entry.ours.as_ref().map(|held| held.envelope);
        if entry.sent.as_ref().is_some_and(|sent| held == Some(Digest::of(&sent.bytes))) {
            entry.sent = None;
        }
        if !entry.occupied && entry.sent.is_none() {
            self.topics.remove(device);
        }
        self.touched.insert(device.clone());
    }

    /// Only overrides of these keys are ours from now on. What another one has signed still lies at the broker, and is signed
    /// again or cleared.
    pub fn trust(&mut self, keys: &[KeyId]) {
        for (device, held) in &mut self.topics {
            if held.ours.take_if(|ours| !keys.contains(&ours.by)).is_some() {
                self.touched.insert(device.clone());
            }
        }
    }

    /// A device may have seen this revision: the next override gets a higher one.
    pub fn raise(&mut self, device: &DeviceId, revision: u64) {
        let highest = self.highest.entry(device.clone()).or_default();
        *highest = revision.min(REVISION_MAX - 1).max(*highest);
    }

    /// The newest override of a device: the one that was sent last, else the one that the broker holds.
    #[must_use]
    pub fn newest(&self, device: &DeviceId) -> Option<&Arc<Override>> {
        let held = self.topics.get(device)?;
        held.sent.as_ref().map(|sent| &sent.order).or(held.ours.as_ref().map(|ours| &ours.order))
    }

    /// Whether the broker holds anything for a device, ours or not.
    #[must_use]
    pub fn is_occupied(&self, device: &DeviceId) -> bool {
        self.topics.get(device).is_some_and(|held| held.occupied || held.sent.is_some())
    }

    /// Devices for which the broker holds an override, and those that say that they go by one.
    #[must_use]
    pub fn with_overrides(&self) -> BTreeSet<DeviceId> {
        let told = self.told.iter().filter(|(_, told)| !told.models.is_empty()).map(|(device, _)| device);
        self.topics.keys().chain(told).cloned().collect()
    }

    /// What is to be done so that the broker holds an override of `epoch` with these `models`.
    #[must_use]
    pub fn due(&self, device: &DeviceId, models: &[ModelOverride], epoch: u64, now: Time) -> Due {
        let highest = self.highest.get(device).copied().unwrap_or(0);
        let good = self.newest(device).is_some_and(|held| {
            let half = held.order.expires.since_ms(held.order.issued) / 2;
            held.order.epoch == epoch && held.models == models && held.order.expires.since_ms(now) > half
        });
        match self.topics.get(device).and_then(|held| held.sent.as_ref()) {
            _ if !good => Due::Sign(highest),
            Some(sent) if now.since_ms(sent.at) >= ECHO_MAX_MS => Due::Again(sent.bytes.clone()),
            Some(sent) => Due::Echo(sent.at.after_ms(ECHO_MAX_MS)),
            None => Due::Nothing,
        }
    }

    /// Notes that an override was sent.
    pub fn note_sent(
        &mut self,
        device: &DeviceId,
        order: impl Into<Arc<Override>>,
        bytes: Vec<u8>,
        at: Time,
    ) {
        let order = order.into();
        self.raise(device, order.order.revision);
        self.topics.entry(device.clone()).or_default().sent = Some(Sent { order, bytes, at });
    }

    /// Notes that a device's topic was cleared.
    pub fn note_cleared(&mut self, device: &DeviceId) {
        self.topics.remove(device);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::SigningKey;
    use modelfleet_protocol::envelope::{OVERRIDE_TYPE, seal};
    use modelfleet_protocol::overrides::OverrideAction;
    use modelfleet_protocol::plan::Order;

    fn device() -> DeviceId {
        "pump-1".parse().unwrap()
    }

    fn hold() -> Vec<ModelOverride> {
        vec![ModelOverride { model: "m".parse().unwrap(), action: OverrideAction::Hold }]
    }

    fn order(epoch: u64, revision: u64, models: Vec<ModelOverride>) -> Override {
        let order = Order { epoch, revision, issued: Time(0), expires: Time(1_000_000) };
        Override { namespace: "plant".parse().unwrap(), device: device(), order, models }
    }

    fn sealed(signer: &SigningKey, order: &Override) -> Vec<u8> {
        seal(signer, OVERRIDE_TYPE, &serde_json::to_vec(order).unwrap())
    }

    #[test]
    fn an_override_is_sent_until_it_is_back_and_signed_anew_when_it_must_be() {
        let signer = SigningKey::from_bytes(&[7; 32]);
        let (own, plant) = (signer.verifying_key(), "plant".parse().unwrap());
        let mut single = SingleDevices::default();
        assert_eq!(single.due(&device(), &hold(), 2, Time(0)), Due::Sign(0));
        let sent = order(2, 1, hold());
        let bytes = sealed(&signer, &sent);
        single.note_sent(&device(), sent, bytes.clone(), Time(0));
        assert_eq!(single.due(&device(), &hold(), 2, Time(1)), Due::Echo(Time(ECHO_MAX_MS)));
        assert_eq!(single.due(&device(), &hold(), 2, Time(ECHO_MAX_MS)), Due::Again(bytes.clone()));
        single.take((&own, &[]), &plant, &device(), &bytes);
        assert_eq!(single.take_touched(), [device()].into());
        assert_eq!(single.due(&device(), &hold(), 2, Time(ECHO_MAX_MS)), Due::Nothing);
        assert_eq!(single.due(&device(), &[], 2, Time(1)), Due::Sign(1), "another order");
        assert_eq!(single.due(&device(), &hold(), 3, Time(1)), Due::Sign(1), "another leader");
        assert_eq!(
            single.due(&device(), &hold(), 2, Time(600_000)),
            Due::Sign(1),
            "half of its life is over"
        );
        single.reconnect();
        assert_eq!(single.due(&device(), &hold(), 2, Time(1)), Due::Sign(1), "a broker without memory");
    }

    #[test]
    fn what_is_not_ours_or_of_another_device_is_replaced() {
        let (signer, thief) = (SigningKey::from_bytes(&[7; 32]), SigningKey::from_bytes(&[8; 32]));
        let (own, plant) = (signer.verifying_key(), "plant".parse().unwrap());
        let mut single = SingleDevices::default();
        let other = Override { device: "pump-2".parse().unwrap(), ..order(2, 9, hold()) };
        for payload in [sealed(&thief, &order(2, 9, hold())), sealed(&signer, &other), b"garbage".to_vec()] {
            single.take((&own, &[]), &plant, &device(), &payload);
            assert!(single.is_occupied(&device()) && single.newest(&device()).is_none());
            assert_eq!(single.due(&device(), &hold(), 2, Time(0)), Due::Sign(0));
        }
        single.take((&own, &[]), &plant, &device(), b"");
        assert!(!single.is_occupied(&device()));
    }

    #[test]
    fn an_order_of_a_key_that_the_trust_document_names_is_ours_until_it_is_revoked() {
        let (signer, former) = (SigningKey::from_bytes(&[7; 32]), SigningKey::from_bytes(&[8; 32]));
        let (own, named, plant) =
            (signer.verifying_key(), [former.verifying_key()], "plant".parse().unwrap());
        let mut single = SingleDevices::default();
        let bytes = sealed(&former, &order(2, REVISION_MAX, hold()));
        single.take((&own, &named), &plant, &device(), &bytes);
        assert_eq!(single.due(&device(), &hold(), 2, Time(0)), Due::Nothing);
        single.take_touched();
        let both = [KeyId::of(&own), KeyId::of(&named[0])];
        single.trust(&both);
        assert!(single.take_touched().is_empty(), "both keys count");
        single.trust(&both[..1]);
        assert_eq!(single.take_touched(), [device()].into());
        assert!(single.newest(&device()).is_none() && single.is_occupied(&device()));
        // The highest revision of a thief is none that ours has to pass.
        assert_eq!(single.due(&device(), &hold(), 2, Time(0)), Due::Sign(0));
    }

    #[test]
    fn a_retired_device_that_speaks_is_told_from_what_it_left() {
        let mut single = SingleDevices::default();
        assert!(!single.note_heard(&device(), Time(5), true), "it is not retired");
        single.retire(&device(), None);
        assert!(single.note_heard(&device(), Time(5), true));
        assert_eq!(single.retired(&device()).unwrap(), Retired::default(), "it is still to be cleared");
        single.note_retired_cleared(&device(), Time(10));
        single.note_heard(&device(), Time(7), true);
        assert_eq!(single.retired(&device()).unwrap().heard_at, None, "an old message is no word of it");
        assert!(single.retired(&device()).unwrap().left);
        single.retire(&device(), Some(Time(10)));
        assert!(single.retired(&device()).unwrap().left, "what its object says clears nothing");
        single.note_retired_cleared(&device(), Time(11));
        assert!(!single.retired(&device()).unwrap().left);
        single.note_heard(&device(), Time(12), false);
        assert!(single.retired(&device()).unwrap().left, "its last will");
        single.note_heard(&device(), Time(13), true);
        assert_eq!(single.retired(&device()).unwrap().heard_at, Some(Time(13)));
        single.take_back(&device());
        assert!(!single.note_heard(&device(), Time(14), true));
    }

    #[test]
    fn the_wait_between_two_clearings_doubles_up_to_an_hour() {
        let mut single = SingleDevices::default();
        single.retire(&device(), Some(Time(5)));
        assert_eq!(
            single.retired(&device()).unwrap().clears_again_at(),
            Time::ZERO,
            "cleared by another process"
        );
        let mut waits = Vec::new();
        for at in 0..40 {
            single.note_retired_cleared(&device(), Time(1_000 + at));
            waits.push(single.retired(&device()).unwrap().clears_again_at().since_ms(Time(1_000 + at)));
        }
        assert_eq!(waits[..4], [10_000, 20_000, 40_000, 80_000]);
        assert!(waits[9..].iter().all(|&wait| wait == 3_600_000), "{waits:?}");
    }
}
