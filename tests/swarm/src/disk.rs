//! A device's folder: its control record in two copies, windows, and the bytes of builds. A record that was written is
//! there after a loss of power; a deletion may not be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use modelfleet_agent_core::saved::Saved;
use modelfleet_protocol::ids::{Digest, ModelName};

/// A device's folder.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    control: Option<Vec<u8>>,
    windows: BTreeMap<ModelName, Vec<u8>>,
    builds: BTreeSet<Digest>,
    /// The signed plans that were taken last.
    plans: BTreeMap<ModelName, Arc<[u8]>>,
    /// Deleted since the machine booted: a loss of power may bring them back.
    deleted: BTreeSet<Digest>,
    /// It takes no writes.
    pub full: bool,
}

impl Disk {
    /// Writes the control record; false when the disk takes none.
    pub fn write_control(&mut self, saved: &Saved) -> bool {
        if !self.full {
            self.control = Some(saved.to_json());
        }
        !self.full
    }

    /// Writes windows; false when the disk takes none.
    pub fn write_windows(&mut self, model: &ModelName, bytes: Vec<u8>) -> bool {
        if !self.full {
            self.windows.insert(model.clone(), bytes);
        }
        !self.full
    }

    /// Keeps a signed plan; false when the disk takes none.
    pub fn write_plan(&mut self, model: &ModelName, envelope: &Arc<[u8]>) -> bool {
        if !self.full {
            self.plans.insert(model.clone(), Arc::clone(envelope));
        }
        !self.full
    }

    /// The signed plans that are there.
    pub fn plans(&self) -> impl Iterator<Item = (&ModelName, &Arc<[u8]>)> {
        self.plans.iter()
    }

    /// The signed plan of a model.
    #[must_use]
    pub fn plan(&self, model: &ModelName) -> Option<&Arc<[u8]>> {
        self.plans.get(model)
    }

    /// The bytes of a build are there now; false when the disk takes none.
    pub fn write_build(&mut self, digest: Digest) -> bool {
        if !self.full {
            self.builds.insert(digest);
        }
        !self.full
    }

    /// Whether the bytes of a build are there.
    #[must_use]
    pub fn has(&self, digest: &Digest) -> bool {
        self.builds.contains(digest)
    }

    /// The builds whose bytes are there.
    pub fn builds(&self) -> impl Iterator<Item = &Digest> {
        self.builds.iter()
    }

    /// Deletes the bytes of a build.
    pub fn delete(&mut self, digest: &Digest) {
        if self.builds.remove(digest) {
            self.deleted.insert(*digest);
        }
    }

    /// What an agent starts with; the default where the record is lost.
    #[must_use]
    pub fn read(&self) -> (Saved, &BTreeMap<ModelName, Vec<u8>>) {
        let saved = self.control.as_deref().and_then(|bytes| Saved::from_json(bytes).ok());
        (saved.unwrap_or_default(), &self.windows)
    }

    /// Keeps the bytes of these builds alone, as an agent does when it starts with a readable record.
    pub fn keep_only(&mut self, digests: &BTreeSet<Digest>) {
        self.builds.retain(|digest| digests.contains(digest));
    }

    /// The machine lost its power: deletions that were not yet durable are undone.
    pub fn lose_power(&mut self, undone: impl Fn(&Digest) -> bool) {
        let back: Vec<Digest> = std::mem::take(&mut self.deleted).into_iter().filter(undone).collect();
        self.builds.extend(back);
    }

    /// The bytes of one build are damaged, which a digest shows.
    pub fn rot_build(&mut self, digest: &Digest) {
        self.builds.remove(digest);
    }

    /// Both copies of the control record are damaged.
    pub fn rot_control(&mut self) {
        self.control = None;
    }

    /// Everything is gone: another card is in the slot.
    pub fn wipe(&mut self) {
        *self = Disk::default();
    }
}
