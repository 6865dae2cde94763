//! Room on the disk for a download that found none: looked at with the ticks, because nobody tells when a disk is
//! emptied.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::fetch::FetchError;

/// Bytes that the last download which found no room needs; 0: none waits.
#[derive(Clone, Default)]
pub(super) struct Room(Arc<AtomicU64>);

impl Room {
    /// Takes note of a download that found no room.
    pub fn lacked(&self, error: &FetchError) {
        if let FetchError::DiskFull { needed, .. } = error {
            self.0.store(*needed, Ordering::Relaxed);
        }
    }

    /// Whether there is room by now in this folder for what found none. It is said once.
    pub fn has_come(&self, dir: &Path) -> bool {
        let needed = self.0.load(Ordering::Relaxed);
        if needed == 0 {
            return false;
        }
        // A disk that does not even say how full it is has no room.
        let free = rustix::fs::statvfs(dir).map_or(0, |space| space.f_bavail.saturating_mul(space.f_frsize));
        let come = free >= needed;
        if come {
            self.0.store(0, Ordering::Relaxed);
        }
        come
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_told_once_when_it_has_come() {
        let dir = tempfile::tempdir().unwrap();
        let room = Room::default();
        assert!(!room.has_come(dir.path()), "nobody waits for it");
        room.lacked(&FetchError::DiskFull { needed: u64::MAX, free: 0 });
        assert!(!room.has_come(dir.path()));
        room.lacked(&FetchError::Size(5));
        assert!(!room.has_come(dir.path()), "another failure is not about room");
        room.lacked(&FetchError::DiskFull { needed: 1, free: 0 });
        assert!(!room.has_come(&dir.path().join("gone")));
        assert!(room.has_come(dir.path()));
        assert!(!room.has_come(dir.path()));
    }
}
