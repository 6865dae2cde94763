//! The CustomResourceDefinitions, as they are installed.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::Value;

use crate::{DeviceOrder, ModelVersion, Rollout};

/// First line of every generated file.
pub const HEADER: &str = "# generated; do not edit\n";

/// All definitions, in the order in which they are installed.
#[must_use]
pub fn all() -> Vec<CustomResourceDefinition> {
    vec![polished(ModelVersion::crd()), polished(Rollout::crd()), polished(DeviceOrder::crd())]
}

/// Name and text of the file of a definition.
///
/// # Errors
/// When the definition cannot be written as YAML, which does not happen with the ones from [`all`].
pub fn manifest(definition: &CustomResourceDefinition) -> Result<(String, String), serde_yaml::Error> {
    let name = definition.metadata.name.clone().unwrap_or_default();
    let mut value = serde_yaml::to_value(definition)?;
    with_whole_numbers(&mut value);
    Ok((format!("{name}.yaml"), format!("{HEADER}{}", serde_yaml::to_string(&value)?)))
}

/// The derived definition without what the API server would reject or what bloats the file.
fn polished(definition: CustomResourceDefinition) -> CustomResourceDefinition {
    let Ok(mut value) = serde_json::to_value(&definition) else { return definition };
    polish(&mut value);
    serde_json::from_value(value).unwrap_or(definition)
}

fn polish(value: &mut Value) {
    match value {
        Value::Object(map) => {
            // A null for a field that is not nullable is dropped before rules run, so `has()` tells the truth.
            map.retain(|key, entry| !(key == "nullable" && *entry == Value::Bool(true)));
            for (key, entry) in map.iter_mut() {
                match entry {
                    // Source lines are wrapped for editors; `kubectl explain` wraps for terminals.
                    Value::String(text) if key == "description" => *text = text.replace('\n', " "),
                    _ => polish(entry),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(polish),
        _ => {}
    }
}

/// The Kubernetes types hold `minimum` and `maximum` as floats; a person should read 1 and not 1.0.
fn with_whole_numbers(value: &mut serde_yaml::Value) {
    match value {
        serde_yaml::Value::Mapping(map) => map.values_mut().for_each(with_whole_numbers),
        serde_yaml::Value::Sequence(items) => items.iter_mut().for_each(with_whole_numbers),
        serde_yaml::Value::Number(number) => {
            if let Some(whole) = number.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < 1e15) {
                *number = serde_yaml::Number::from(whole as i64);
            }
        }
        _ => {}
    }
}
