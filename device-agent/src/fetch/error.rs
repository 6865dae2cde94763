//! Why a download failed, and when it is tried again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use modelfleet_protocol::details::DetailsError;
use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::state::FailureCode;

use super::verify::SignatureError;
use crate::http::HttpError;

/// Why a download failed.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address is of no kind that is fetched.
    #[error("{uri:?} is not an address that can be downloaded; use https, http or file")]
    Address {
        /// The address without what may be secret in it, at most its first characters.
        uri: String,
    },
    /// The request was not answered.
    #[error("download the model")]
    Http(#[from] HttpError),
    /// The server answered with something else than the bytes.
    #[error("{host} answered {status}")]
    Status {
        /// Who answered.
        host: String,
        /// The HTTP status.
        status: u16,
    },
    /// A web page came instead of a model, as networks with a login page answer.
    #[error("{host} answered with a web page instead of the model; a network login may be needed")]
    WebPage {
        /// Who answered.
        host: String,
    },
    /// The bytes stopped coming.
    #[error("the download stalled: no data for {} s after {bytes} bytes", after.as_secs())]
    Stalled {
        /// How long nothing came.
        after: Duration,
        /// Bytes on disk.
        bytes: u64,
    },
    /// A file that does not lie where files may be taken from.
    #[error("{} may not be read as a model: {}", path.display(), allowed(folder.as_deref()))]
    Outside {
        /// The file.
        path: PathBuf,
        /// The folder below which files may lie.
        folder: Option<PathBuf>,
    },
    /// It took too long as a whole.
    #[error("the download is too slow: {bytes} bytes after {} s", after.as_secs())]
    TooSlow {
        /// How long it had.
        after: Duration,
        /// Bytes on disk.
        bytes: u64,
    },
    /// The connection broke.
    #[error("the download broke off after {bytes} bytes")]
    Cut {
        /// Bytes on disk.
        bytes: u64,
        /// Why it broke.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The disk has not enough room.
    #[error("the disk is full: {needed} bytes are needed, {free} are free")]
    DiskFull {
        /// What is needed, with what is to stay free.
        needed: u64,
        /// What is free.
        free: u64,
    },
    /// A file could not be read or written.
    #[error("{what} {path}")]
    Disk {
        /// What was being done.
        what: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The plan says a size that no device fetches.
    #[error("the plan gives the model a size of {0} bytes, which is not allowed")]
    Size(u64),
    /// The bytes are not those that the plan names.
    #[error("the digest is wrong: expected {expected} with {size} bytes, got {found} with {bytes} bytes")]
    DigestMismatch {
        /// What the plan names.
        expected: Digest,
        /// The size in the plan.
        size: u64,
        /// What the bytes hash to.
        found: Digest,
        /// How many bytes came.
        bytes: u64,
    },
    /// Old and new bytes together are not those that the plan names; it begins anew.
    #[error("the parts of the resumed download do not fit together; starting from the beginning")]
    ResumedMismatch,
    /// The file with the self-test and the reference profile cannot be had.
    #[error("download the details file of the model")]
    Details(#[source] Box<FetchError>),
    /// The details file is what the plan names, and this agent cannot read it.
    #[error("a newer agent is needed")]
    DetailsUnreadable(#[from] DetailsError),
    /// None of the device's keys signed the bytes as this build.
    #[error(transparent)]
    SignatureInvalid(#[from] SignatureError),
}

impl FetchError {
    /// Whether, and how soon, another try may help.
    #[must_use]
    pub fn again(&self) -> Again {
        use FetchError as E;
        match self {
            E::Address { .. } | E::Size(_) | E::DigestMismatch { .. } | E::SignatureInvalid(_) => {
                Again::Never
            }
            E::Details(source) => source.again(),
            E::DetailsUnreadable(_) => Again::Never,
            E::Http(HttpError::Address { .. }) => Again::Never,
            // A person has to allow it, or to give the name another address.
            E::Outside { .. } | E::Http(HttpError::Unreachable { .. }) => Again::Later,
            // Disks are emptied.
            E::DiskFull { .. } => Again::Later,
            // A store may still be filled. What it refuses takes a person: rights are mended, signed addresses
            // renewed, objects put back. Other client errors are about the question, which stays the same.
            E::Status { status, .. } if *status >= 500 || matches!(status, 404 | 408 | 425 | 429) => {
                Again::Soon
            }
            E::Status { status: 401 | 403 | 410, .. } => Again::Later,
            E::Status { .. } => Again::Never,
            E::Http(_) | E::WebPage { .. } | E::Stalled { .. } | E::TooSlow { .. } => Again::Soon,
            E::Cut { .. } | E::Disk { .. } | E::ResumedMismatch => Again::Soon,
        }
    }

    /// Whether another try may help soon.
    #[must_use]
    pub fn retryable(&self) -> bool {
        self.again() == Again::Soon
    }

    /// The code that the device reports when this is the end.
    #[must_use]
    pub fn code(&self) -> FailureCode {
        match self {
            FetchError::Details(source) => source.code(),
            FetchError::DetailsUnreadable(_) => FailureCode::FormatUnknown,
            FetchError::DigestMismatch { .. } => FailureCode::DigestMismatch,
            FetchError::SignatureInvalid(_) => FailureCode::SignatureInvalid,
            FetchError::DiskFull { .. } => FailureCode::DiskFull,
            _ => FailureCode::DownloadExhausted,
        }
    }
}

/// Whether another try may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// Soon: networks and servers come back.
    Soon,
    /// In hours, or with another address: a person has to do something first.
    Later,
    /// The same will come of it.
    Never,
}

fn allowed(folder: Option<&Path>) -> String {
    match folder {
        Some(folder) => format!("files lie below {}", folder.display()),
        None => "to take models from a folder, start the agent with --files-below FOLDER".to_owned(),
    }
}
