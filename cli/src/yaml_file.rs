//! Files of YAML or JSON that a person names on the command line: bounded, and named in every error.

mod problem;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_saphyr::{Options, SerializeError};

pub use problem::TextProblem;

/// Most bytes of a file; a Kubernetes object has less.
const BYTES_MAX: u64 = 4 << 20;
/// Most objects of a file.
const OBJECTS_MAX: usize = 256;
/// Most values of a file. An alias stands for everything behind its anchor, so that a text of four kilobytes can stand for
/// more values than a machine has memory.
const VALUES_MAX: usize = 1 << 20;
/// Deepest nesting.
const DEPTH_MAX: usize = 64;

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
    #[error("{path} is not a text file; is it the right file?")]
    NoText {
        /// Where.
        path: PathBuf,
    },
    /// It is too long.
    #[error("{path} is larger than {} MiB; split the file", BYTES_MAX >> 20)]
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
        source: TextProblem,
    },
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
pub fn objects(text: &str) -> Result<Vec<Value>, TextProblem> {
    let all: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options())
        .map_err(|error| TextProblem::of(&error, String::new()))?;
    Ok(all.into_iter().filter(|object| !object.is_null()).collect())
}

/// A file of one document.
///
/// # Errors
/// When it cannot be read, or is no `T`.
pub fn document<T: DeserializeOwned>(path: &Path) -> Result<T, FileError> {
    let text = text(path)?;
    document_of(&text).map_err(|source| FileError::Text { path: path.to_owned(), source })
}

/// A text of one document.
///
/// # Errors
/// When it is no `T`, or holds too much.
pub fn document_of<T: DeserializeOwned>(text: &str) -> Result<T, TextProblem> {
    let mut field = String::new();
    let read = serde_saphyr::with_deserializer_from_str_with_options(text, options(), |document| {
        serde_path_to_error::deserialize(document).map_err(|error| {
            field = error.path().iter().next().map_or_else(String::new, |_| error.path().to_string());
            error.into_inner()
        })
    });
    read.map_err(|error| TextProblem::of(&error, field))
}

/// An object as YAML. What another reader could take for a number or a truth is in quotes.
///
/// # Errors
/// When the object has no such form, such as a map whose keys are maps.
pub fn written<T: Serialize>(object: &T) -> Result<String, SerializeError> {
    serde_saphyr::to_string_with_options(object, serde_saphyr::ser_options! { prefer_block_scalars: false })
}

/// Truths and octal numbers are read as kubectl reads them, so that what is checked here is what the API server gets.
fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_documents: OBJECTS_MAX,
            max_depth: DEPTH_MAX,
            max_nodes: VALUES_MAX,
            max_events: 4 * VALUES_MAX,
        },
        legacy_octal_numbers: true,
        with_snippet: false,
    }
}

#[cfg(test)]
mod tests;
