//! Disk space for a download that failed for lack of it. It is checked regularly, because no event says that a disk has
//! space again.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::fetch::FetchError;

/// Bytes that the last download that failed for lack of space needs; 0: none.
#[derive(Clone, Default)]
pub(super) struct DiskSpace(Arc<AtomicU64>);

impl DiskSpace {
    /// Notes a download that failed for lack of space.
    pub fn lacked(&self, error: &FetchError) {
        match error {
            FetchError::DiskFull { needed, .. } => self.0.store(*needed, Ordering::Relaxed),
            FetchError::Details(source) => self.lacked(source),
            _ => {}
        }
    }

    /// Whether this folder has enough space by now. True once.
    pub fn is_available(&self, dir: &Path) -> bool {
        let needed = self.0.load(Ordering::Relaxed);
        if needed == 0 {
            return false;
        }
        // A disk whose free space cannot be read has none.
        let free = rustix::fs::statvfs(dir).map_or(0, |space| space.f_bavail.saturating_mul(space.f_frsize));
        let available = free >= needed;
        if available {
            self.0.store(0, Ordering::Relaxed);
        }
        available
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_is_reported_once() {
        let dir = tempfile::tempdir().unwrap();
        let space = DiskSpace::default();
        assert!(!space.is_available(dir.path()), "no download needs it");
        space.lacked(&FetchError::DiskFull { needed: u64::MAX, free: 0 });
        assert!(!space.is_available(dir.path()));
        space.lacked(&FetchError::Size(5));
        assert!(!space.is_available(dir.path()), "another failure is not about room");
        space.lacked(&FetchError::DiskFull { needed: 1, free: 0 });
        assert!(!space.is_available(&dir.path().join("gone")));
        assert!(space.is_available(dir.path()));
        assert!(!space.is_available(dir.path()));
    }
}
