//! Every field of every kind, with its schema.

use modelfleet_crds::definitions;
use serde_json::Value;

/// Calls `visit` with the path and the schema of every field of every kind.
pub fn each_field(visit: &mut dyn FnMut(&str, &Value)) {
    for definition in definitions::all() {
        let definition = serde_json::to_value(definition).unwrap();
        let kind = definition["spec"]["names"]["kind"].as_str().unwrap().to_owned();
        walk(&kind, &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"], visit);
    }
}

fn walk(path: &str, schema: &Value, visit: &mut dyn FnMut(&str, &Value)) {
    visit(path, schema);
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        walk(&format!("{path}.{name}"), field, visit);
    }
    if schema["items"].is_object() {
        walk(&format!("{path}[]"), &schema["items"], visit);
    }
    if schema["additionalProperties"].is_object() {
        walk(&format!("{path}{{}}"), &schema["additionalProperties"], visit);
    }
}
