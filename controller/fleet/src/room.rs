//! How many devices there may be, over all fleets.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Places for devices, shared by all fleets. Counted without a lock: fleets that are written at the same time share it.
#[derive(Debug)]
pub struct Room {
    taken: AtomicUsize,
    /// Places.
    pub max: usize,
}

impl Room {
    /// Room for so many devices.
    #[must_use]
    pub fn new(max: usize) -> Room {
        Room { taken: AtomicUsize::new(0), max }
    }

    /// Takes a place; false when there is none.
    #[must_use]
    pub fn take(&self) -> bool {
        let one_more = |taken: usize| (taken < self.max).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    /// Gives places back.
    pub fn give_back(&self, places: usize) {
        self.taken.fetch_sub(places, Ordering::Relaxed);
    }

    /// Devices that there are.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}
