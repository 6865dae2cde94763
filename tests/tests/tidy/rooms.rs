//! Who may depend on whom, by the map of docs/ARCHITECTURE.md, and what a pure room may never hold.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use crate::tree::{root, text, tracked};
use serde_json::Value;

/// What is nowhere in the tree of a pure room, however it is called for.
const IMPURE: [&str; 18] = [
    "axum",
    "getrandom",
    "hyper",
    "kube-client",
    "kube-runtime",
    "mio",
    "object_store",
    "ort",
    "rand",
    "reqwest",
    "ring",
    "rten",
    "rumqttc",
    "rustls",
    "socket2",
    "tokio",
    "tracing",
    "ureq",
];

/// Known by nobody but tests.
const SHELLS: [&str; 3] = ["controller/", "device-agent/", "cli/"];

/// Types of Kubernetes without a client; pure rooms may read them.
const TYPES: &str = "crds/";

/// What tests alone stand on.
const SUPPORT: [&str; 2] = ["tests/support/", "tests/golden/"];

/// Files of pure rooms that may use what `clippy.pure.toml` bans; each says why at its top.
const EXCEPTIONS: [&str; 1] = ["controller/fleet/src/intern.rs"];

/// What one crate may know, by the map.
#[derive(Debug, Default, PartialEq, Eq)]
struct Room {
    /// Folders of the crates that it knows.
    knows: BTreeSet<String>,
    /// It holds nothing impure.
    pure: bool,
}

/// What one crate depends on, by its manifest: folders of rooms, and names of others.
#[derive(Debug, Default)]
struct Manifest {
    package: String,
    rooms: BTreeSet<String>,
    rooms_of_tests: BTreeSet<String>,
    others: BTreeSet<String>,
    /// Test targets that are built for a feature alone, with their features.
    asked_for: Vec<(String, BTreeSet<String>)>,
}

