//! What a real API server takes and refuses: the files in `objects/`.
//!
//! `good/` is accepted. `bad/` is refused with the words of its first line. `changes/` holds an object and what it
//! is changed to; the first line says what becomes of the change.

// Tests panic on purpose, their helpers too.
#![allow(clippy::unwrap_used)]

mod cluster;

use std::fs;
use std::path::{Path, PathBuf};

use cluster::Cluster;
use modelfleet_crds::{ModelVersion, Rollout};
use serde_json::Value;

fn files(folder: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/objects").join(folder);
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths
        .into_iter()
        .map(|path| {
            (path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(path).unwrap())
        })
        .collect()
}

/// What the first line of a file expects: nothing for `# accepted`, the words of a refusal for `# refused: words`.
fn expected(name: &str, text: &str) -> Option<String> {
    let head = text.lines().next().unwrap_or_default();
    match head.strip_prefix("# refused: ") {
        Some(words) => Some(words.to_owned()),
        None if head == "# accepted" => None,
        None => panic!("{name}: the first line must be '# refused: words' or '# accepted'"),
    }
}

const TRY: [&str; 5] = ["apply", "--dry-run=server", "--validate=strict", "-f", "-"];

/// One line when the server does something else with `object` than expected.
fn surprise(cluster: &Cluster, name: &str, object: &str, expected: Option<&str>) -> Option<String> {
    let output = cluster.kubectl(&TRY, object);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    match (output.status.success(), expected) {
        (true, None) => None,
        (false, Some(words)) if said.contains(words) => None,
        (true, Some(words)) => Some(format!("{name}: accepted, but should be refused: {words}")),
        (false, _) => Some(format!("{name}: refused otherwise: {said}")),
    }
}

#[test]
fn good_ones_are_accepted() {
    let Some(cluster) = Cluster::from_environment() else { return };
    let surprises: Vec<String> =
        files("good").iter().filter_map(|(name, text)| surprise(&cluster, name, text, None)).collect();
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
}

#[test]
fn bad_ones_are_refused_with_a_reason() {
    let Some(cluster) = Cluster::from_environment() else { return };
    let surprises: Vec<String> = files("bad")
        .iter()
        .filter_map(|(name, text)| surprise(&cluster, name, text, expected(name, text).as_deref()))
        .collect();
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
}

#[test]
fn changes_are_accepted_or_refused() {
    let Some(cluster) = Cluster::from_environment() else { return };
    let mut surprises = Vec::new();
    for (name, text) in files("changes") {
        let (old, new) = text.split_once("\n---\n").unwrap();
        cluster.must(&["apply", "-f", "-"], old);
        surprises.extend(surprise(&cluster, &name, new, expected(&name, &text).as_deref()));
        cluster.must(&["delete", "--wait=true", "-f", "-"], old);
    }
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
}

/// Every field of a good object is one that the types know: nothing is lost on the way through them.
#[test]
fn types_keep_every_field_of_the_good_ones() {
    for (name, text) in files("good") {
        let object: Value = serde_yaml::from_str(&text).unwrap();
        let typed = if object["kind"] == "Rollout" {
            serde_json::to_value(serde_json::from_value::<Rollout>(object.clone()).unwrap()).unwrap()
        } else {
            serde_json::to_value(serde_json::from_value::<ModelVersion>(object.clone()).unwrap()).unwrap()
        };
        assert_holds(&name, &typed, &object);
    }
}

/// Everything in `part` is in `whole` too; `whole` may have more, which are the defaults.
fn assert_holds(path: &str, whole: &Value, part: &Value) {
    match part {
        Value::Object(fields) => {
            for (name, value) in fields {
                assert_holds(&format!("{path}.{name}"), &whole[name], value);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                assert_holds(&format!("{path}[{index}]"), &whole[index], value);
            }
        }
        _ => assert_eq!(whole, part, "{path}"),
    }
}
