//! The file that holds one password per device.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use modelfleet_agent::config::read_file;

/// Why the password file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PasswordsError {
    /// It could not be read.
    #[error("read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A line has no colon.
    #[error("{path} line {line} is not id:password")]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
}

/// Reads `id:password` lines.
///
/// # Errors
/// When the file cannot be read or has another line.
pub(crate) fn read_passwords(path: &Path) -> Result<BTreeMap<String, String>, PasswordsError> {
    let text = read_file(path).map_err(|source| PasswordsError::Read { path: path.to_owned(), source })?;
    let lines = text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty());
    let entry = |(index, line): (usize, &str)| {
        let malformed = || PasswordsError::Line { path: path.to_owned(), line: index + 1 };
        let (id, password) = line.split_once(':').ok_or_else(malformed)?;
        Ok((id.to_owned(), password.to_owned()))
    };
    lines.map(entry).collect()
}
