//! The devices of a fleet in 256 shards, by the first byte of the hash of their ids, as topics have it.
//!
//! A copy of all of them is a copy of 256 pointers. While it lives, a change copies the shard that it touches, which is a
//! list of pointers too, and the one device that it changes.

use std::sync::Arc;

use modelfleet_protocol::ids::{DeviceId, Digest};

use crate::clones::Clones;
use crate::device::Device;
use crate::left_out::LeftOut;
use crate::wrong_clocks::Clocks;

/// How many shards there are.
pub const SHARDS: usize = 256;

/// First bytes of the hash of a device's id: its shard, its place there, and the judge's number for it.
pub type IdHash = u32;

/// A device's id with its hash, which is worked out once for each message.
#[derive(Clone, Copy, Debug)]
pub struct Hashed<'a> {
    /// The id.
    pub id: &'a DeviceId,
    hash: IdHash,
}

impl Hashed<'_> {
    /// An id and its hash.
    #[must_use]
    pub fn of(id: &DeviceId) -> Hashed<'_> {
        let Digest([a, b, c, d, ..]) = Digest::of(id.as_str().as_bytes());
        Hashed { id, hash: u32::from_be_bytes([a, b, c, d]) }
    }

    pub(crate) fn number(self) -> IdHash {
        self.hash
    }

    fn shard(self) -> usize {
        (self.hash >> 24) as usize
    }
}

/// All devices of a fleet. Cheap to clone, and a clone does not change.
#[derive(Clone, Debug)]
pub struct Shards {
    shards: Box<[Arc<Shard>]>,
    devices: usize,
}

/// The devices of one shard, in the order of their hashes.
#[derive(Clone, Debug, Default)]
pub struct Shard {
    /// Beside the devices, so that a search touches few of them.
    hashes: Vec<IdHash>,
    devices: Vec<Arc<Device>>,
    /// Those of them that are left out.
    pub(crate) left_out: LeftOut,
    /// Those whose clocks are wrong.
    pub(crate) clocks: Clocks,
    /// Those that have started anew.
    pub(crate) clones: Clones,
}

impl Default for Shards {
    fn default() -> Shards {
        let empty = Arc::new(Shard::default());
        Shards { shards: std::iter::repeat_n(empty, SHARDS).collect(), devices: 0 }
    }
}

/// Room for some more, an eighth of what there is: a list that doubles leaves half of it empty.
fn reserve<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact(list.len() / 8 + 4);
    }
}

impl Shard {
    /// Where a device is, or where it belongs.
    fn place(&self, device: Hashed<'_>) -> Result<usize, usize> {
        let mut at = self.hashes.partition_point(|other| *other < device.hash);
        while self.hashes.get(at) == Some(&device.hash) {
            if self.devices[at].id == *device.id {
                return Ok(at);
            }
            at += 1;
        }
        Err(at)
    }

    /// Its devices, each with the hash of its id.
    pub fn devices(&self) -> impl Iterator<Item = (IdHash, &Device)> {
        self.hashes.iter().copied().zip(self.devices.iter().map(AsRef::as_ref))
    }
}

