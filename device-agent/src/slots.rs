//! `slots/<model>/{A,B}` and `active`: what answers, for people and for tools that look at the disk.
//!
//! The agent's record decides after a restart; these links follow it. Each changes by one atomic rename, so a
//! power cut leaves the old link or the new one.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use modelfleet_protocol::ids::{Digest, ModelName};

use crate::store::{StoreError, at, make_room_for_file, sync_dir};

const SLOTS: [&str; 2] = ["A", "B"];

/// Points `active` at the slot that holds `digest`, putting it into the slot that does not answer where it is
/// in none. `None`: nothing answers.
///
/// # Errors
/// When a link cannot be written.
pub fn activate(
    dir: &Path,
    model: &ModelName,
    digest: Option<&Digest>,
    durable: bool,
) -> Result<(), StoreError> {
    let folder = dir.join("slots").join(model.as_str());
    fs::create_dir_all(&folder).map_err(at("make", &folder))?;
    let active = folder.join("active");
    let Some(digest) = digest else {
        match fs::remove_file(&active) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(at("remove", &active)(e)),
            _ => return Ok(()),
        }
    };
    let blob = PathBuf::from("../../blobs").join(digest.hex());
    let answering = fs::read_link(&active).ok();
    let holding = SLOTS.into_iter().find(|slot| fs::read_link(folder.join(slot)).is_ok_and(|to| to == blob));
    let slot = match holding {
        Some(slot) => slot,
        None => {
            let free = SLOTS.into_iter().find(|slot| answering.as_deref() != Some(Path::new(slot)));
            let slot = free.unwrap_or(SLOTS[0]);
            point(&folder, slot, &blob)?;
            slot
        }
    };
    point(&folder, "active", Path::new(slot))?;
    if durable { sync_dir(&folder) } else { Ok(()) }
}

fn point(folder: &Path, name: &str, to: &Path) -> Result<(), StoreError> {
    let (fresh, path) = (folder.join(format!("{name}.new")), folder.join(name));
    for place in [&fresh, &path] {
        make_room_for_file(place).map_err(at("make room at", place))?;
    }
    // One that a power cut left behind.
    let _ = fs::remove_file(&fresh);
    symlink(to, &fresh).map_err(at("link", &fresh))?;
    fs::rename(&fresh, &path).map_err(at("link", &path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_builds_take_turns_and_the_third_takes_the_place_of_the_older() {
        let dir = tempfile::tempdir().unwrap();
        let model: ModelName = "pump".parse().unwrap();
        let digests = [b"1", b"2", b"3"].map(|b| Digest::of(b));
        let folder = dir.path().join("slots/pump");
        let active = || fs::read_link(folder.join("active")).ok().map(|p| p.display().to_string());
        let check = |digest: Option<&Digest>, slot: Option<&str>| {
            activate(dir.path(), &model, digest, true).unwrap();
            assert_eq!(active().as_deref(), slot);
            if let (Some(digest), Some(slot)) = (digest, slot) {
                assert!(fs::read_link(folder.join(slot)).unwrap().ends_with(digest.hex()));
            }
        };
        check(Some(&digests[0]), Some("A"));
        check(Some(&digests[1]), Some("B"));
        check(Some(&digests[0]), Some("A"));
        check(Some(&digests[2]), Some("B"));
        check(None, None);
        check(Some(&digests[0]), Some("A"));
    }
}
