//! From the document that a reader holds to the newest one of a trust file, step by step.
//!
//! A trust file has one envelope on each line, the oldest first: the newest document, and before it those that changed the
//! root keys, so that a reader that was away for long finds every step.

use crate::envelope::{self, EnvelopeError, ManySigned};
use crate::ids::Namespace;

use super::{Roots, TRUST_BYTES_MAX, TRUST_TYPE, TrustDocument};

/// Most documents in a file.
pub const LINES_MAX: usize = 16;
/// Most bytes of a file; a larger one is refused unread.
pub const FILE_BYTES_MAX: usize = LINES_MAX * (TRUST_BYTES_MAX + 1);

/// Why a document is not followed.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// More bytes than a file may have.
    #[error("the trust file has {0} bytes; at most {FILE_BYTES_MAX} are allowed")]
    File(usize),
    /// More bytes than a document may have.
    #[error("the trust document has {0} bytes in its envelope; at most {TRUST_BYTES_MAX} are allowed")]
    Size(usize),
    /// More documents than a file may have, or none.
    #[error("the trust file has {0} documents; 1 to {LINES_MAX} are allowed")]
    Lines(usize),
    /// It is no envelope, or too few of the root keys in force have signed it.
    #[error("open the trust document with the root keys in force")]
    Envelope(#[from] EnvelopeError),
    /// Too few of the root keys that it brings have signed it.
    #[error("the trust document changes the root keys, and too few of the new ones have signed it")]
    NewRoots(#[source] EnvelopeError),
    /// Signed, and not the JSON of a document.
    #[error("the trust document cannot be read")]
    Json(#[source] serde_json::Error),
    /// Beyond a bound, or its parts contradict each other.
    #[error("the trust document is invalid: {0}")]
    Content(&'static str),
    /// Another fleet's.
    #[error("the trust document is for namespace {found}, not for {wanted}")]
    Scope {
        /// The fleet of the document.
        found: Namespace,
        /// The fleet of its reader.
        wanted: Namespace,
    },
    /// It does not come after the one that is held.
    #[error("the trust document has version {found}, and version {held} is in force already")]
    Older {
        /// The version of the document.
        found: u64,
        /// The version that is held.
        held: u64,
    },
    /// Two documents with one version.
    #[error("there are two trust documents of version {0}; sign the right one again with a higher version")]
    Forked(u64),
}

/// The newest document of a trust file that can be reached from what the reader holds; `None`: it holds that one already.
/// `anchor`: the root keys that count before there is a document. `namespace`: the fleet of the reader, if it is of one.
/// Floors only rise.
///
/// # Errors
/// When the file brings nothing to go on with: why its last document is not followed.
pub fn follow(
    anchor: &Roots,
    held: Option<&TrustDocument>,
    namespace: Option<&Namespace>,
    file: &[u8],
) -> Result<Option<TrustDocument>, TrustError> {
    let mut newest: Option<TrustDocument> = None;
    let mut last = Ok(());
    for line in lines(file)? {
        // A document of earlier root keys cannot be verified any more, and need not be: what matters is the last one.
        last = match next(anchor, newest.as_ref().or(held), namespace, line) {
            Ok(Some(document)) => {
                newest = Some(document);
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
    }
    if newest.is_some() { Ok(newest) } else { last.map(|()| None) }
}

/// One step: the document in this envelope, if it comes after the one that is held.
fn next(
    anchor: &Roots,
    held: Option<&TrustDocument>,
    namespace: Option<&Namespace>,
    bytes: &[u8],
) -> Result<Option<TrustDocument>, TrustError> {
    if bytes.len() > TRUST_BYTES_MAX {
        return Err(TrustError::Size(bytes.len()));
    }
    let envelope = ManySigned::read(TRUST_TYPE, bytes)?;
    let in_force = held.map_or(anchor, |held| &held.roots);
    let mut document = TrustDocument::from_json(in_force.open(&envelope)?)?;
    if let (Some(found), Some(wanted)) = (&document.namespace, namespace)
        && found != wanted
    {
        return Err(TrustError::Scope { found: found.clone(), wanted: wanted.clone() });
    }
    if !document.roots.are_same(in_force) {
        document.roots.open(&envelope).map_err(TrustError::NewRoots)?;
    }
    let Some(held) = held else { return Ok(Some(document)) };
    document.floors.raise(&held.floors);
    match document.version.cmp(&held.version) {
        std::cmp::Ordering::Greater => Ok(Some(document)),
        std::cmp::Ordering::Equal if &document == held => Ok(None),
        std::cmp::Ordering::Equal => Err(TrustError::Forked(held.version)),
        std::cmp::Ordering::Less => Err(TrustError::Older { found: document.version, held: held.version }),
    }
}

/// The envelopes of a trust file, the oldest first.
///
/// # Errors
/// When it is too large, or has no document or too many.
pub fn lines(file: &[u8]) -> Result<Vec<&[u8]>, TrustError> {
    if file.len() > FILE_BYTES_MAX {
        return Err(TrustError::File(file.len()));
    }
    let lines = file.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    let lines: Vec<&[u8]> = lines.filter(|line| !line.is_empty()).collect();
    if (1..=LINES_MAX).contains(&lines.len()) { Ok(lines) } else { Err(TrustError::Lines(lines.len())) }
}

/// A trust file with one more document. Of those before it, the first one stays and those that changed the root keys: a reader
/// needs no other ones to get here.
///
/// # Errors
/// When a document of the file cannot be read, or there are too many steps.
pub fn append(file: &[u8], envelope: &[u8]) -> Result<Vec<u8>, TrustError> {
    let mut all = if file.trim_ascii().is_empty() { Vec::new() } else { lines(file)? };
    all.push(envelope);
    let roots = |line: &[u8]| -> Result<Roots, TrustError> {
        let payload = envelope::payload_unverified(TRUST_TYPE, line)?;
        Ok(TrustDocument::from_json(&payload)?.roots)
    };
    let roots = all.iter().map(|line| roots(line)).collect::<Result<Vec<Roots>, TrustError>>()?;
    let is_step = |i: usize| i == 0 || i + 1 == all.len() || !roots[i - 1].are_same(&roots[i]);
    let kept: Vec<&[u8]> = (0..all.len()).filter(|&i| is_step(i)).map(|i| all[i]).collect();
    if kept.len() > LINES_MAX {
        return Err(TrustError::Lines(kept.len()));
    }
    let mut file = kept.join(&b'\n');
    file.push(b'\n');
    Ok(file)
}
