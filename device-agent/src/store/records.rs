//! Records: small files with a checksum, each with the copy before it, so that a power cut costs the last write at
//! most.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::sync::PoisonError;

use modelfleet_agent_core::saved::{SAVED_VERSION, Saved, SavedError};
use modelfleet_protocol::ids::{Digest, ModelName};
use modelfleet_protocol::time::Time;

use super::{Store, StoreError, at, make_room_for_file, sync_dir};

/// Most bytes of a state file; a larger one is not ours.
const STATE_FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// The record of what the agent must not forget.
pub const STATE: &str = "state.json";

/// What was found of a record.
pub struct Found<T> {
    /// The record; absent on a new device and where nothing was readable.
    pub state: Option<T>,
    /// The latest moment that was stored.
    pub at: Time,
    /// What was wrong, if it is not the newest copy.
    pub note: Option<String>,
}

/// Why a copy of a record is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// Its bytes are not a record, or not one that is understood: nothing is lost when it goes.
    Spoiled,
    /// The disk did not give its bytes: they may be good.
    Withheld,
}

/// A copy that was not read.
enum ReadError {
    Io(io::Error),
    Spoiled(String),
}

impl From<&str> for ReadError {
    fn from(reason: &str) -> ReadError {
        ReadError::Spoiled(reason.to_owned())
    }
}

type Copy = Option<(Time, Vec<u8>)>;