impl Shards {
    /// How many devices there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.devices
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.devices == 0
    }

    /// The shards, in order.
    pub fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.shards.iter().map(AsRef::as_ref)
    }

    /// Every device, in the order of the hashes of their ids, which is always the same.
    pub fn devices(&self) -> impl Iterator<Item = (IdHash, &Device)> {
        self.shards().flat_map(Shard::devices)
    }

    /// Every device whose hash is above `after`, each with its shard, in order; `None`: from the first.
    pub(crate) fn devices_after(
        &self,
        after: Option<IdHash>,
    ) -> impl Iterator<Item = (IdHash, &Device, &Shard)> {
        let first = after.map_or(0, |after| (after >> 24) as usize);
        self.shards.iter().skip(first).flat_map(move |shard| {
            let from = after.map_or(0, |after| shard.hashes.partition_point(|hash| *hash <= after));
            let (hashes, devices) = (&shard.hashes[from..], &shard.devices[from..]);
            hashes.iter().zip(devices).map(move |(hash, device)| (*hash, device.as_ref(), shard.as_ref()))
        })
    }

    /// A device.
    #[must_use]
    pub fn get(&self, device: Hashed<'_>) -> Option<&Device> {
        let shard = self.shard(device);
        shard.place(device).ok().map(|at| shard.devices[at].as_ref())
    }

    /// A device, to be changed.
    pub(crate) fn get_mut(&mut self, device: Hashed<'_>) -> Option<&mut Device> {
        let shard = &mut self.shards[device.shard()];
        let at = shard.place(device).ok()?;
        Some(Arc::make_mut(&mut Arc::make_mut(shard).devices[at]))
    }

    /// The shard of a device.
    pub(crate) fn shard(&self, device: Hashed<'_>) -> &Shard {
        &self.shards[device.shard()]
    }

    /// The same, to be changed.
    pub(crate) fn shard_mut(&mut self, device: Hashed<'_>) -> &mut Shard {
        Arc::make_mut(&mut self.shards[device.shard()])
    }

    /// Adds a device that is not there.
    pub(crate) fn add(&mut self, device: Hashed<'_>) {
        let shard = Arc::make_mut(&mut self.shards[device.shard()]);
        if let Err(at) = shard.place(device) {
            reserve(&mut shard.hashes);
            reserve(&mut shard.devices);
            shard.hashes.insert(at, device.hash);
            shard.devices.insert(at, Arc::new(Device::unknown(device.id.clone())));
            self.devices += 1;
        }
    }

    /// Takes a device out.
    pub(crate) fn remove(&mut self, device: Hashed<'_>) -> Option<Arc<Device>> {
        let shard = &mut self.shards[device.shard()];
        let at = shard.place(device).ok()?;
        let shard = Arc::make_mut(shard);
        shard.hashes.remove(at);
        shard.left_out.forget(device.id);
        shard.clocks.forget(device.id);
        shard.clones.forget(device.id);
        self.devices -= 1;
        Some(shard.devices.remove(at))
    }

    /// Changes the devices that `wanted` names, and copies no other.
    pub(crate) fn change(&mut self, wanted: impl Fn(&Device) -> bool, mut change: impl FnMut(&mut Device)) {
        for shard in &mut self.shards {
            let places: Vec<usize> =
                (0..shard.devices.len()).filter(|at| wanted(&shard.devices[*at])).collect();
            for at in places {
                change(Arc::make_mut(&mut Arc::make_mut(shard).devices[at]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(i: usize) -> DeviceId {
        format!("d{i}").parse().unwrap()
    }

    #[test]
    fn devices_are_found_in_the_shard_of_their_topic_and_walked_in_one_order() {
        let mut shards = Shards::default();
        (0..1_000).for_each(|i| shards.add(Hashed::of(&id(i))));
        shards.add(Hashed::of(&id(7)));
        assert_eq!(shards.len(), 1_000);
        for i in (0..1_000).step_by(3) {
            assert!(
                shards.remove(Hashed::of(&id(i))).is_some() && shards.remove(Hashed::of(&id(i))).is_none()
            );
        }
        for i in 0..1_000 {
            assert_eq!(
                shards.get(Hashed::of(&id(i))).map(|device| device.id.clone()),
                (i % 3 > 0).then(|| id(i))
            );
        }
        for (hash, device) in shards.devices() {
            assert_eq!(hash, modelfleet_evidence::device_number(&device.id), "the judge's number");
        }
        let walked: Vec<(IdHash, DeviceId)> =
            shards.devices().map(|(hash, device)| (hash, device.id.clone())).collect();
        assert!(walked.is_sorted_by_key(|(hash, _)| *hash));
        assert_eq!((walked.len(), shards.len()), (666, 666));
        for (hash, id) in walked {
            assert_eq!((hash >> 24) as u8, modelfleet_protocol::ids::shard(&id));
        }
    }

    #[test]
    fn a_copy_does_not_change_and_shares_what_nothing_touched() {
        let mut shards = Shards::default();
        (0..1_000).for_each(|i| shards.add(Hashed::of(&id(i))));
        let copy = shards.clone();
        shards.get_mut(Hashed::of(&id(1))).unwrap().labels = 7;
        shards.remove(Hashed::of(&id(2)));
        shards.add(Hashed::of(&id(2_000)));
        assert_eq!((copy.len(), shards.len()), (1_000, 1_000));
        assert_ne!(copy.get(Hashed::of(&id(1))).unwrap().labels, 7);
        assert!(copy.get(Hashed::of(&id(2))).is_some() && copy.get(Hashed::of(&id(2_000))).is_none());
        let shared = copy.shards.iter().zip(&shards.shards).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        assert!(shared >= SHARDS - 3, "{shared}");
    }
}
