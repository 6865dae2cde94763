//! The details file of a version: self-test and baseline as devices read them, where they are too large for every plan.

use bytes::Bytes;
use modelfleet_crds::ModelVersionSpec;
use modelfleet_crds::model_version::DetailsFile;
use modelfleet_protocol::details::INLINE_BYTES_MAX;
use modelfleet_protocol::ids::Digest;
use modelfleet_spec::{Problem, builds};

/// The bytes of the details file that a version needs; none: its details are small enough for the plan.
///
/// # Errors
/// Names the field that devices could not understand.
pub fn file(spec: &ModelVersionSpec) -> Result<Option<Bytes>, Problem> {
    let details = builds::details(spec)?;
    let bytes = details.to_json();
    Ok((!details.is_empty() && bytes.len() > INLINE_BYTES_MAX).then(|| bytes.into()))
}

/// What the version says of its details file. `uri`: where a file with this digest is.
#[must_use]
pub fn named(bytes: &Bytes, uri: impl Fn(&Digest) -> String) -> DetailsFile {
    let digest = Digest::of(bytes);
    let size_bytes = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
    DetailsFile { uri: uri(&digest), digest: digest.to_string(), size_bytes }
}