impl Store {
    /// Looks whether the record of what must not be forgotten can be read, as far as it is there.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        for copy in [STATE.to_owned(), previous(STATE)] {
            let path = self.dir.join(&copy);
            match self.copy(&copy) {
                Err(ReadError::Io(source)) => return Err(StoreError::Unreadable { path, source }),
                Ok(Some((_, payload))) => match Saved::from_json(&payload) {
                    Ok(_) => return Ok(()),
                    Err(SavedError::Version(found)) if found > SAVED_VERSION => {
                        return Err(StoreError::Newer { path, found });
                    }
                    Err(_) => {}
                },
                Ok(None) | Err(ReadError::Spoiled(_)) => {}
            }
        }
        Ok(())
    }

    /// Reads a record: the newest copy that is whole and that `read` understands.
    pub fn load<T>(&self, name: &str, read: impl Fn(&[u8]) -> Result<T, String>) -> Found<T> {
        let mut notes = Vec::new();
        for copy in [name.to_owned(), previous(name)] {
            let found = self.copy(&copy).and_then(|found| match found {
                Some((at, payload)) => {
                    let state = read(&payload).map_err(ReadError::Spoiled)?;
                    Ok(Some((at, state)))
                }
                None => Ok(None),
            });
            let (unread, reason) = match found {
                Ok(Some((at, state))) => {
                    let note = (copy != name).then(|| format!("{} was not readable", notes.join("; ")));
                    return Found { state: Some(state), at, note };
                }
                Ok(None) => (None, "not there".to_owned()),
                Err(ReadError::Spoiled(reason)) => (Some(Unread::Spoiled), reason),
                Err(ReadError::Io(cause)) => (Some(Unread::Withheld), cause.to_string()),
            };
            if let Some(unread) = unread.filter(|_| copy == name) {
                self.unread().insert(name.to_owned(), unread);
            }
            notes.push(format!("{copy}: {reason}"));
        }
        // A new device has neither copy, and nothing was lost.
        let lost = notes.iter().any(|n| !n.ends_with("not there"));
        Found { state: None, at: Time::ZERO, note: lost.then(|| notes.join("; ")) }
    }

    fn copy(&self, name: &str) -> Result<Copy, ReadError> {
        let path = self.dir.join(name);
        let size = match fs::metadata(&path) {
            Ok(found) if found.is_dir() => return Err("a folder stands in its place".into()),
            Ok(found) => found.len(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(ReadError::Io(e)),
        };
        if size > STATE_FILE_BYTES_MAX {
            return Err(ReadError::Spoiled(format!("{size} bytes are more than a state has")));
        }
        let bytes = fs::read(&path).map_err(ReadError::Io)?;
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

    /// Writes a record and the moment; the one before stays as the previous copy, if it was one.
    ///
    /// # Errors
    /// When the disk refuses, or did not give the record that would be replaced; what was there before is then
    /// still whole.
    pub fn save(&self, name: &str, now: Time, payload: &[u8]) -> Result<(), StoreError> {
        let path = self.dir.join(name);
        let unread = self.unread().get(name).copied();
        if unread == Some(Unread::Withheld) {
            let source = io::Error::other("it could not be read, and may be good");
            return Err(StoreError::Unreadable { path, source });
        }
        self.own()?;
        let (fresh, before) = (self.dir.join(format!("{name}.new")), self.dir.join(previous(name)));
        for place in [&fresh, &path, &before] {
            make_room_for_file(place).map_err(at("make room at", place))?;
        }
        let head = format!("{} {}\n", sum(now.0, payload), now.0);
        let mut file = File::create(&fresh).map_err(at("write", &fresh))?;
        file.write_all(head.as_bytes())
            .and_then(|()| file.write_all(payload))
            .map_err(at("write", &fresh))?;
        if self.durable {
            file.sync_all().map_err(at("sync", &fresh))?;
        }
        // The copy before a spoiled one is the only good one there is.
        if unread.is_none() {
            match fs::rename(&path, &before) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(at("keep", &before)(e)),
                _ => {}
            }
        }
        fs::rename(&fresh, &path).map_err(at("replace", &path))?;
        self.unread().remove(name);
        if self.durable { sync_dir(&self.dir) } else { Ok(()) }
    }

    fn unread(&self) -> std::sync::MutexGuard<'_, std::collections::BTreeMap<String, Unread>> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner)
    }
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

    /// Damages a copy so that its checksum does not fit.
    fn spoil(dir: &tempfile::TempDir, copy: &str) {
        let path = dir.path().join(copy);
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
    }

    #[test]
    fn a_spoiled_copy_does_not_take_the_place_of_the_good_one() {
        let (dir, store) = store();
        store.save(STATE, Time(1), b"one").unwrap();
        store.save(STATE, Time(2), b"two").unwrap();
        spoil(&dir, STATE);
        assert_eq!(store.load(STATE, text).state.as_deref(), Some("one"));
        store.save(STATE, Time(3), b"three").unwrap();
        assert_eq!(store.load(STATE, text).state.as_deref(), Some("three"));
        spoil(&dir, STATE);
        assert_eq!(store.load(STATE, text).state.as_deref(), Some("one"), "still there");
        // A copy that is not understood is no better than one that is damaged.
        store.save(STATE, Time(4), b"four").unwrap();
        let found =
            store.load(STATE, |bytes| text(bytes).and_then(|t| if t == "four" { Err(t) } else { Ok(t) }));
        assert_eq!(found.state.as_deref(), Some("one"));
        store.save(STATE, Time(5), b"five").unwrap();
        assert!(fs::read(dir.path().join(previous(STATE))).unwrap().ends_with(b"\none"));
    }

    #[test]
    fn a_record_that_the_disk_withholds_is_not_done_without() {
        let (dir, store) = store();
        // A link to itself cannot be read, by root neither.
        let path = dir.path().join(STATE);
        std::os::unix::fs::symlink(&path, &path).unwrap();
        assert!(store.load(STATE, text).note.is_some());
        assert!(matches!(store.save(STATE, Time(1), b"one"), Err(StoreError::Unreadable { .. })));
        drop(store);
        let refused = Store::open(dir.path(), true).err().unwrap();
        assert!(refused.to_string().contains("check the disk"), "{refused}");
    }

    #[test]
    fn a_record_of_a_newer_agent_is_not_done_without() {
        let (dir, store) = store();
        let newer = format!(r#"{{"version":{}}}"#, SAVED_VERSION + 1);
        store.save(STATE, Time(1), newer.as_bytes()).unwrap();
        drop(store);
        let refused = Store::open(dir.path(), true).err().unwrap();
        assert!(refused.to_string().contains("install that agent again"), "{refused}");
        // One that it replaced is of no interest.
        fs::rename(dir.path().join(STATE), dir.path().join(previous(STATE))).unwrap();
        assert!(matches!(Store::open(dir.path(), true), Err(StoreError::Newer { .. })));
    }
}
