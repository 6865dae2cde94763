//! The journal of a ledger of truth: a file that grows at its end, and is written anew where it has become too long.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::{StoreError, at, make_room_for_file, sync_dir};

/// Most bytes that are read of a journal.
const READ_MAX: u64 = 64 * 1024 * 1024;

/// The journal of one ledger.
#[derive(Debug)]
pub struct TruthFile {
    path: PathBuf,
    file: Option<File>,
    bytes: u64,
    bytes_max: u64,
}

impl TruthFile {
    /// Opens a journal that may grow to so many bytes. Returns what is in it.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn open(dir: &Path, name: &str, bytes_max: u64) -> Result<(TruthFile, Vec<u8>), StoreError> {
        let path = dir.join(name);
        let mut found = Vec::new();
        match File::open(&path) {
            Ok(file) if !path.is_dir() => {
                file.take(READ_MAX).read_to_end(&mut found).map_err(at("read", &path))?;
            }
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(at("read", &path)(e)),
            _ => {}
        }
        Ok((TruthFile { path, file: None, bytes: 0, bytes_max }, found))
    }

    /// Whether so many bytes more would be too many.
    #[must_use]
    pub fn is_full(&self, more: usize) -> bool {
        self.bytes.saturating_add(more as u64) > self.bytes_max
    }

    /// Puts `whole` in the place of all that is there. A power cut leaves the one or the other.
    ///
    /// # Errors
    /// When the disk refuses; what was there before is then still whole.
    pub fn rewrite(&mut self, whole: &[u8]) -> Result<(), StoreError> {
        self.file = None;
        let fresh = self.path.with_extension("new");
        let dir = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(dir).map_err(at("make", dir))?;
        for place in [&fresh, &self.path] {
            make_room_for_file(place).map_err(at("make room at", place))?;
        }
        let mut file = File::create(&fresh).map_err(at("write", &fresh))?;
        file.write_all(whole).and_then(|()| file.sync_all()).map_err(at("write", &fresh))?;
        fs::rename(&fresh, &self.path).map_err(at("replace", &self.path))?;
        sync_dir(dir)?;
        let file = OpenOptions::new().append(true).open(&self.path).map_err(at("open", &self.path))?;
        (self.file, self.bytes) = (Some(file), whole.len() as u64);
        Ok(())
    }

    /// Puts a frame at the end; on disk when it returns, if `sync`.
    ///
    /// # Errors
    /// When the disk refuses. The journal is then to be written anew.
    pub fn append(&mut self, frame: &[u8], sync: bool) -> Result<(), StoreError> {
        let path = &self.path;
        let missing = || at("open", path)(io::Error::from(io::ErrorKind::NotFound));
        let file = self.file.as_mut().ok_or_else(missing)?;
        file.write_all(frame).map_err(at("write", path))?;
        self.bytes = self.bytes.saturating_add(frame.len() as u64);
        if sync { file.sync_data().map_err(at("sync", path)) } else { Ok(()) }
    }
}
