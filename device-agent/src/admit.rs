//! From verified bytes on disk to a session that may answer: digest, signature, load, self-test.

mod self_test;
mod trial;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use modelfleet_agent_core::build::Build;
use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::model::ModelBuild;
use modelfleet_protocol::state::{Failure, FailureCode};

use crate::engine::{Engines, LoadError, Ports, RunError, Session};
use crate::fetch::{Keys, SignatureError};
use crate::serve::RunPermits;

/// Predictions of one loaded build that run at once. Others wait, within their time limit.
const AT_ONCE_MAX: usize = 4;

pub use self_test::Which;

/// Why a build was not admitted.
#[derive(Debug, thiserror::Error)]
pub enum AdmitError {
    /// The bytes are missing or cannot be read.
    #[error("read {path}")]
    Read {
        /// The path.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The bytes on disk are not those that were verified.
    #[error("the model file on disk is damaged: its digest is {0}")]
    Damaged(Digest),
    /// The model is not signed by a trusted key, or not as this build.
    #[error(transparent)]
    Unsigned(#[from] SignatureError),
    /// The engine cannot load the model.
    #[error("load the model")]
    Load(#[from] LoadError),
    /// A self-test or an output names something that the model does not have.
    #[error("the model does not match its signature: {0}")]
    Signature(String),
    /// A self-test got another answer than expected.
    #[error("self-test {which}: {reason}")]
    SelfTest {
        /// Which one.
        which: Which,
        /// What differs.
        reason: String,
    },
    /// The engine failed on a self-test.
    #[error("self-test {which}")]
    Run {
        /// Which one.
        which: Which,
        /// Why it failed.
        #[source]
        source: RunError,
    },
    /// The engine can load the model, but not run it.
    #[error("run the model once")]
    Trial(#[source] RunError),
}

/// What caused a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The build.
    Build,
    /// The bytes in the slot: they are missing or damaged, and can be downloaded again.
    Bytes,
    /// The device: its disk does not give the bytes now, or it cannot start a process for the model.
    Device,
}

impl AdmitError {
    /// What the device reports.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let code = match self {
            AdmitError::Damaged(_) => FailureCode::DigestMismatch,
            AdmitError::Read { .. } if self.is_lost() => FailureCode::DigestMismatch,
            AdmitError::Read { .. } => FailureCode::DiskUnreadable,
            AdmitError::Unsigned(_) => FailureCode::SignatureInvalid,
            AdmitError::Load(e) => e.code(),
            AdmitError::Signature(_) => FailureCode::SignatureMismatch,
            AdmitError::Run { source: RunError::Memory { .. }, .. } => FailureCode::MemoryShort,
            AdmitError::Run { source: RunError::Ended { .. }, .. } => FailureCode::LoadRefused,
            AdmitError::SelfTest { .. } | AdmitError::Run { .. } | AdmitError::Trial(_) => {
                FailureCode::SelfTestMismatch
            }
        };
        Failure::new(code, crate::log::chain(self))
    }

    /// What it speaks of.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self {
            AdmitError::Read { .. } if self.is_lost() => Blame::Bytes,
            AdmitError::Read { .. } | AdmitError::Load(LoadError::NotStarted { .. }) => Blame::Device,
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
    /// What it takes and gives; `None` where it is not known.
    pub ports: Option<Ports>,
    /// For predictions that answer.
    pub permits: Arc<RunPermits>,
    /// For runs beside what answers, one at a time.
    pub shadow_permits: Arc<RunPermits>,
    /// Requests that it has answered, and those whose values it would not answer.
    answered: AtomicU64,
    refused: AtomicU64,
}

impl Ready {
    /// A session that may answer, with all its places free.
    #[must_use]
    pub fn new(session: Box<dyn Session>, engine: String, ports: Option<Ports>) -> Ready {
        Ready {
            session,
            engine,
            ports,
            permits: RunPermits::of(AT_ONCE_MAX),
            shadow_permits: RunPermits::of(1),
            answered: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// It has answered a request.
    pub fn has_answered(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether an error is the caller's. What the model does not take is; values that the engine cannot answer are as
    /// long as it answers most: a build that refuses more than it answers is not one that any other would have been like.
    pub fn is_callers(&self, error: &RunError) -> bool {
        match error {
            RunError::Input { .. } => true,
            RunError::Values { .. } | RunError::Large { .. } | RunError::Memory { .. } => {
                let refused = self.refused.fetch_add(1, Ordering::Relaxed) + 1;
                refused <= self.answered.load(Ordering::Relaxed)
            }
            RunError::Engine { .. } | RunError::Ended { .. } | RunError::Output { .. } => false,
        }
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
            // Digests that no model runs any more make room.
            loaded.retain(|_, place| Arc::strong_count(place) > 1 || in_use(place));
            loaded.entry(build.digest).or_default().clone()
        };
        // The first request loads; the others wait here and share.
        let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ready) = place.upgrade().filter(|ready| ready.session.ended().is_none()) {
            // The same bytes may have been signed as another build.
            if !self.keys.is_empty() {
                self.signed_bytes(path, build)?;
            }
            return Ok(ready);
        }
        let ready = Arc::new(self.load(path, build)?);
        *place = Arc::downgrade(&ready);
        Ok(ready)
    }

    /// The bytes of the build. Read once and judged in memory: what is parsed is what was verified.
    fn signed_bytes(&self, path: &Path, build: &ModelBuild) -> Result<Vec<u8>, AdmitError> {
        let read = |source| AdmitError::Read { path: path.to_owned(), source };
        let bytes = std::fs::read(path).map_err(read)?;
        let found = Digest::of(&bytes);
        if found != build.digest {
            return Err(AdmitError::Damaged(found));
        }
        self.keys.check_bytes(&bytes, build)?;
        Ok(bytes)
    }

    fn load(&self, path: &Path, build: &ModelBuild) -> Result<Ready, AdmitError> {
        let bytes = self.signed_bytes(path, build)?;
        let mut failed: Option<AdmitError> = None;
        let mut without = Vec::new();
        loop {
            let loaded = match self.engines.load_without(&bytes, build, &without) {
                Ok(loaded) => loaded,
                // What an engine answered says more than that there is no other one.
                Err(error) => return Err(failed.unwrap_or(error.into())),
            };
            match self_test::run(&loaded, build).and_then(|()| trial::run(&loaded, build)) {
                Ok(()) => return Ok(Ready::new(loaded.session, loaded.engine, Some(loaded.ports))),
                Err(error) if loaded.is_reference => return Err(error),
                Err(error) => {
                    let detail = crate::log::chain(&error);
                    let inexact = LoadError::Inexact { engine: loaded.engine.clone(), detail };
                    failed.get_or_insert(inexact.into());
                    without.push(loaded.engine);
                }
            }
        }
    }
}

fn in_use(place: &Arc<Mutex<Weak<Ready>>>) -> bool {
    place.try_lock().map_or(true, |ready| ready.strong_count() > 0)
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
            assert_eq!(error.blame(), Blame::Device, "{error:?}");
            assert_eq!(error.failure().code, FailureCode::DiskUnreadable);
        }
        assert_eq!(AdmitError::from(SignatureError::Untrusted(0)).blame(), Blame::Build);
        assert!(
            !FailureCode::DiskUnreadable.is_hard_stop() && !FailureCode::DiskUnreadable.is_incompatibility()
        );
    }
}
