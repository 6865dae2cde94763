//! One agent on a folder. The folder itself is locked, and a file in it: the folder can be locked where nothing can
//! be written, and the file is what agents of other versions look at. The system lets go of both however the agent
//! ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

use super::moved_aside::make_room_for_file;
use super::{StoreError, at};

/// The name of the file.
const LOCK: &str = "lock";

/// What is held of a folder for as long as the agent lives.
#[derive(Debug, Default)]
pub(super) struct Lock {
    folder: Option<File>,
    file: Option<File>,
}

impl Lock {
    /// Locks a folder, and says why it takes no writes, if it takes none.
    ///
    /// # Errors
    /// When another agent has it, or it takes writes and no locks.
    pub(super) fn take(dir: &Path) -> Result<(Lock, Option<io::Error>), StoreError> {
        // Systems that do not lock folders leave it to the file.
        let folder = File::open(dir).ok().map(|folder| locked(folder, dir)).transpose()?;
        let mut lock = Lock { folder: folder.and_then(Result::ok), file: None };
        let unwritable = lock.take_file(dir)?;
        Ok((lock, unwritable))
    }

    /// Whether another agent could have come to the folder since.
    pub(super) fn is_held(&self) -> bool {
        self.folder.is_some() || self.file.is_some()
    }

    /// Locks the file, if that can be opened; else says why it cannot.
    pub(super) fn take_file(&mut self, dir: &Path) -> Result<Option<io::Error>, StoreError> {
        let path = dir.join(LOCK);
        let open = || OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let (file, unwritable) = match make_room_for_file(&path).and_then(|()| open()) {
            Ok(file) => (Some(file), None),
            Err(error) => {
                (File::open(&path).ok().filter(|f| f.metadata().is_ok_and(|m| m.is_file())), Some(error))
            }
        };
        match file.map(|file| locked(file, dir)).transpose()? {
            Some(Ok(file)) => self.file = Some(file),
            Some(Err(error)) if unwritable.is_none() && !self.is_held() => {
                return Err(at("lock", &path)(error));
            }
            Some(Err(_)) | None => {}
        }
        Ok(unwritable)
    }
}

/// A file that is locked now, or why it cannot be locked.
fn locked(file: File, dir: &Path) -> Result<io::Result<File>, StoreError> {
    match file.try_lock() {
        Ok(()) => Ok(Ok(file)),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse(dir.to_owned())),
        Err(TryLockError::Error(error)) => Ok(Err(error)),
    }
}
