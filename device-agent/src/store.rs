//! The state folder of one device: records that survive a power cut, and one owner at a time.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use modelfleet_protocol::ids::{Digest, ModelName};
use modelfleet_protocol::time::Time;

/// Most bytes of a state file; a larger one is not ours.
const STATE_FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// The record of what the agent must not forget.
pub const STATE: &str = "state.json";

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
    /// Held for as long as the agent lives; the system lets go of it however the agent ends.
    _lock: File,
}

/// What was found of a record.
pub struct Found<T> {
    /// The record; absent on a new device and where nothing was readable.
    pub state: Option<T>,
    /// The latest moment that was stored.
    pub at: Time,
    /// What was wrong, if it is not the newest copy.
    pub note: Option<String>,
}

impl Store {
    /// Opens the folder, making it where it is missing. `durable`: writes are on disk when a call returns, as
    /// a device needs for power cuts. Many devices that one process plays have no power to lose.
    ///
    /// # Errors
    /// When it cannot be made, or another agent has it.
    pub fn open(dir: &Path, durable: bool) -> Result<Store, StoreError> {
        fs::create_dir_all(dir.join("blobs")).map_err(at("make", dir))?;
        let path = dir.join("lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(at("open", &path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Store { dir: dir.to_owned(), durable, _lock: lock }),
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

    /// Reads a record: the newest copy that is whole and that `read` understands.
    pub fn load<T>(&self, name: &str, read: impl Fn(&[u8]) -> Result<T, String>) -> Found<T> {
        let mut notes = Vec::new();
        for copy in [name.to_owned(), previous(name)] {
            let found = self.load_one(&copy).and_then(|found| match found {
                Some((at, payload)) => read(&payload).map(|state| Some((at, state))),
                None => Ok(None),
            });
            match found {
                Ok(Some((at, state))) => {
                    let note = (copy != name).then(|| format!("{} was not readable", notes.join("; ")));
                    return Found { state: Some(state), at, note };
                }
                Ok(None) => notes.push(format!("{copy}: not there")),
                Err(reason) => notes.push(format!("{copy}: {reason}")),
            }
        }
        // A new device has neither copy, and nothing was lost.
        let lost = notes.iter().any(|n| !n.ends_with("not there"));
        Found { state: None, at: Time::ZERO, note: lost.then(|| notes.join("; ")) }
    }

    fn load_one(&self, name: &str) -> Result<Option<(Time, Vec<u8>)>, String> {
        let path = self.dir.join(name);
        let size = match fs::metadata(&path) {
            Ok(found) => found.len(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e.to_string()),
        };
        if size > STATE_FILE_BYTES_MAX {
            return Err(format!("{size} bytes are more than a state has"));
        }
        let bytes = fs::read(&path).map_err(|e| e.to_string())?;
        let end = bytes.iter().position(|&b| b == b'\n').ok_or("no checksum line")?;
        let line = std::str::from_utf8(&bytes[..end]).map_err(|_| "no checksum line")?;
        let (digest, at) = line.split_once(' ').ok_or("no checksum line")?;
        let payload = &bytes[end + 1..];
        let at: u64 = at.parse().map_err(|_| "no time in the checksum line")?;
        if digest.parse() != Ok(sum(at, payload)) {
            return Err("the checksum does not fit".into());
        }
        Ok(Some((Time(at), payload.to_vec())))
    }

    /// Writes a record and the moment; the one before stays as the previous copy.
    ///
    /// # Errors
    /// When the disk refuses; the record before is then still whole.
    pub fn save(&self, name: &str, now: Time, payload: &[u8]) -> Result<(), StoreError> {
        let path = self.dir.join(name);
        let fresh = self.dir.join(format!("{name}.new"));
        let head = format!("{} {}\n", sum(now.0, payload), now.0);
        let mut file = File::create(&fresh).map_err(at("write", &fresh))?;
        file.write_all(head.as_bytes())
            .and_then(|()| file.write_all(payload))
            .map_err(at("write", &fresh))?;
        if self.durable {
            file.sync_all().map_err(at("sync", &fresh))?;
        }
        let previous = self.dir.join(previous(name));
        match fs::rename(&path, &previous) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(at("keep", &previous)(e)),
            _ => {}
        }
        fs::rename(&fresh, &path).map_err(at("replace", &path))?;
        if self.durable { sync_dir(&self.dir) } else { Ok(()) }
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

/// The record of what the agent has observed of a model.
#[must_use]
pub fn windows_record(model: &ModelName) -> String {
    format!("windows.{model}")
}

fn previous(name: &str) -> String {
    format!("{name}.previous")
}

fn sum(at: u64, payload: &[u8]) -> Digest {
    Digest::of(&[&at.to_be_bytes(), payload].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> Result<String, String> {
        String::from_utf8(bytes.to_vec()).map_err(|e| e.to_string())
    }

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), true).unwrap();
        (dir, store)
    }

    #[test]
    fn a_new_folder_is_empty_without_complaint() {
        let (_dir, store) = store();
        let found = store.load(STATE, text);
        assert!(found.state.is_none() && found.note.is_none());
    }

    #[test]
    fn the_newest_whole_state_is_read() {
        let (dir, store) = store();
        store.save(STATE, Time(1), b"one").unwrap();
        store.save(STATE, Time(2), b"two").unwrap();
        let found = store.load(STATE, text);
        assert_eq!((found.state.as_deref(), found.at, found.note), (Some("two"), Time(2), None));

        let path = dir.path().join(STATE);
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
        let found = store.load(STATE, text);
        assert_eq!((found.state.as_deref(), found.at), (Some("one"), Time(1)));
        assert!(found.note.unwrap().contains("checksum"));

        fs::write(dir.path().join(previous(STATE)), b"garbage").unwrap();
        let found = store.load(STATE, text);
        assert!(found.state.is_none());
        assert!(found.note.unwrap().contains("state.json.previous"));
    }

    #[test]
    fn a_cut_between_the_two_renames_leaves_the_state_before() {
        let (dir, store) = store();
        store.save(STATE, Time(1), b"one").unwrap();
        fs::rename(dir.path().join(STATE), dir.path().join(previous(STATE))).unwrap();
        let found = store.load(STATE, text);
        assert_eq!(found.state.as_deref(), Some("one"));
        assert!(found.note.is_some());
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
