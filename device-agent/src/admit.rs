//! From verified bytes on disk to a session that may answer: digest, signature, load, self-test.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use modelfleet_agent_core::build::Build;
use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::model::{ModelBuild, SelfTest, Values};
use modelfleet_protocol::state::{Failure, FailureCode};

use crate::engine::{Engines, LoadError, RunError, Session};
use crate::fetch::Keys;
use crate::serve::Places;
use crate::tensor::{Elements, NamedTensor, shaped};

/// Predictions of one loaded build that run at once; others wait, within their time.
const AT_ONCE_MAX: usize = 4;

/// Why a build may not answer.
#[derive(Debug, thiserror::Error)]
pub enum AdmitError {
    /// The bytes are not on the disk, or cannot be read.
    #[error("read {path}")]
    Read {
        /// Where they should be.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The bytes on the disk are not those that were verified.
    #[error("the bytes on disk hash to {0}")]
    Damaged(Digest),
    /// No trusted key signed them.
    #[error("no trusted key signed the model")]
    Unsigned,
    /// The engine does not take them.
    #[error("load the model")]
    Load(#[from] LoadError),
    /// A self-test or an output's name asks for something that the model has not.
    #[error("the model's outputs are not those of its signature: {0}")]
    Signature(String),
    /// A golden input was answered wrongly.
    #[error("self-test {index}: {reason}")]
    SelfTest {
        /// Which one, from 0.
        index: usize,
        /// What differs.
        reason: String,
    },
    /// The engine fell over a golden input.
    #[error("self-test {index}")]
    Run {
        /// Which one, from 0.
        index: usize,
        /// Why it failed.
        #[source]
        source: RunError,
    },
}

/// What a failure speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The build.
    Build,
    /// The bytes in the slot: they are gone or damaged, and can be fetched again.
    Bytes,
    /// The device's disk, which holds them and does not give them now.
    Disk,
}

impl AdmitError {
    /// What the device reports.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let code = match self {
            AdmitError::Damaged(_) => FailureCode::DigestMismatch,
            AdmitError::Read { .. } if self.is_lost() => FailureCode::DigestMismatch,
            AdmitError::Read { .. } => FailureCode::DiskUnreadable,
            AdmitError::Unsigned => FailureCode::SignatureInvalid,
            AdmitError::Load(e) => e.code(),
            AdmitError::Signature(_) => FailureCode::SignatureMismatch,
            AdmitError::SelfTest { .. } | AdmitError::Run { .. } => FailureCode::SelfTestMismatch,
        };
        Failure::new(code, crate::mqtt::chain(self))
    }

    /// What it speaks of.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self {
            AdmitError::Read { .. } if self.is_lost() => Blame::Bytes,
            AdmitError::Read { .. } => Blame::Disk,
            AdmitError::Damaged(_) => Blame::Bytes,
            _ => Blame::Build,
        }
    }

    /// Whether the bytes in the slot are gone or damaged. A disk that does not read now may read later.
    fn is_lost(&self) -> bool {
        match self {
            AdmitError::Read { source, .. } => {
                matches!(source.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::IsADirectory)
            }
            AdmitError::Damaged(_) => true,
            _ => false,
        }
    }
}

/// A build that is loaded and has passed its self-test.
pub struct Ready {
    /// What runs it.
    pub session: Box<dyn Session>,
    /// The engine's name.
    pub engine: String,
    /// For predictions that answer.
    pub places: Arc<Places>,
    /// For runs beside what answers, one at a time.
    pub beside: Arc<Places>,
}

impl Ready {
    /// A session that may answer, with all its places free.
    #[must_use]
    pub fn new(session: Box<dyn Session>, engine: String) -> Ready {
        Ready { session, engine, places: Places::of(AT_ONCE_MAX), beside: Places::of(1) }
    }
}

/// Loads builds; one that is loaded is shared by all that want the same digest.
pub struct Loader {
    engines: Engines,
    keys: Keys,
    loaded: Mutex<HashMap<Digest, Arc<Mutex<Weak<Ready>>>>>,
}

impl Loader {
    /// A loader over these engines. Bytes that none of `keys` signed are not parsed.
    #[must_use]
    pub fn new(engines: Engines, keys: Keys) -> Loader {
        Loader { engines, keys, loaded: Mutex::default() }
    }

    /// The engines.
    #[must_use]
    pub fn engines(&self) -> &Engines {
        &self.engines
    }

    /// Makes a build ready whose bytes are in `path`. Takes as long as loading and testing takes.
    ///
    /// # Errors
    /// When the bytes are not those of the build, or the model does not load or not pass.
    pub fn ready(&self, path: &Path, build: &Build) -> Result<Arc<Ready>, AdmitError> {
        let place = {
            let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
            // Digests that nobody runs any more make room.
            loaded.retain(|_, place| Arc::strong_count(place) > 1 || in_use(place));
            loaded.entry(build.digest).or_default().clone()
        };
        // Whoever comes first loads, the others wait here and share.
        let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ready) = place.upgrade() {
            return Ok(ready);
        }
        let ready = Arc::new(self.load(path, build)?);
        *place = Arc::downgrade(&ready);
        Ok(ready)
    }

    fn load(&self, path: &Path, build: &ModelBuild) -> Result<Ready, AdmitError> {
        let read = |source| AdmitError::Read { path: path.to_owned(), source };
        // Read once and judged in memory: what is parsed is what was verified.
        let bytes = std::fs::read(path).map_err(read)?;
        let found = Digest::of(&bytes);
        if found != build.digest {
            return Err(AdmitError::Damaged(found));
        }
        if !self.keys.signed(&bytes, &build.signatures) {
            return Err(AdmitError::Unsigned);
        }
        let loaded = self.engines.load(&bytes, build)?;
        for (index, test) in build.self_test.iter().enumerate() {
            self_test(&*loaded.session, build, index, test)?;
        }
        Ok(Ready::new(loaded.session, loaded.engine))
    }
}

