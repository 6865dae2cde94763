//! Files of YAML or JSON that a person names on the command line: bounded, and named in every error.

mod values;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Most bytes of a file; a Kubernetes object has less.
const BYTES_MAX: u64 = 4 << 20;
/// Most objects of a file.
const OBJECTS_MAX: usize = 256;

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is not there.
    #[error("read {path}")]
    Read {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no text.
    #[error("{path} is no text; is it the right file?")]
    NoText {
        /// Where.
        path: PathBuf,
    },
    /// It is too long.
    #[error("{path} has more than {} MiB; split it", BYTES_MAX >> 20)]
    Long {
        /// Where.
        path: PathBuf,
    },
    /// Its text cannot be used.
    #[error("read {path} as YAML")]
    Text {
        /// Where.
        path: PathBuf,
        /// Why.
        source: TextError,
    },
}

/// Why a text cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// It is not YAML, or not of the right shape.
    #[error(transparent)]
    Yaml(#[from] serde_yaml::Error),
    /// It holds too much.
    #[error("it holds more than {OBJECTS_MAX} objects; split it")]
    Long,
}

/// The text of a file; `-` is the standard input.
///
/// # Errors
/// When it is not there, is no text or is too long.
pub fn text(path: &Path) -> Result<String, FileError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::InvalidData => FileError::NoText { path: path.to_owned() },
        _ => FileError::Read { path: path.to_owned(), source },
    };
    let mut text = String::new();
    let source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(failed)?)
    };
    source.take(BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > BYTES_MAX { Err(FileError::Long { path: path.to_owned() }) } else { Ok(text) }
}

/// The objects of a text, in their order; empty documents are left out.
///
/// # Errors
/// When it is not YAML, or holds too much.
pub fn objects(text: &str) -> Result<Vec<Value>, TextError> {
    values::bounded(text)?;
    let mut all = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        let object = Value::deserialize(document)?;
        if object.is_null() {
            continue;
        }
        if all.len() == OBJECTS_MAX {
            return Err(TextError::Long);
        }
        all.push(object);
    }
    Ok(all)
}

/// A file of one document.
///
/// # Errors
/// When it cannot be read, or is no `T`.
pub fn document<T: DeserializeOwned>(path: &Path) -> Result<T, FileError> {
    document_of(&text(path)?).map_err(|error| error.at(path))
}

/// A text of one document.
///
/// # Errors
/// When it is no `T`, or holds too much.
pub fn document_of<T: DeserializeOwned>(text: &str) -> Result<T, TextError> {
    values::bounded(text)?;
    Ok(serde_yaml::from_str(text)?)
}

impl TextError {
    /// With the file that the text is from.
    #[must_use]
    pub fn at(self, path: &Path) -> FileError {
        FileError::Text { path: path.to_owned(), source: self }
    }
}
