//! House rules that no compiler holds: who may depend on whom, how long a file may be, which words stay out.

#![allow(clippy::unwrap_used, reason = "a test may end where it stands")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Lines after which a file must be split, its tests included.
const FILE_LINES_MAX: usize = 600;

/// The arrows of DESIGN section 3: each crate, and the crates of this workspace that it may know.
const ARROWS: [(&str, &[&str]); 12] = [
    ("modelfleet-crds", &[]),
    ("modelfleet-model-file", &[]),
    ("modelfleet-protocol", &[]),
    ("modelfleet-judge", &["modelfleet-protocol"]),
    ("modelfleet-rollout", &["modelfleet-judge", "modelfleet-protocol"]),
    ("modelfleet-agent-core", &["modelfleet-protocol"]),
    ("modelfleet-agent", &["modelfleet-agent-core", "modelfleet-model-file", "modelfleet-protocol"]),
    (
        "modelfleet-controller",
        &[
            "modelfleet-crds",
            "modelfleet-judge",
            "modelfleet-model-file",
            "modelfleet-protocol",
            "modelfleet-rollout",
            "modelfleet-spec",
        ],
    ),
    (
        "modelfleet-spec",
        &["modelfleet-crds", "modelfleet-judge", "modelfleet-protocol", "modelfleet-rollout"],
    ),
    ("modelfleet-simulation", &["modelfleet-judge", "modelfleet-protocol", "modelfleet-rollout"]),
    (
        "modelfleet-cli",
        &[
            "modelfleet-crds",
            "modelfleet-judge",
            "modelfleet-model-file",
            "modelfleet-protocol",
            "modelfleet-rollout",
            "modelfleet-simulation",
            "modelfleet-spec",
        ],
    ),
    (
        "modelfleet-tests",
        &[
            "modelfleet-agent-core",
            "modelfleet-crds",
            "modelfleet-judge",
            "modelfleet-protocol",
            "modelfleet-rollout",
            "modelfleet-simulation",
        ],
    ),
];

/// What a pure crate may never hold, however it is called for.
const IMPURE: [&str; 9] =
    ["axum", "kube", "object_store", "rand", "reqwest", "rumqttc", "tokio", "tracing", "rustls"];
const PURE: [&str; 7] = [
    "modelfleet-model-file",
    "modelfleet-protocol",
    "modelfleet-judge",
    "modelfleet-rollout",
    "modelfleet-agent-core",
    "modelfleet-simulation",
    "modelfleet-spec",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Normal dependencies of every workspace member, by name.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let out = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let mut all = BTreeMap::new();
    for package in metadata["packages"].as_array().unwrap() {
        let normal = package["dependencies"].as_array().unwrap().iter().filter(|d| d["kind"].is_null());
        let names = normal.map(|d| d["name"].as_str().unwrap().to_owned()).collect();
        all.insert(package["name"].as_str().unwrap().to_owned(), names);
    }
    all
}

#[test]
fn dependencies_point_one_way() {
    let found = dependencies();
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.into();
    assert_eq!(
        found.keys().map(String::as_str).collect::<Vec<_>>(),
        allowed.keys().copied().collect::<Vec<_>>()
    );
    for (krate, needs) in &found {
        for need in needs.iter().filter(|n| n.starts_with("modelfleet-")) {
            assert!(allowed[krate.as_str()].contains(&need.as_str()), "{krate} must not know {need}");
        }
    }
}

#[test]
fn pure_crates_hold_nothing_impure() {
    let found = dependencies();
    for krate in PURE {
        let bad: Vec<_> = found[krate].iter().filter(|d| IMPURE.contains(&d.as_str())).collect();
        assert!(bad.is_empty(), "{krate} is pure and must not depend on {bad:?}");
        let rules = std::fs::read_to_string(clippy_rules(krate)).unwrap();
        for ban in ["std::time::SystemTime::now", "std::env::var", "std::collections::HashMap"] {
            assert!(rules.contains(ban), "{krate}: clippy.toml no longer bans {ban}");
        }
    }
}

fn clippy_rules(krate: &str) -> PathBuf {
    let room = match krate {
        "modelfleet-rollout" => "controller/rollout",
        "modelfleet-spec" => "controller/spec",
        "modelfleet-agent-core" => "device-agent/core",
        other => other.strip_prefix("modelfleet-").unwrap(),
    };
    root().join(room).join("clippy.toml")
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
