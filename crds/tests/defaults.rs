//! `kubectl explain` tells each default, and tells the one that the API server fills in.

// Tests panic on purpose, their helpers too.
#![allow(clippy::unwrap_used)]

mod fields;

use fields::each_field;
use modelfleet_crds::rollout::{default_slos, default_stages};
use serde_json::Value;

/// Calls `visit` with the path, the schema and the description of each field of a spec, and whether it is required.
fn each_spec_field(visit: &mut dyn FnMut(&str, &Value, &str, bool)) {
    let mut required: Vec<String> = Vec::new();
    each_field(&mut |path, schema| {
        let names = schema["required"].as_array().into_iter().flatten();
        required.extend(names.map(|name| format!("{path}.{}", name.as_str().unwrap())));
        let (field, element) = (path.contains(".spec."), path.ends_with([']', '}']));
        if let (true, false, Some(text)) = (field, element, schema["description"].as_str()) {
            visit(path, schema, &text.replace('\n', " "), required.iter().any(|r| r == path));
        }
    });
}

/// What stands in backticks after `Default: `.
fn told(description: &str) -> Option<&str> {
    let (_, rest) = description.split_once("Default: `")?;
    rest.split_once('`').map(|(default, _)| default)
}

#[test]
fn a_description_tells_the_default_of_the_schema() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    each_spec_field(&mut |path, schema, description, _| {
        let filled_in = match &schema["default"] {
            Value::String(text) => Some(text.clone()),
            value @ (Value::Number(_) | Value::Bool(_)) => Some(value.to_string()),
            _ => None,
        };
        seen += u32::from(filled_in.is_some());
        // A decimal is written as YAML wants it, with its quotes.
        let told = told(description).map(|text| text.trim_matches('"').to_owned());
        if told != filled_in {
            wrong.push(format!("{path}: the schema has {filled_in:?}, the description {told:?}"));
        }
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen > 25, "only {seen} fields have a default");
}

/// A structure tells the defaults of its fields; everything else says that it is required, or what happens without it.
#[test]
fn a_field_is_required_or_tells_its_default() {
    let mut wrong = Vec::new();
    each_spec_field(&mut |path, schema, description, required| {
        let structure = schema["type"] == "object" && schema["properties"].is_object();
        let (says_required, says_default) =
            (description.contains("Required."), description.contains("Default: "));
        let right = match required {
            true => says_required && !says_default,
            false => !says_required && (says_default || structure),
        };
        if !right {
            wrong.push(format!("{path} (required: {required}): {description}"));
        }
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_default_stages_and_objectives_are_told() {
    let stages = default_stages().into_iter();
    let stages = stages.map(|s| format!("{} {} (bake {})", s.name, s.devices.as_str(), s.bake.as_str()));
    let slos = default_slos().into_iter().map(|slo| format!("{} {}", slo.name, slo.threshold.as_str()));
    let lists = [("stages", stages.collect::<Vec<_>>()), ("slos", slos.collect())];
    let mut seen = 0;
    each_spec_field(&mut |path, _, description, _| {
        for (_, list) in lists.iter().filter(|(field, _)| path == format!("Rollout.spec.{field}")) {
            let default = format!("Default: {}.", list.join(", "));
            assert!(description.contains(&default), "{path} lacks {default:?}: {description}");
            seen += 1;
        }
    });
    assert_eq!(seen, lists.len());
}
