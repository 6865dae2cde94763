//! Digest and signature of bytes on disk, checked before they are parsed.

use std::path::{Path, PathBuf};

use minisign_verify::{PublicKey, Signature};
use modelfleet_protocol::ids::Digest;
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

/// Keys that may sign models (minisign). Without any, the digest in the signed plan alone decides.
#[derive(Clone, Default)]
pub struct Keys(Vec<PublicKey>);

impl Keys {
    /// Reads minisign public key files.
    ///
    /// # Errors
    /// When one cannot be read or is something else.
    pub fn read(paths: &[PathBuf]) -> Result<Keys, KeysError> {
        let read = |path: &PathBuf| {
            let text = crate::config::read_file(path)
                .map_err(|source| KeysError::Read { path: path.clone(), source })?;
            let key = PublicKey::decode(&text).or_else(|_| PublicKey::from_base64(text.trim()));
            key.map_err(|source| KeysError::Form { path: path.clone(), source })
        };
        crate::config::apart(paths).iter().map(read).collect::<Result<_, _>>().map(Keys)
    }

    /// Whether one of the keys signed these bytes, or the device asks for no signature.
    #[must_use]
    pub fn signed(&self, bytes: &[u8], signatures: &[String]) -> bool {
        let good = |text: &String| {
            let signature = Signature::decode(text);
            signature.is_ok_and(|s| self.0.iter().any(|key| key.verify(bytes, &s, false).is_ok()))
        };
        self.0.is_empty() || signatures.iter().take(SIGNATURES_MAX).any(good)
    }

    /// Whether one of the keys signed the file.
    ///
    /// # Errors
    /// When none did, or the file cannot be read.
    pub(super) async fn check(&self, path: &Path, signatures: &[String]) -> Result<(), FetchError> {
        if self.0.is_empty() {
            return Ok(());
        }
        for text in signatures.iter().take(SIGNATURES_MAX) {
            let Ok(signature) = Signature::decode(text) else { continue };
            for key in &self.0 {
                // Signatures of the old form, over the bytes instead of their hash, need the whole file in
                // memory and are not taken.
                let Ok(mut stream) = key.verify_stream(&signature) else { continue };
                read_file(path, |chunk| stream.update(chunk)).await?;
                if stream.finalize().is_ok() {
                    return Ok(());
                }
            }
        }
        Err(FetchError::SignatureInvalid(signatures.len()))
    }
}
