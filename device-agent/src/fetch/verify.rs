//! Digest and signature of bytes on disk, checked before they are parsed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use ed25519_dalek::VerifyingKey;
use minisign_verify::{PublicKey, Signature};
use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::in_toto;
use modelfleet_protocol::model::ModelBuild;
use modelfleet_protocol::statement::{self, BareSignatures, Statement, StatementError};
use modelfleet_protocol::trust::ArtifactKey;
use sha2::{Digest as _, Sha256};
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

use super::{FetchError, disk};

/// Bytes read at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// Most signatures of a build that are looked at.
const SIGNATURES_MAX: usize = 8;

/// A digest that is being made.
pub(super) struct Hash(Sha256);

impl Hash {
    /// Of nothing yet, and the number of bytes in it.
    pub(super) fn fresh() -> (Hash, u64) {
        (Hash(Sha256::new()), 0)
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}

pub(super) fn digest(hash: Hash) -> Digest {
    Digest(hash.0.finalize().into())
}

/// Hashes what is on disk.
pub(super) async fn hash_file(path: &Path) -> Result<(Hash, u64), FetchError> {
    let (mut hash, mut bytes) = Hash::fresh();
    read_file(path, |chunk| {
        hash.update(chunk);
        bytes += chunk.len() as u64;
    })
    .await?;
    Ok((hash, bytes))
}

async fn read_file(path: &Path, mut each: impl FnMut(&[u8])) -> Result<(), FetchError> {
    let mut file = File::open(path).await.map_err(disk("open", path))?;
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut buffer).await.map_err(disk("read", path))? {
            0 => return Ok(()),
            read => each(&buffer[..read]),
        }
    }
}

/// Why the device's artifact keys cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The file could not be read.
    #[error("read artifact key {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Not a minisign public key.
    #[error("{path} is not a minisign public key")]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: minisign_verify::Error,
    },
}

/// Why no signature of a build counts on this device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// None of the device's keys signed the bytes.
    #[error("the model is not signed by a trusted key ({0} signatures)")]
    Untrusted(usize),
    /// A trusted key signed the bytes, but not as this version of this model.
    #[error(transparent)]
    Statement(#[from] StatementError),
}

/// A publisher's key, for signatures of minisign and for in-toto statements.
#[derive(Clone)]
struct PublisherKey {
    minisign: PublicKey,
    /// `None`: no statement counts.
    statements: Option<VerifyingKey>,
}

impl PublisherKey {
    fn of(key: &ArtifactKey) -> Result<PublisherKey, minisign_verify::Error> {
        Ok(PublisherKey { minisign: PublicKey::from_base64(key.as_str())?, statements: key.verifying() })
    }
}

/// Keys that may sign models (minisign). Without any, the digest in the signed plan alone decides.
/// Copies share the keys that count.
#[derive(Clone, Default)]
pub struct Keys {
    /// Those of the settings.
    configured: Vec<PublisherKey>,
    /// Those that count.
    counting: Arc<ArcSwap<Vec<PublisherKey>>>,
    bare: BareSignatures,
}

impl Keys {
    /// Reads minisign public key files. `bare`: whether signatures count that cover the bytes only.
    ///
    /// # Errors
    /// When one cannot be read or is something else.
    pub fn read(paths: &[PathBuf], bare: BareSignatures) -> Result<Keys, KeysError> {
        let read = |path: &PathBuf| {
            let text = crate::config::read_file(path)
                .map_err(|source| KeysError::Read { path: path.clone(), source })?;
            let form = |source| KeysError::Form { path: path.clone(), source };
            let key =
                ArtifactKey::of_file(&text).map_err(|_| form(minisign_verify::Error::InvalidEncoding))?;
            PublisherKey::of(&key).map_err(form)
        };
        let configured = crate::config::apart(paths).iter().map(read).collect::<Result<Vec<_>, _>>()?;
        Ok(Keys { counting: Arc::new(ArcSwap::from_pointee(configured.clone())), configured, bare })
    }

