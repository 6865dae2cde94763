//! House rules that no compiler holds: who may depend on whom, how long a file may be, which words stay out.

#![allow(clippy::unwrap_used, reason = "a test may end where it stands")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Lines after which a file must be split, its tests included.
const FILE_LINES_MAX: usize = 600;

/// What a pure crate may never hold, however it is called for.
const IMPURE: [&str; 9] =
    ["axum", "kube", "object_store", "rand", "reqwest", "rumqttc", "tokio", "tracing", "rustls"];
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// What one crate may know, by the map or by its manifest.
#[derive(Debug, Default, PartialEq, Eq)]
struct Room {
    /// Folders of the crates that it knows.
    knows: BTreeSet<String>,
    /// It holds nothing impure.
    pure: bool,
}

/// Normal dependencies of every workspace member, by its folder: rooms, and names of others.
fn manifests() -> BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let out = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let folder = |package: &serde_json::Value| -> String {
        let manifest = Path::new(package["manifest_path"].as_str().unwrap());
        let folder = manifest.parent().unwrap().strip_prefix(root().canonicalize().unwrap()).unwrap();
        format!("{}/", folder.display())
    };
    let folders: BTreeMap<&str, String> =
        packages.iter().map(|package| (package["name"].as_str().unwrap(), folder(package))).collect();
    let mut all = BTreeMap::new();
    for package in packages {
        let normal = package["dependencies"].as_array().unwrap().iter().filter(|d| d["kind"].is_null());
        let (mut rooms, mut others) = (BTreeSet::new(), BTreeSet::new());
        for name in normal.map(|d| d["name"].as_str().unwrap()) {
            match folders.get(name) {
                Some(folder) => rooms.insert(folder.clone()),
                None => others.insert(name.to_owned()),
            };
        }
        all.insert(folder(package), (rooms, others));
    }
    all
}

/// The table of rooms in docs/ARCHITECTURE.md, by folder.
fn map() -> BTreeMap<String, Room> {
    let text = std::fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    let table = text.split("## Rooms").nth(1).unwrap();
    let names = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>();
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let room = names(cells.get(1)?).pop_first()?;
        Some((room, Room { knows: names(cells.get(2)?), pure: *cells.get(3)? == "yes" }))
    };
    table
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .map_while(|l| l.strip_prefix('|').map(|_| l))
        .filter_map(row)
        .collect()
}

#[test]
fn the_map_shows_the_arrows_that_there_are() {
    let (found, shown) = (manifests(), map());
    assert_eq!(found.keys().collect::<Vec<_>>(), shown.keys().collect::<Vec<_>>(), "docs/ARCHITECTURE.md");
    for (room, (knows, _)) in &found {
        assert_eq!(*knows, shown[room].knows, "{room} in docs/ARCHITECTURE.md");
    }
}

/// Types and numbers know nobody, pure rooms know pure rooms and types, shells never see each other.
#[test]
fn arrows_point_one_way() {
    let shown = map();
    let shells = ["controller/", "device-agent/", "cli/"];
    for (room, Room { knows, pure }) in &shown {
        for known in knows {
            let types = known == "crds/";
            assert!(!pure || shown[known].pure || types, "{room} is pure and must not know {known}");
            assert!(
                !shells.contains(&known.as_str()) || room.starts_with("tests/"),
                "{room} must not know {known}"
            );
        }
    }
}

#[test]
fn pure_rooms_hold_nothing_impure() {
    let shown = map();
    for (room, (_, others)) in manifests().into_iter().filter(|(room, _)| shown[room].pure) {
        let bad: Vec<_> = others.iter().filter(|d| IMPURE.contains(&d.as_str())).collect();
        assert!(bad.is_empty(), "{room} is pure and must not depend on {bad:?}");
        let rules = std::fs::read_to_string(root().join(&room).join("clippy.toml")).unwrap();
        for ban in ["std::time::SystemTime::now", "std::env::var", "std::collections::HashMap"] {
            assert!(rules.contains(ban), "{room}: clippy.toml no longer bans {ban}");
        }
    }
}

fn tracked() -> Vec<PathBuf> {
    let out = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let names = String::from_utf8(out.stdout).unwrap();
    names
        .split('\0')
        .filter(|n| !n.is_empty())
        .map(PathBuf::from)
        .filter(|p| root().join(p).exists())
        .collect()
}

fn is_source(path: &Path) -> bool {
    let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    matches!(ending, "rs" | "py" | "go" | "sh" | "proto") && !path.starts_with("protocol/src/generated")
}

#[test]
fn files_stay_readable() {
    for path in tracked().iter().filter(|p| is_source(p)) {
        let lines = std::fs::read_to_string(root().join(path)).unwrap().lines().count();
        assert!(lines <= FILE_LINES_MAX, "{} has {lines} lines; split it by idea", path.display());
    }
}

#[test]
fn files_are_named_for_an_idea() {
    for path in tracked() {
        let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
        for vague in ["util", "utils", "common", "helper", "helpers", "manager", "misc"] {
            assert!(stem != vague, "{}: name the idea it holds", path.display());
        }
    }
}

#[test]
fn one_word_per_thing_and_nothing_left_open() {
    // Spelled in pieces, so that this file does not hold what it looks for.
    let words = [["to", "do!("], ["unimple", "mented!("], ["FIX", "ME"], ["dbg", "!("], ["#[ig", "nore"]];
    for path in tracked().iter().filter(|p| is_source(p)) {
        let text = std::fs::read_to_string(root().join(path)).unwrap();
        for word in words.map(|w| w.concat()) {
            assert!(!text.contains(&word), "{}: {word}", path.display());
        }
    }
}
