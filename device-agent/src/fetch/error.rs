//! Why a download has not brought its bytes, and what that means for another try.

use std::path::PathBuf;
use std::time::Duration;

use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::state::FailureCode;

use crate::http::HttpError;

/// Why the bytes are not there.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address is of no kind that is fetched.
    #[error("{uri:?} is not an address that can be fetched")]
    Address {
        /// The address without what may be secret in it, at most its first characters.
        uri: String,
    },
    /// The request was not answered.
    #[error("fetch the model")]
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
    #[error("{host} answered with a web page")]
    WebPage {
        /// Who answered.
        host: String,
    },
    /// The bytes stopped coming.
    #[error("no bytes for {} s after {bytes} bytes", after.as_secs())]
    Stalled {
        /// How long nothing came.
        after: Duration,
        /// Bytes on disk.
        bytes: u64,
    },
    /// It took too long as a whole.
    #[error("not done after {} s, {bytes} bytes are there", after.as_secs())]
    TooSlow {
        /// How long it had.
        after: Duration,
        /// Bytes on disk.
        bytes: u64,
    },
    /// The connection broke.
    #[error("read the model after {bytes} bytes")]
    Cut {
        /// Bytes on disk.
        bytes: u64,
        /// Why it broke.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The disk has not enough room.
    #[error("{needed} bytes are needed, {free} are free")]
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
    #[error("a model of {0} bytes is not fetched")]
    Size(u64),
    /// The bytes are not those that the plan names.
    #[error("expected {expected} and {size} bytes, found {found} and {bytes} bytes")]
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
    #[error("resumed bytes do not fit together")]
    ResumedMismatch,
    /// None of the device's keys signed the bytes.
    #[error("no trusted key signed the model ({0} signatures)")]
    SignatureInvalid(usize),
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
            E::Http(HttpError::Address { .. }) => Again::Never,
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
    /// In hours, or with another address: somebody has to do something first.
    Later,
    /// The same will come of it.
    Never,
}
