//! A Rollout from a file, checked as the API server would and with its defaults filled in.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use modelfleet_crds::Rollout;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::schema::schemas;

/// Most bytes of a file.
const BYTES_MAX: u64 = 4 << 20;
/// Most objects of a file.
const OBJECTS_MAX: usize = 256;
const KIND: &str = "Rollout";

/// Why there is nothing to work with.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("read {path}")]
    Read {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is too long.
    #[error("{path} has more than {BYTES_MAX} bytes or {OBJECTS_MAX} objects")]
    Long {
        /// Where.
        path: PathBuf,
    },
    /// It is not YAML of the right shape.
    #[error("read {path} as YAML")]
    Yaml {
        /// Where.
        path: PathBuf,
        /// Why.
        source: serde_yaml::Error,
    },
    /// It does not hold one Rollout.
    #[error("{path} holds {found} Rollouts; exactly one is needed")]
    Count {
        /// Where.
        path: PathBuf,
        /// How many.
        found: usize,
    },
    /// The API server would refuse it.
    #[error("{path}: {field} {message}")]
    Refused {
        /// Where.
        path: PathBuf,
        /// The field.
        field: String,
        /// What is wrong with it.
        message: String,
    },
}

/// The Rollout of a file; other objects in it are passed over.
///
/// # Errors
/// [`FileError`].
pub fn rollout(path: &Path) -> Result<Rollout, FileError> {
    let text = text_of(path)?;
    let yaml = |source| FileError::Yaml { path: path.to_owned(), source };
    let mut found = Vec::new();
    for (number, document) in serde_yaml::Deserializer::from_str(&text).enumerate() {
        if number == OBJECTS_MAX {
            return Err(FileError::Long { path: path.to_owned() });
        }
        let object = Value::deserialize(document).map_err(yaml)?;
        if object.get("kind").and_then(Value::as_str) == Some(KIND) {
            found.push(object);
        }
    }
    let [object] = &found[..] else {
        return Err(FileError::Count { path: path.to_owned(), found: found.len() });
    };
    let refused = |field: &str, message: String| FileError::Refused {
        path: path.to_owned(),
        field: field.to_owned(),
        message,
    };
    let schemas = schemas();
    let schema = schemas.get(KIND).ok_or_else(|| refused("kind", "has no schema".to_owned()))?;
    if let Some(problem) = schema.problems(object).first() {
        return Err(refused(&problem.field, problem.message.clone()));
    }
    serde_json::from_value(schema.filled(object)).map_err(|error| refused("spec", error.to_string()))
}

/// A file of one YAML document.
///
/// # Errors
/// [`FileError`].
pub fn document<T: DeserializeOwned>(path: &Path) -> Result<T, FileError> {
    let text = text_of(path)?;
    serde_yaml::from_str(&text).map_err(|source| FileError::Yaml { path: path.to_owned(), source })
}

fn text_of(path: &Path) -> Result<String, FileError> {
    let failed = |source| FileError::Read { path: path.to_owned(), source };
    let mut text = String::new();
    let source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(failed)?)
    };
    source.take(BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > BYTES_MAX { Err(FileError::Long { path: path.to_owned() }) } else { Ok(text) }
}
