//! Trust files, drafts and root files: read with a bound, made new or replaced as a whole.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use modelfleet_protocol::trust::{FILE_BYTES_MAX, Roots, TrustDocument, TrustError, follow, lines};

use super::draft::{Draft, DraftError};

/// Most bytes of a root file.
const ROOT_FILE_BYTES_MAX: u64 = 4_096;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustFileError {
    /// It cannot be read.
    #[error("read the {what} {path}")]
    Read {
        /// What it should be.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It has too many bytes.
    #[error("the {what} {path} has more than {most} bytes; is it the right file?")]
    Long {
        /// What it should be.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Most bytes.
        most: u64,
    },
    /// It is there.
    #[error("{0} exists already and is not replaced; move it away or choose another name")]
    Taken(PathBuf),
    /// It cannot be written.
    #[error("write {path}")]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not root keys.
    #[error("the root file {path} is no JSON with \"keys\" and \"threshold\"")]
    Roots {
        /// Where.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// Root keys that cannot be.
    #[error("the root file {path} cannot be used")]
    BadRoots {
        /// Where.
        path: PathBuf,
        /// Why.
        source: TrustError,
    },
    /// The trust file cannot be followed to its end.
    #[error("the trust file {path} cannot be followed")]
    Follow {
        /// Where.
        path: PathBuf,
        /// Why.
        source: TrustError,
    },
    /// A line or a draft holds no document.
    #[error("read the trust document in {path}")]
    Draft {
        /// Where.
        path: PathBuf,
        /// Why.
        source: DraftError,
    },
}

fn read(path: &Path, what: &'static str, most: u64) -> Result<Vec<u8>, TrustFileError> {
    let failed = |source| TrustFileError::Read { what, path: path.to_owned(), source };
    let mut bytes = Vec::new();
    fs::File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes)).map_err(failed)?;
    match bytes.len() as u64 > most {
        true => Err(TrustFileError::Long { what, path: path.to_owned(), most }),
        false => Ok(bytes),
    }
}

/// The root keys in a root file, as devices have it.
///
/// # Errors
/// When it holds none that can be.
pub fn roots(path: &Path) -> Result<Roots, TrustFileError> {
    let bytes = read(path, "root file", ROOT_FILE_BYTES_MAX)?;
    let bad = |source| TrustFileError::Roots { path: path.to_owned(), source };
    let roots: Roots = serde_json::from_slice(&bytes).map_err(bad)?;
    roots.check().map_err(|source| TrustFileError::BadRoots { path: path.to_owned(), source })?;
    Ok(roots)
}

/// Reads a draft.
///
/// # Errors
/// When it holds no document.
pub fn draft(path: &Path) -> Result<Draft, TrustFileError> {
    let bytes = read(path, "trust document", FILE_BYTES_MAX as u64)?;
    Draft::read(&bytes).map_err(|source| TrustFileError::Draft { path: path.to_owned(), source })
}

/// A trust file: its bytes, its newest document and the envelope of that one.
pub struct TrustFile {
    /// All of it.
    pub bytes: Vec<u8>,
    /// The root keys from which it starts.
    pub anchor: Roots,
    /// The newest document, which enough root keys have signed.
    pub newest: TrustDocument,
    /// Its envelope.
    pub last: Draft,
    /// The root keys that had to sign the newest document: those of the one before it.
    pub before: Roots,
}

/// Reads a trust file and follows it from the first document to the last. `anchor`: the root keys of the devices; without them the
/// file is taken at the word of its first document.
///
/// # Errors
/// When it cannot be followed to its end.
pub fn trust_file(path: &Path, anchor: Option<Roots>) -> Result<TrustFile, TrustFileError> {
    let bytes = read(path, "trust file", FILE_BYTES_MAX as u64)?;
    let unfollowed = |source| TrustFileError::Follow { path: path.to_owned(), source };
    let unread = |source| TrustFileError::Draft { path: path.to_owned(), source };
    let all = lines(&bytes).map_err(unfollowed)?;
    let all = all.into_iter().map(Draft::read).collect::<Result<Vec<Draft>, DraftError>>().map_err(unread)?;
    let anchor = anchor.or_else(|| Some(all.first()?.document.roots.clone()));
    // `lines` has found at least one.
    let anchor = anchor.ok_or_else(|| unfollowed(TrustError::Lines(0)))?;
    let followed = follow(&anchor, None, None, &bytes).map_err(unfollowed)?;
    let mut all = all;
    let (Some(last), Some(newest)) = (all.pop(), followed) else {
        return Err(unfollowed(TrustError::Lines(0)));
    };
    if newest.version != last.document.version {
        let (found, held) = (last.document.version, newest.version);
        return Err(unfollowed(TrustError::Older { found, held }));
    }
    let before = all.last().map_or_else(|| anchor.clone(), |before| before.document.roots.clone());
    Ok(TrustFile { bytes, anchor, newest, last, before })
}

/// Refuses where something is.
///
/// # Errors
/// When there is a file.
pub fn free(path: &Path) -> Result<(), TrustFileError> {
    if path.symlink_metadata().is_ok() { Err(TrustFileError::Taken(path.to_owned())) } else { Ok(()) }
}

/// Makes a file that must not be there.
///
/// # Errors
/// When it is, or cannot be written.
pub fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), TrustFileError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => TrustFileError::Taken(path.to_owned()),
        _ => TrustFileError::Write { path: path.to_owned(), source },
    };
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let mut file = options.open(path).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)
}

/// Replaces a file as a whole, or makes it.
///
/// # Errors
/// When it cannot be written; then it is as before.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), TrustFileError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let beside = PathBuf::from(name);
    let failed = |source| TrustFileError::Write { path: path.to_owned(), source };
    // One that a crash left behind holds nothing that counts.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    write_new(&beside, bytes, 0o644)?;
    fs::rename(&beside, path).map_err(failed)
}
