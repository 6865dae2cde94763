//! Objects as text for programs.

use clap::ValueEnum;
use kube::Resource;
use serde::Serialize;
use serde_json::Value;

use crate::yaml_file;

/// The form of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// YAML.
    Yaml,
    /// JSON.
    Json,
    /// Kind and name.
    Name,
}

/// Why an object cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// As JSON.
    #[error("write the object as JSON")]
    Json(#[from] serde_json::Error),
    /// As YAML.
    #[error("write the object as YAML")]
    Yaml(#[from] serde_saphyr::SerializeError),
}

/// The text of an object, ready for `kubectl apply -f -`.
///
/// # Errors
/// When it has no such form, which our kinds have.
pub fn render<K: Resource<DynamicType = ()> + Serialize>(
    object: &K,
    output: Output,
) -> Result<String, ManifestError> {
    if output == Output::Name {
        let kind = K::kind(&()).to_ascii_lowercase();
        let name = object.meta().name.as_deref().unwrap_or_default();
        return Ok(format!("{kind}.{}/{name}\n", K::group(&())));
    }
    let mut value = serde_json::to_value(object)?;
    if let Some(metadata) = value.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    if let Some(fields) = value.as_object_mut()
        && fields.get("status").is_some_and(Value::is_null)
    {
        fields.remove("status");
    }
    Ok(match output {
        Output::Json => serde_json::to_string_pretty(&value)? + "\n",
        _ => yaml_file::written(&value)?,
    })
}
