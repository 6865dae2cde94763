//! The generated files are current, and small enough for `kubectl apply`.

// Tests panic on purpose, their helpers too.
#![allow(clippy::unwrap_used)]

use std::{fs, path::PathBuf};

use modelfleet_crds::definitions;

/// Client-side apply keeps the object in an annotation, and annotations end here.
const MOST_BYTES: usize = 256 * 1024;

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../manifests/crds")
}

#[test]
fn files_are_current() {
    for definition in definitions::all() {
        let (name, text) = definitions::manifest(&definition).unwrap();
        let path = directory().join(&name);
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == text,
            "{} is not current; run: cargo run -p modelfleet-crds --bin crdgen -- --out manifests/crds",
            path.display()
        );
    }
}

#[test]
fn files_are_small() {
    for definition in definitions::all() {
        let (name, text) = definitions::manifest(&definition).unwrap();
        assert!(text.len() < MOST_BYTES, "{name} has {} bytes", text.len());
    }
}

#[test]
fn there_is_no_other_file() {
    let mut expected: Vec<String> =
        definitions::all().iter().map(|d| definitions::manifest(d).unwrap().0).collect();
    let mut found: Vec<String> = fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}
