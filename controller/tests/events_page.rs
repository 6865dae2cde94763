//! docs/events.md and docs/events.schema.json against events that were really sent: the Python of the page checks their signatures,
//! and each has the form that the schema describes.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test may end where it stands")]

#[path = "event_sinks/server.rs"]
mod server;

use std::path::{Path, PathBuf};
use std::process::Command;

use modelfleet_rollout::EventKind;
use serde_json::{Value, json};
use server::{KEY, Server, rollout, told};

fn page(name: &str) -> String {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", "docs", name].iter().collect();
    std::fs::read_to_string(path).unwrap()
}

/// Asks the page's function, with what goes wrong as it must.
const ASKS: &str = r#"
import json, sys
requests, key = json.load(open(sys.argv[1])), sys.argv[2].encode()
seen = set()
for request in requests:
    headers, body, now = request["headers"], request["body"].encode(), int(request["headers"]["webhook-timestamp"])
    assert verified(headers, body, key, now)
    assert verified(headers, body, key), "it is of this moment"
    assert not verified(headers, body + b" ", key, now), "changed"
    assert not verified(headers, body, key + b"x", now), "another key"
    assert not verified(headers, body, key, now + 301), "old"
    assert not verified({**headers, "webhook-timestamp": str(now + 1)}, body, key, now), "another time"
    assert not verified({**headers, "webhook-id": "f" * 32}, body, key, now), "another id"
    assert verified(headers, body, key, now, seen) and not verified(headers, body, key, now, seen), "replayed"
print("verified", len(requests))
"#;

/// As much of JSON Schema as the schema of events uses. A word that it does not know is an error.
const FITS: &str = r#"
import json, re, sys
def fits(schema, value, at="event"):
    for word, rule in schema.items():
        if word in ("$schema", "title", "format"): continue
        elif word == "type": assert isinstance(value, {"object": dict, "string": str}[rule]), at
        elif word == "required": assert not set(rule) - set(value), (at, set(rule) - set(value))
        elif word == "properties":
            assert not set(value) - set(rule), (at, "not described", set(value) - set(rule))
            for name in value: fits(rule[name], value[name], at + "." + name)
        elif word == "const": assert value == rule, (at, value)
        elif word == "enum": assert value in rule, (at, value)
        elif word == "pattern": assert re.search(rule, value), (at, value)
        elif word == "minLength": assert len(value) >= rule, (at, value)
        elif word == "maxLength": assert len(value) <= rule, (at, value)
        else: raise SystemExit(f"unknown word {word} at {at}")
schema, kinds = json.load(open(sys.argv[1])), set()
for event in json.load(open(sys.argv[2])):
    fits(schema, event)
    kinds.add(event["type"])
assert kinds == set(schema["properties"]["type"]["enum"]), kinds ^ set(schema["properties"]["type"]["enum"])
print("fits", len(kinds))
"#;

fn python(script: &str, arguments: &[&Path], word: Option<&str>) -> String {
    let out = Command::new("python3")
        .arg("-c")
        .arg(script)
        .args(arguments)
        .args(word)
        .output()
        .expect("install python3");
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{told}");
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

/// What a sink was sent for a rollout with every kind of decision.
async fn sent(dir: &tempfile::TempDir) -> Vec<server::Request> {
    let server = Server::start(Vec::new()).await;
    let told = told(&[server.url()], dir);
    let reasons: Vec<&str> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
    let mut rollout = rollout("r", &reasons, &told.telling);
    let status = rollout.status.as_mut().unwrap();
    status.rollback = Some(
        serde_json::from_value(
            json!({ "startedAt": "2026-08-01T12:00:00Z", "remaining": 0, "reason": "Aborted" }),
        )
        .unwrap(),
    );
    status.phase = serde_json::from_value(json!("Stalled")).unwrap();
    status.message = Some("spec.stages: the last stage must have 100%".into());
    told.telling.offer(&rollout);
    server.wait(reasons.len() + 1).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_of_the_page_checks_what_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let requests: Vec<Value> = sent(&dir)
        .await
        .iter()
        .map(|request| {
            let headers: serde_json::Map<String, Value> =
                request.headers.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
            json!({ "headers": headers, "body": request.body.to_string() })
        })
        .collect();
    let path = dir.path().join("requests.json");
    std::fs::write(&path, json!(requests).to_string()).unwrap();
    let page = page("events.md");
    let code = page.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    let told = python(&format!("{code}\n{ASKS}"), &[&path], Some(KEY));
    assert_eq!(told, format!("verified {}", EventKind::ALL.len() + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_has_the_form_of_the_schema_and_a_line_on_the_page() {
    let dir = tempfile::tempdir().unwrap();
    let events: Vec<Value> = sent(&dir).await.into_iter().map(|request| request.body).collect();
    let (schema, path) = (dir.path().join("schema.json"), dir.path().join("events.json"));
    std::fs::write(&schema, page("events.schema.json")).unwrap();
    std::fs::write(&path, json!(events).to_string()).unwrap();
    assert_eq!(python(FITS, &[&schema, &path], None), format!("fits {}", EventKind::ALL.len() + 1));
    let page = page("events.md");
    for event in &events {
        let word = event["type"]
            .as_str()
            .unwrap()
            .trim_start_matches("io.modelfleet.rollout.")
            .trim_end_matches(".v1");
        let line = format!("| `{word}` | {}", event["severity"].as_str().unwrap());
        let stalls = format!("| `{word}` | info; {} when it stalls", event["severity"].as_str().unwrap());
        assert!(page.contains(&line) || page.contains(&stalls), "docs/events.md has no line {line}");
    }
}
