//! The state folder of one device: records that survive a power cut, and one owner at a time.

mod records;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use modelfleet_agent_core::saved::SAVED_VERSION;
use modelfleet_protocol::ids::Digest;

use records::Unread;
pub use records::{Found, STATE, windows_record};

/// Why the state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file or folder could not be read or written.
    #[error("{what} {path}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// To which path.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The record is there and cannot be read. Without it the device would forget what it must not.
    #[error(
        "{path} cannot be read; see to the disk and to the rights of the folder, then start the agent again"
    )]
    Unreadable {
        /// The record.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The record is of an agent that came later.
    #[error(
        "{path} was written by a newer agent (its record has version {found}, this agent reads {SAVED_VERSION}); \
         install that agent again, or start this one with another folder and lose what the device remembers"
    )]
    Newer {
        /// The record.
        path: PathBuf,
        /// The version that was found.
        found: u32,
    },
    /// Another agent has the folder.
    #[error("state folder {0} is in use by another agent")]
    InUse(PathBuf),
}

/// Makes an error constructor for `what` at `path`.
pub(crate) fn at(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { what, path, source }
}

/// The state folder of one device.
pub struct Store {
    dir: PathBuf,
    durable: bool,
    /// Records whose newest copy could not be read.
    unread: Mutex<BTreeMap<String, Unread>>,
    /// Held for as long as the agent lives; the system lets go of it however the agent ends.
    _lock: File,
}

impl Store {
    /// Opens the folder, making it where it is missing. `durable`: writes are on disk when a call returns, as
    /// a device needs for power cuts. Many devices that one process plays have no power to lose.
    ///
    /// # Errors
    /// When it cannot be made, when another agent has it, or when it holds a record that this agent cannot read
    /// and must not do without.
    pub fn open(dir: &Path, durable: bool) -> Result<Store, StoreError> {
        fs::create_dir_all(dir.join("blobs")).map_err(at("make", dir))?;
        let path = dir.join("lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(at("open", &path))?;
        match lock.try_lock() {
            Ok(()) => {
                let store = Store { dir: dir.to_owned(), durable, unread: Mutex::default(), _lock: lock };
                store.check()?;
                Ok(store)
            }
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse(dir.to_owned())),
            Err(TryLockError::Error(e)) => Err(at("lock", &path)(e)),
        }
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the verified bytes of a digest are, or will be.
    #[must_use]
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.dir.join("blobs").join(digest.hex())
    }

    /// Deletes verified bytes that no one of `keep` names, and unfinished downloads of others.
    ///
    /// # Errors
    /// When the folder cannot be read; a file that cannot be deleted is left.
    pub fn keep_only(&self, keep: &[Digest]) -> Result<usize, StoreError> {
        let blobs = self.dir.join("blobs");
        let mut deleted = 0;
        for entry in fs::read_dir(&blobs).map_err(at("list", &blobs))?.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let hex = name.strip_suffix(".part").unwrap_or(&name);
            if !keep.iter().any(|d| d.hex() == hex) && fs::remove_file(entry.path()).is_ok() {
                deleted += 1;
            }
        }
        Ok(deleted)
    }

    /// Whether writes are on disk when a call returns.
    #[must_use]
    pub fn durable(&self) -> bool {
        self.durable
    }
}

/// Makes what was renamed in a folder survive a power cut.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(at("sync", dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), true).unwrap();
        (dir, store)
    }

    #[test]
    fn a_folder_has_one_agent() {
        let (dir, store) = store();
        assert!(matches!(Store::open(dir.path(), true), Err(StoreError::InUse(_))));
        drop(store);
        assert!(Store::open(dir.path(), true).is_ok());
    }

    #[test]
    fn bytes_that_nobody_names_are_deleted() {
        let (_dir, store) = store();
        let (kept, gone) = (Digest::of(b"kept"), Digest::of(b"gone"));
        for digest in [&kept, &gone] {
            fs::write(store.blob(digest), b"x").unwrap();
        }
        fs::write(store.blob(&gone).with_extension("part"), b"x").unwrap();
        assert_eq!(store.keep_only(&[kept]).unwrap(), 2);
        assert!(store.blob(&kept).exists() && !store.blob(&gone).exists());
    }
}
