//! Devices whose state cannot be used: they are left out of every rollout, and named, so that a person repairs them.

use std::collections::BTreeMap;

use modelfleet_protocol::ids::DeviceId;

/// Most devices that are named in a sentence.
const NAMED_MAX: usize = 3;
/// Characters of a reason that are kept.
const REASON_MAX: usize = 160;

/// The devices of one shard that are left out, each with the reason. As bounded as the fleet: every one of them has its
/// place in it.
#[derive(Clone, Debug, Default)]
pub struct LeftOut(BTreeMap<DeviceId, String>);

/// How many devices are left out, and some of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Omitted {
    /// How many.
    pub count: u64,
    /// The first by id, each with what is wrong with its state.
    pub named: Vec<(DeviceId, String)>,
}

impl LeftOut {
    /// Notes what is wrong with the state of a device; returns whether that is news.
    pub fn note(&mut self, device: &DeviceId, reason: &str) -> bool {
        let reason: String = reason.chars().take(REASON_MAX).collect();
        self.0.insert(device.clone(), reason.clone()).as_deref() != Some(reason.as_str())
    }

    /// Its state can be taken again, or it is gone; returns whether it was left out.
    pub fn forget(&mut self, device: &DeviceId) -> bool {
        self.0.remove(device).is_some()
    }

    /// Whether a device is left out.
    pub fn has(&self, device: &DeviceId) -> bool {
        // Asked with every state: as a rule no device is left out.
        !self.0.is_empty() && self.0.contains_key(device)
    }
}

impl LeftOut {
    /// Why a device is left out.
    #[must_use]
    pub fn reason(&self, device: &DeviceId) -> Option<&str> {
        self.0.get(device).map(String::as_str)
    }
}

impl Omitted {
    /// Those of all shards.
    pub(crate) fn of<'a>(shards: impl Iterator<Item = &'a LeftOut>) -> Omitted {
        let (mut count, mut named) = (0, Vec::new());
        for LeftOut(shard) in shards.filter(|shard| !shard.0.is_empty()) {
            count += shard.len() as u64;
            named.extend(shard.iter().take(NAMED_MAX));
        }
        named.sort();
        let named = named.into_iter().take(NAMED_MAX).map(|(id, reason)| (id.clone(), reason.clone()));
        Omitted { count, named: named.collect() }
    }
}
