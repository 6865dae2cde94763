//! What the schema of a Rollout's status refuses, as far as the API server holds it.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde_json::Value;

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let rollouts = modelfleet_crds::definitions::all().into_iter().find(|d| d.spec.names.kind == "Rollout");
    let definition = serde_json::to_value(rollouts.unwrap()).unwrap();
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"].clone()
});

/// Everything that is wrong with a status, each with its place.
pub fn refusals(status: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(&SCHEMA, status, "status", &mut found);
    // The rules of the membership.
    let clauses = || status["membership"]["clauses"].as_array().into_iter().flatten();
    let sum = |list: &str| clauses().map(|c| c[list].as_array().map_or(0, Vec::len)).sum::<usize>();
    if sum("strata") > 128 || sum("devices") > 64 {
        found.push("status.membership: too many strata or devices".to_owned());
    }
    found
}

fn check(schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    let number = |key: &str| schema[key].as_f64();
    let mut refuse = |what: &str| found.push(format!("{at}: {what}"));
    match value {
        Value::String(text) => {
            let length = text.chars().count() as f64;
            if schema["type"] != "string" {
                refuse("is a text");
            } else if number("maxLength").is_some_and(|max| length > max) {
                refuse("is too long");
            } else if number("minLength").is_some_and(|min| length < min) {
                refuse("is too short");
            }
            if schema["enum"].as_array().is_some_and(|words| !words.contains(value)) {
                refuse("is none of the words");
            }
            if schema["format"] == "date-time" && text.parse::<jiff::Timestamp>().is_err() {
                refuse("is no time");
            }
            if schema["pattern"].as_str().is_some_and(|pattern| !matches(pattern, text)) {
                refuse("does not match");
            }
        }
        Value::Number(it) => {
            let it = it.as_f64().unwrap();
            if schema["type"] != "integer" && schema["type"] != "number" {
                refuse("is a number");
            } else if number("minimum").is_some_and(|min| it < min)
                || number("maximum").is_some_and(|max| it > max)
            {
                refuse("is out of range");
            }
        }
        Value::Bool(_) => assert_eq!(schema["type"], "boolean", "{at}"),
        Value::Null => refuse("is null"),
        Value::Array(items) => {
            if number("maxItems").is_some_and(|max| items.len() as f64 > max) {
                refuse("has too many items");
            }
            if let Some(keys) = schema["x-kubernetes-list-map-keys"].as_array() {
                let key =
                    |item: &Value| keys.iter().map(|key| item[key.as_str().unwrap()].to_string()).collect();
                let distinct: BTreeSet<Vec<String>> = items.iter().map(key).collect();
                if distinct.len() < items.len() {
                    refuse("has a key twice");
                }
            }
            for (i, item) in items.iter().enumerate() {
                check(&schema["items"], item, &format!("{at}[{i}]"), found);
            }
        }
        Value::Object(fields) => {
            for required in schema["required"].as_array().into_iter().flatten() {
                if !fields.contains_key(required.as_str().unwrap()) {
                    refuse("lacks a field");
                    break;
                }
            }
            if number("maxProperties").is_some_and(|max| fields.len() as f64 > max) {
                refuse("has too many entries");
            }
            for (name, field) in fields {
                let known = &schema["properties"][name];
                let known = if known.is_null() { &schema["additionalProperties"] } else { known };
                assert!(!known.is_null(), "{at}.{name} is in no schema");
                check(known, field, &format!("{at}.{name}"), found);
            }
        }
    }
}

/// The patterns that the status has.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern {
        "^[0-9a-f]{16}$" => text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')),
        "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$" => {
            let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
            text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
                && text.bytes().last().is_some_and(word)
                && text.bytes().all(|b| word(b) || matches!(b, b',' | b':'))
        }
        other => panic!("unknown pattern {other}"),
    }
}
