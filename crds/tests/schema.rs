//! What every schema keeps to: bounded, documented, without floats and unsigned integers.

// Tests panic on purpose, their helpers too.
#![allow(clippy::unwrap_used)]

mod fields;

use fields::each_field;
use modelfleet_crds::{Rollout, RolloutSpec, definitions};
use serde_json::{Value, json};

#[test]
fn everything_is_bounded() {
    each_field(&mut |path, schema| match schema["type"].as_str() {
        Some("string") => assert!(
            schema["maxLength"].is_u64() || schema["enum"].is_array() || schema["format"] == "date-time",
            "{path} has no maxLength"
        ),
        Some("array") => assert!(schema["maxItems"].is_u64(), "{path} has no maxItems"),
        Some("object") if schema["additionalProperties"].is_object() => {
            assert!(schema["maxProperties"].is_u64(), "{path} has no maxProperties");
        }
        Some("object" | "integer" | "boolean") => {}
        other => panic!("{path} has type {other:?}"),
    });
}

#[test]
fn integers_are_signed_and_64_bits() {
    each_field(&mut |path, schema| {
        if schema["type"] == "integer" {
            assert_eq!(schema["format"], "int64", "{path}");
        }
    });
}

#[test]
fn every_field_is_explained() {
    each_field(&mut |path, schema| {
        let element = path.ends_with(']') || path.ends_with('}');
        let spec_or_status = path.contains('.');
        if spec_or_status && !element {
            assert!(schema["description"].as_str().is_some_and(|text| text.len() > 10), "{path}");
        }
    });
}

#[test]
fn every_list_says_how_it_is_merged() {
    each_field(&mut |path, schema| {
        if schema["type"] == "array" {
            assert!(schema["x-kubernetes-list-type"].is_string(), "{path} has no x-kubernetes-list-type");
        }
    });
}

#[test]
fn defaults_in_code_are_those_of_the_schema() {
    let spec = json!({ "model": "m", "version": "1.0.0" });
    let read: RolloutSpec = serde_json::from_value(spec).unwrap();
    let new = RolloutSpec::new("m", "1.0.0");
    assert_eq!(read, new);
    let definition = serde_json::to_value(&definitions::all()[1]).unwrap();
    let properties =
        &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    let written = serde_json::to_value(Rollout::new("r", new)).unwrap();
    for (field, value) in written["spec"].as_object().unwrap() {
        if field != "model" && field != "version" {
            assert_eq!(&properties[field]["default"], value, "{field}");
        }
    }
}

#[test]
fn a_status_without_its_membership_is_bounded_by_the_schema() {
    for definition in definitions::all() {
        let definition = serde_json::to_value(definition).unwrap();
        let root = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
        let mut status = root["status"].clone();
        // Rules bound it: strata and devices of all clauses together.
        status["properties"].as_object_mut().unwrap().remove("membership");
        let bytes = largest(&status);
        println!("{} status: at most {bytes} bytes", definition["spec"]["names"]["kind"]);
        // Real ones stay below 32 KiB (see status.rs); this is with every text at its longest.
        assert!(bytes < 70 * 1024, "{bytes}");
    }
}

/// Bytes of the largest JSON text that a schema lets pass, with one byte per character.
fn largest(schema: &Value) -> u64 {
    let longest_value = schema["enum"].as_array().map(|all| all.iter().map(|v| v.to_string().len() as u64));
    match schema["type"].as_str() {
        Some("string") => match longest_value.and_then(Iterator::max) {
            Some(bytes) => bytes,
            None => schema["maxLength"].as_u64().unwrap_or(20) + 2,
        },
        Some("array") => schema["maxItems"].as_u64().unwrap() * (largest(&schema["items"]) + 1) + 2,
        Some("object") if schema["additionalProperties"].is_object() => {
            schema["maxProperties"].as_u64().unwrap() * (largest(&schema["additionalProperties"]) + 260)
        }
        Some("object") => schema["properties"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, field)| name.len() as u64 + 4 + largest(field))
            .sum::<u64>(),
        Some("boolean") => 5,
        _ => 20,
    }
}