    /// Keys of a trust document count in place of those of the settings; if it names none, those of the settings do. A build
    /// that is loaded stays loaded.
    pub fn replace_by(&self, named: &[ArtifactKey]) {
        let named: Vec<PublisherKey> = named.iter().filter_map(|key| PublisherKey::of(key).ok()).collect();
        let counting = if named.is_empty() { self.configured.clone() } else { named };
        self.counting.store(Arc::new(counting));
    }

    /// Whether no signature is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counting.load().is_empty()
    }

    /// Passes if one of the keys signed these bytes as this build, or the device asks for no signature.
    ///
    /// # Errors
    /// When no signature counts.
    pub fn check_bytes(&self, bytes: &[u8], build: &ModelBuild) -> Result<(), SignatureError> {
        let mut why = SignatureError::Untrusted(build.signatures.len());
        for signature in &decoded(build) {
            if self.counting.load().iter().any(|key| key.minisign.verify(bytes, signature, false).is_ok()) {
                match self.check_statement(signature, build) {
                    Ok(()) => return Ok(()),
                    Err(error) => why = error.into(),
                }
            }
        }
        match self.check_stated(Digest::of(bytes), build) {
            Some(Ok(())) => return Ok(()),
            Some(Err(error)) => why = error.into(),
            None => {}
        }
        if self.is_empty() { Ok(()) } else { Err(why) }
    }

    /// Passes if one of the keys signed the file as this build, or the device asks for no signature.
    ///
    /// # Errors
    /// When no signature counts, or the file cannot be read.
    pub(super) async fn check_file(&self, path: &Path, build: &ModelBuild) -> Result<(), FetchError> {
        let mut why = SignatureError::Untrusted(build.signatures.len());
        for signature in &decoded(build) {
            if self.have_signed_file(path, signature).await? {
                match self.check_statement(signature, build) {
                    Ok(()) => return Ok(()),
                    Err(error) => why = error.into(),
                }
            }
        }
        if envelopes(build).next().is_some() && !self.is_empty() {
            let (hash, _) = hash_file(path).await?;
            match self.check_stated(digest(hash), build) {
                Some(Ok(())) => return Ok(()),
                Some(Err(error)) => why = error.into(),
                None => {}
            }
        }
        if self.is_empty() { Ok(()) } else { Err(why.into()) }
    }

    /// Whether an in-toto statement that one of the keys has signed is about this build of these bytes; `None`: no key has signed
    /// one.
    fn check_stated(&self, bytes: Digest, build: &ModelBuild) -> Option<Result<(), StatementError>> {
        // A statement covers the bytes by their digest alone.
        if bytes != build.digest {
            return None;
        }
        let keys: Vec<VerifyingKey> = self.counting.load().iter().filter_map(|key| key.statements).collect();
        let wanted = Statement::of(build);
        let mut why = None;
        for statement in envelopes(build).filter_map(|text| in_toto::open(&keys, text.as_bytes()).ok()) {
            match statement.fits(&wanted) {
                Ok(()) => return Some(Ok(())),
                Err(error) => why = Some(Err(error)),
            }
        }
        why
    }

    async fn have_signed_file(&self, path: &Path, signature: &Signature) -> Result<bool, FetchError> {
        for key in self.counting.load_full().iter() {
            // Signatures of the old form, over the bytes instead of their hash, need the whole file in
            // memory and are not taken.
            let Ok(mut stream) = key.minisign.verify_stream(signature) else { continue };
            read_file(path, |chunk| stream.update(chunk)).await?;
            if stream.finalize().is_ok() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Of a signature that is good for the bytes, and so for its comment too.
    fn check_statement(&self, signature: &Signature, build: &ModelBuild) -> Result<(), StatementError> {
        statement::check(signature.trusted_comment(), &Statement::of(build), self.bare)
    }
}

/// The build's signatures that are envelopes.
fn envelopes(build: &ModelBuild) -> impl Iterator<Item = &String> {
    build.signatures.iter().take(SIGNATURES_MAX).filter(|text| in_toto::is_envelope(text))
}

fn decoded(build: &ModelBuild) -> Vec<Signature> {
    let texts = build.signatures.iter().take(SIGNATURES_MAX);
    texts.filter_map(|text| Signature::decode(text).ok()).collect()
}