fn cargo(arguments: &[&str]) -> String {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let out = Command::new(cargo).args(arguments).current_dir(root()).output().unwrap();
    assert!(out.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// Manifest of every workspace member, by its folder.
fn manifests() -> BTreeMap<String, Manifest> {
    let text = cargo(&["metadata", "--format-version", "1", "--no-deps", "--offline"]);
    let metadata: Value = serde_json::from_str(&text).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let folder = |package: &Value| -> String {
        let manifest = Path::new(package["manifest_path"].as_str().unwrap());
        let folder = manifest.parent().unwrap().strip_prefix(root().canonicalize().unwrap()).unwrap();
        format!("{}/", folder.display())
    };
    let name = |package: &Value| package["name"].as_str().unwrap().to_owned();
    let folders: BTreeMap<String, String> = packages.iter().map(|p| (name(p), folder(p))).collect();
    packages.iter().map(|package| (folder(package), manifest(package, &folders))).collect()
}

fn manifest(package: &Value, folders: &BTreeMap<String, String>) -> Manifest {
    let mut manifest =
        Manifest { package: package["name"].as_str().unwrap().to_owned(), ..Manifest::default() };
    for dependency in package["dependencies"].as_array().unwrap() {
        let name = dependency["name"].as_str().unwrap();
        let of_tests = dependency["kind"] == "dev";
        match (folders.get(name), of_tests) {
            (Some(folder), false) => manifest.rooms.insert(folder.clone()),
            (Some(folder), true) => manifest.rooms_of_tests.insert(folder.clone()),
            (None, false) => manifest.others.insert(name.to_owned()),
            (None, true) => false,
        };
    }
    let strings = |value: &Value| -> BTreeSet<String> {
        value.as_array().into_iter().flatten().map(|v| v.as_str().unwrap().to_owned()).collect()
    };
    for target in package["targets"].as_array().unwrap() {
        let features = strings(&target["required-features"]);
        if strings(&target["kind"]).contains("test") && !features.is_empty() {
            manifest.asked_for.push((target["name"].as_str().unwrap().to_owned(), features));
        }
    }
    manifest
}

/// The table of rooms in docs/ARCHITECTURE.md, by folder.
fn map() -> BTreeMap<String, Room> {
    let text = text(Path::new("docs/ARCHITECTURE.md"));
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

fn pure_rooms() -> Vec<String> {
    map().into_iter().filter(|(_, room)| room.pure).map(|(folder, _)| folder).collect()
}

#[test]
fn the_map_shows_the_arrows_that_there_are() {
    let (found, shown) = (manifests(), map());
    assert_eq!(found.keys().collect::<Vec<_>>(), shown.keys().collect::<Vec<_>>(), "docs/ARCHITECTURE.md");
    for (room, manifest) in &found {
        assert_eq!(manifest.rooms, shown[room].knows, "{room} in docs/ARCHITECTURE.md");
    }
}

/// Types and numbers know nobody, pure rooms know pure rooms and types, shells never see each other.
#[test]
fn arrows_point_one_way() {
    for (room, Room { knows, pure }) in &map() {
        let of_tests = room.starts_with("tests/");
        for known in knows {
            let allowed = !pure || map()[known].pure || known == TYPES;
            assert!(allowed, "{room} is pure and must not know {known}");
            assert!(!SHELLS.contains(&known.as_str()) || of_tests, "{room} must not know {known}");
            assert!(!known.starts_with("tests/") || of_tests, "{room} must not ship {known}");
        }
    }
}

/// The same of what tests alone need: they may see more, but a shell's tests no other shell, and a pure room's tests nothing
/// impure.
#[test]
fn arrows_of_tests_point_one_way_too() {
    let shown = map();
    for (room, manifest) in manifests().iter().filter(|(room, _)| !room.starts_with("tests/")) {
        for known in &manifest.rooms_of_tests {
            assert!(!SHELLS.contains(&known.as_str()), "tests of {room} must not know {known}");
            let support = SUPPORT.contains(&known.as_str());
            assert!(support || !known.starts_with("tests/"), "tests of {room} must not know {known}");
            let allowed =
                !shown[room].pure || shown[known].pure || known == TYPES || known == "tests/golden/";
            assert!(allowed, "tests of {room}, which is pure, must not know {known}");
        }
    }
}

#[test]
fn pure_rooms_hold_nothing_impure() {
    let manifests = manifests();
    for room in pure_rooms() {
        let Manifest { package, others, .. } = &manifests[&room];
        assert!(!others.contains("kube"), "{room} is pure; {TYPES} has the types of Kubernetes");
        let tree =
            cargo(&["tree", "--offline", "--locked", "--edges", "normal", "--prefix", "none", "-p", package]);
        let names: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
        assert!(names.contains(package.as_str()), "{tree}");
        let bad: Vec<_> = IMPURE.iter().filter(|name| names.contains(*name)).collect();
        assert!(bad.is_empty(), "{room} is pure and must not hold {bad:?}: cargo tree -p {package} -i NAME");
    }
}

/// One list for all: clippy reads a package's own file and nothing of its parents'.
#[test]
fn pure_rooms_have_the_whole_list_of_what_they_may_not_use() {
    let list = text(Path::new("clippy.pure.toml"));
    for ban in [
        "std::time::SystemTime::now",
        "std::time::Instant::now",
        "std::env::var",
        "std::fs::read",
        "std::fs::File",
        "std::net::TcpStream",
        "std::sync::Mutex",
        "std::thread::spawn",
        "std::collections::HashMap",
        "std::collections::HashSet",
        "f64::ln",
    ] {
        assert!(list.contains(&format!("path = \"{ban}\"")), "clippy.pure.toml no longer bans {ban}");
    }
    for room in pure_rooms() {
        let own = std::fs::read_to_string(root().join(&room).join("clippy.toml")).unwrap_or_default();
        let up = "../".repeat(room.matches('/').count());
        assert!(own == list, "{room} is pure: ln -sf {up}clippy.pure.toml {room}clippy.toml");
    }
}

/// A ban that a file lifts for itself is none; and what is shared by a whole process is no argument.
#[test]
fn pure_rooms_keep_to_the_list() {
    let rooms = pure_rooms();
    let source = |path: &Path| rooms.iter().any(|room| path.starts_with(format!("{room}src")));
    // Spelled in pieces, so that this file does not hold what it looks for.
    let lifted = ["clippy::disallowed", "_"].concat();
    for path in tracked().iter().filter(|path| source(path) && path.extension().is_some_and(|e| e == "rs")) {
        let text = text(path);
        let excepted = EXCEPTIONS.iter().any(|exception| path == Path::new(exception));
        assert_eq!(text.contains(&lifted), excepted, "{}: EXCEPTIONS of this test", path.display());
        let tests = path.components().any(|part| part.as_os_str() == "tests");
        for global in ["thread_local!", "static mut ", "OnceLock", "LazyLock"] {
            assert!(tests || !text.contains(global), "{}: {global} is global state", path.display());
        }
    }
}

/// A test that is built for a feature alone is run by the target that asks for the feature.
#[test]
fn tests_that_ask_for_a_feature_are_run() {
    let (make, e2e) = (text(Path::new("Makefile")), text(Path::new("tests/e2e.sh")));
    for (room, manifest) in manifests() {
        for (test, features) in &manifest.asked_for {
            let runs = if features.contains("e2e") {
                e2e.contains(&format!("-p {} --features e2e", manifest.package))
            } else if features.contains("api-server") {
                e2e.contains(&format!("--test {test} "))
            } else if features.contains("prometheus") {
                make.contains(&format!("--features prometheus --test {test}"))
            } else if features.contains("real-parts") {
                make.contains("--features real-parts")
            } else {
                false
            };
            assert!(runs, "{room}: nothing runs the test {test}, which asks for {features:?}");
        }
    }
}
