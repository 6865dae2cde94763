//! What a real API server takes, refuses and keeps: the files in `objects/`, and a full status.
//!
//! `good/` is accepted. `bad/` is refused with the words of its first line. `changes/` holds an object and what it
//! is changed to; the first line says what becomes of the change.

// Tests panic on purpose, their helpers too.
#![allow(clippy::unwrap_used)]

mod full_status;
mod object_files;

use full_status::{FULL, status, version_status};
use modelfleet_test_support::api_server::with_definitions;
use modelfleet_test_support::kubectl::Kubectl;
use object_files::files;
use serde_json::{Value, json};

const NAMESPACE: &str = "modelfleet-crds";

/// The server, with the definitions and a namespace of these tests.
fn cluster() -> Kubectl {
    let cluster = with_definitions();
    // A refusal here means that another test, or an earlier run, has made it.
    let _ = cluster.run(&["create", "namespace", NAMESPACE]);
    must(&cluster, &["get", "namespace", NAMESPACE], "");
    cluster
}

/// What kubectl prints; it has to succeed.
fn must(cluster: &Kubectl, arguments: &[&str], input: &str) -> String {
    cluster.run_in(NAMESPACE, arguments, input).unwrap_or_else(|refusal| panic!("{refusal}"))
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
fn surprise(cluster: &Kubectl, name: &str, object: &str, expected: Option<&str>) -> Option<String> {
    match (cluster.run_in(NAMESPACE, &TRY, object), expected) {
        (Ok(_), None) => None,
        (Err(refusal), Some(words)) if refusal.to_string().contains(words) => None,
        (Ok(_), Some(words)) => Some(format!("{name}: accepted, but should be refused: {words}")),
        (Err(refusal), _) => Some(format!("{name}: refused otherwise: {refusal}")),
    }
}

#[test]
fn good_ones_are_accepted() {
    let cluster = cluster();
    let surprises: Vec<String> =
        files("good").iter().filter_map(|(name, text)| surprise(&cluster, name, text, None)).collect();
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
}

#[test]
fn bad_ones_are_refused_with_a_reason() {
    let cluster = cluster();
    let surprises: Vec<String> = files("bad")
        .iter()
        .filter_map(|(name, text)| surprise(&cluster, name, text, expected(name, text).as_deref()))
        .collect();
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
}

#[test]
fn changes_are_accepted_or_refused() {
    let cluster = cluster();
    let mut surprises = Vec::new();
    for (name, text) in files("changes") {
        let (old, new) = text.split_once("\n---\n").unwrap();
        must(&cluster, &["apply", "-f", "-"], old);
        surprises.extend(surprise(&cluster, &name, new, expected(&name, &text).as_deref()));
        must(&cluster, &["delete", "--wait=true", "-f", "-"], old);
    }
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
}

/// What the API server keeps of `status` on the object of a file of good ones.
fn kept(cluster: &Kubectl, resource: &str, file: &str, status: &Value) -> Value {
    let object = format!("{}/tests/objects/good/{file}.yaml", env!("CARGO_MANIFEST_DIR"));
    must(cluster, &["apply", "-f", &object], "");
    let patch = json!({ "status": status }).to_string();
    let name = format!("{resource}/{file}");
    must(cluster, &["patch", &name, "--subresource=status", "--type=merge", "-p", &patch], "");
    let found: Value = serde_json::from_str(&must(cluster, &["get", &name, "-o", "json"], "")).unwrap();
    println!("{}", must(cluster, &["get", &name, "-o", "wide"], ""));
    must(cluster, &["delete", &name], "");
    found["status"].clone()
}

#[test]
fn the_server_keeps_every_field() {
    let cluster = cluster();
    assert_eq!(kept(&cluster, "rollout", "rollout-full", &status(&FULL)), status(&FULL));
    assert_eq!(kept(&cluster, "modelversion", "version-full", &version_status()), version_status());
}
