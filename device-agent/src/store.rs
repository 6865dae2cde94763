//! The state folder of one device: records that survive a power cut, and one owner at a time.

mod lock;
mod moved_aside;
mod records;
mod truth;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use modelfleet_agent_core::saved::SAVED_VERSION;
use modelfleet_protocol::ids::Digest;
use tracing::{error, warn};

use lock::Lock;
pub(crate) use moved_aside::make_room_for_file;
use moved_aside::make_room_for_folder;
use records::Unread;
pub use records::{Found, STATE, windows_record};
pub use truth::TruthFile;

/// Why the device's folder cannot be used.
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
    /// The control record exists and cannot be read. The agent does not start without it.
    #[error(
        "{path} cannot be read; check the disk and the permissions of the folder, then start the agent again"
    )]
    Unreadable {
        /// The record.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The record was written by a later agent.
    #[error(
        "{path} was written by a newer agent (its record has version {found}, this agent reads {SAVED_VERSION}); \
         install that agent again, or give this one another --dir (the device then starts without its history)"
    )]
    Newer {
        /// The record.
        path: PathBuf,
        /// The version that was found.
        found: u32,
    },
    /// Another agent uses the folder.
    #[error("the folder {0} is in use by another agent; stop it, or use another --dir")]
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
    lock: Mutex<Lock>,
}

impl Store {
    /// Opens the folder, making it where it is missing. `durable`: writes are on disk when a call returns, as
    /// a device needs for power cuts. Many devices that one process plays have no power to lose. A folder that is
    /// there and takes no writes is opened for what is in it; writing is tried again with every record.
    ///
    /// # Errors
    /// When it is not there and cannot be made, when another agent has it, or when it holds a record that this agent
    /// cannot read and must not do without.
    pub fn open(dir: &Path, durable: bool) -> Result<Store, StoreError> {
        if let Err(error) = fs::create_dir_all(dir) {
            return Err(at("make", dir)(error));
        }
        keep_private(dir);
        let (lock, unwritable) = Lock::take(dir)?;
        let blobs = dir.join("blobs");
        let made = make_room_for_folder(&blobs).and_then(|()| fs::create_dir_all(&blobs)).err();
        if let Some(error) = unwritable.or(made) {
            let path = dir.display();
            error!(%path, %error, "the folder cannot be written: the installed models keep running, and nothing new is installed");
            if !lock.is_held() {
                warn!(%path, "the folder cannot be locked; make sure that no other agent uses it");
            }
        }
        let store = Store { dir: dir.to_owned(), durable, unread: Mutex::default(), lock: Mutex::new(lock) };
        store.check()?;
        Ok(store)
    }

    /// Locks the folder before writing, if it could not be locked when it was opened.
    fn own(&self) -> Result<(), StoreError> {
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if !lock.is_held() {
            lock.take_file(&self.dir)?;
        }
        Ok(())
    }

    /// The folder for signed plans; `None`: many devices live in this process, and nothing of theirs has to last.
    #[must_use]
    pub fn plans(&self) -> Option<PathBuf> {
        self.durable.then(|| self.dir.join("plans"))
    }

    /// The folder for what is kept of predictions for their ground truth; `None`: as above.
    #[must_use]
    pub fn truth(&self) -> Option<PathBuf> {
        self.durable.then(|| self.dir.join("truth"))
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether a device has lived here: its record can be read.
    #[must_use]
    pub fn is_lived_in(&self) -> bool {
        self.load(STATE, |_| Ok(())).state.is_some()
    }

    /// Path of the verified bytes of a digest.
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

/// Lets no other user into the folder: records and models are the agent's alone. A folder of another owner stays as it is.
fn keep_private(dir: &Path) {
    let open = |mode: u32| mode & 0o077 != 0;
    let Ok(found) = fs::metadata(dir).map(|found| found.permissions()) else { return };
    if open(found.mode())
        && let Err(error) = fs::set_permissions(dir, fs::Permissions::from_mode(0o700))
    {
        warn!(path = %dir.display(), %error, "other users may read the device's folder");
    }
}

/// Makes what was renamed in a folder survive a power cut.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(at("sync", dir))
}

#[cfg(test)]
mod tests {
    use super::*;
    use modelfleet_protocol::time::Time;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), true).unwrap();
        (dir, store)
    }

    #[test]
    fn the_folder_is_the_agents_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let _store = Store::open(dir.path(), true).unwrap();
        assert_eq!(fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_folder_has_one_agent() {
        let (dir, store) = store();
        assert!(matches!(Store::open(dir.path(), true), Err(StoreError::InUse(_))));
        drop(store);
        assert!(Store::open(dir.path(), true).is_ok());
    }

    #[test]
    fn a_folder_without_a_lock_file_has_one_agent_too() {
        let (dir, store) = store();
        // The folder is locked as well: that can be done where nothing can be written.
        fs::remove_file(dir.path().join("lock")).unwrap();
        assert!(matches!(Store::open(dir.path(), true), Err(StoreError::InUse(_))));
        drop(store);
        // An agent of an older version holds the file alone.
        let older = File::create(dir.path().join("lock")).unwrap();
        older.lock().unwrap();
        assert!(matches!(Store::open(dir.path(), true), Err(StoreError::InUse(_))));
    }

    #[test]
    fn a_lock_that_cannot_be_opened_takes_nothing_away() {
        let (dir, store) = store();
        store.save(STATE, Time(1), br#"{"version":1}"#).unwrap();
        drop(store);
        let lock = dir.path().join("lock");
        fs::remove_file(&lock).unwrap();
        // A link to itself cannot be opened, not even by root.
        std::os::unix::fs::symlink(&lock, &lock).unwrap();
        let store = Store::open(dir.path(), true).unwrap();
        assert!(store.load(STATE, |bytes| Ok(bytes.to_vec())).state.is_some());
        assert!(matches!(Store::open(dir.path(), true), Err(StoreError::InUse(_))));
    }

    #[test]
    fn folders_in_the_place_of_files_are_moved_aside() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["lock", STATE, "state.json.previous", "state.json.new"] {
            fs::create_dir_all(dir.path().join(folder).join("inside")).unwrap();
        }
        fs::write(dir.path().join("blobs"), b"x").unwrap();
        let store = Store::open(dir.path(), true).unwrap();
        let found = store.load(STATE, |bytes| Ok(bytes.to_vec()));
        assert!(found.state.is_none() && found.note.unwrap().contains("folder"));
        for n in 1..=2 {
            store.save(STATE, Time(n), b"record").unwrap();
        }
        assert_eq!(store.load(STATE, |bytes| Ok(bytes.to_vec())).at, Time(2));
        assert!(store.blob(&Digest::of(b"x")).parent().unwrap().is_dir());
        assert!(dir.path().join("state.json.aside-1/inside").exists());
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