fn in_use(place: &Arc<Mutex<Weak<Ready>>>) -> bool {
    place.try_lock().map_or(true, |ready| ready.strong_count() > 0)
}

fn self_test(
    session: &dyn Session,
    build: &ModelBuild,
    index: usize,
    test: &SelfTest,
) -> Result<(), AdmitError> {
    let input = |values: &Values| {
        let signature = build.inputs.iter().find(|t| t.name == values.name);
        let missing = || AdmitError::Signature(format!("self-test {index} has no input {:?}", values.name));
        signature.and_then(|s| shaped(s, values)).ok_or_else(missing)
    };
    let inputs: Vec<NamedTensor> = test.inputs.iter().map(input).collect::<Result<_, _>>()?;
    let outputs = session.run(&inputs).map_err(|source| AdmitError::Run { index, source })?;
    for expected in &build.outputs {
        if !outputs.iter().any(|o| o.name == expected.name) {
            return Err(AdmitError::Signature(format!("there is no output {:?}", expected.name)));
        }
    }
    let mut answer = Vec::new();
    for expected in &test.outputs {
        let output = outputs.iter().find(|o| o.name == expected.name);
        let missing = || AdmitError::Signature(format!("there is no output {:?}", expected.name));
        let data = &output.ok_or_else(missing)?.data;
        if !expected.texts.is_empty() {
            if let Some(reason) = other_texts(data, expected) {
                return Err(AdmitError::SelfTest { index, reason });
            }
            continue;
        }
        data.numbers(&mut answer);
        if let Some(reason) = difference(&answer, expected, test.tolerance) {
            return Err(AdmitError::SelfTest { index, reason });
        }
    }
    Ok(())
}

/// What differs between texts and what they must be; `None` when they are good.
fn other_texts(answer: &Elements, expected: &Values) -> Option<String> {
    let name = &expected.name;
    match answer {
        Elements::Text(texts) if *texts == expected.texts => None,
        Elements::Text(texts) => Some(format!("{name} is {texts:?}, expected {:?}", expected.texts)),
        other => Some(format!("{name} is {}, expected texts", other.datatype())),
    }
}

/// What differs between an answer and what it must be; `None` when it is good. NaN is never good.
fn difference(answer: &[f64], expected: &Values, tolerance: f64) -> Option<String> {
    let name = &expected.name;
    if answer.len() != expected.values.len() {
        return Some(format!("{name} has {} elements, expected {}", answer.len(), expected.values.len()));
    }
    let far = |(a, e): &(&f64, &f64)| {
        let error = (*a - *e).abs() / e.abs().max(1.0);
        error.is_nan() || error > tolerance
    };
    let (found, expected) = answer.iter().zip(&expected.values).find(far)?;
    Some(format!("{name} is {found}, expected {expected} within {tolerance}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bytes_that_are_gone_or_damaged_are_lost() {
        let read = |kind: std::io::ErrorKind| AdmitError::Read { path: "x".into(), source: kind.into() };
        assert_eq!(read(std::io::ErrorKind::NotFound).blame(), Blame::Bytes);
        assert_eq!(AdmitError::Damaged(Digest::of(b"x")).blame(), Blame::Bytes);
        for kind in [std::io::ErrorKind::PermissionDenied, std::io::ErrorKind::TimedOut] {
            let error = read(kind);
            assert_eq!(error.blame(), Blame::Disk, "{error:?}");
            assert_eq!(error.failure().code, FailureCode::DiskUnreadable);
        }
        assert_eq!(AdmitError::Unsigned.blame(), Blame::Build);
        assert!(
            !FailureCode::DiskUnreadable.is_hard_stop() && !FailureCode::DiskUnreadable.is_incompatibility()
        );
    }

    fn check(answer: &[f64], expected: &[f64], good: bool) {
        let expected = Values { name: "score".into(), values: expected.to_vec(), texts: Vec::new() };
        assert_eq!(difference(answer, &expected, 1e-4).is_none(), good, "{answer:?} {expected:?}");
    }

    #[test]
    fn tolerance_is_relative_above_one_and_absolute_below() {
        check(&[0.50005], &[0.5], true);
        check(&[0.5002], &[0.5], false);
        check(&[1000.05], &[1000.0], true);
        check(&[1000.2], &[1000.0], false);
        check(&[f64::NAN], &[0.5], false);
        check(&[0.5, 0.5], &[0.5], false);
        check(&[], &[], true);
    }
}
