//! A folder where a file should be, or a file where a folder should be. A container runtime, for example, creates a folder
//! if the file to mount is missing. It is moved aside, never deleted, and the agent goes on.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tracing::warn;

/// So many are kept beside one path.
const ASIDE_MAX: u32 = 100;

/// Makes room for a file: a folder that stands in its place is moved aside.
///
/// # Errors
/// When it cannot be moved.
pub(crate) fn make_room_for_file(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => set_aside(path, "found a folder where a file is expected"),
        _ => Ok(()),
    }
}

/// Makes room for a folder: what else stands in its place is moved aside.
///
/// # Errors
/// When it cannot be moved.
pub(super) fn make_room_for_folder(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if !found.is_dir() => set_aside(path, "found a file where a folder is expected"),
        _ => Ok(()),
    }
}

fn set_aside(path: &Path, what: &str) -> io::Result<()> {
    let free = |n: &u32| !beside(path, *n).try_exists().unwrap_or(true);
    let n = (1..=ASIDE_MAX).find(free).ok_or_else(|| {
        io::Error::other(
            "too many files have been moved aside already; delete those with .aside- in their name",
        )
    })?;
    let to = beside(path, n);
    fs::rename(path, &to)?;
    warn!(path = %path.display(), to = %to.display(), "{what}; renamed it, it can be deleted");
    Ok(())
}

fn beside(path: &Path, n: u32) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".aside-{n}"));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_the_way_is_moved_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        make_room_for_file(&path).unwrap();
        for n in 1..=2 {
            fs::create_dir(&path).unwrap();
            fs::write(path.join("inside"), b"x").unwrap();
            make_room_for_file(&path).unwrap();
            assert!(!path.exists() && dir.path().join(format!("lock.aside-{n}/inside")).exists());
        }
        fs::write(&path, b"x").unwrap();
        make_room_for_file(&path).unwrap();
        assert!(path.exists(), "a file stays");
        make_room_for_folder(&path).unwrap();
        assert!(!path.exists() && dir.path().join("lock.aside-3").exists());
    }
}
