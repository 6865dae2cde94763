//! Public keys as they are written in a trust document.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Serialize};

use crate::envelope::KeyId;

/// Not a public key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    /// Not an ed25519 key.
    #[error("{0:?} is not an ed25519 public key of 64 hexadecimal digits, or base64")]
    Ed25519(String),
    /// Not a minisign key.
    #[error("{0:?} is not a minisign public key, which is a line of 56 characters that begins with RW")]
    Minisign(String),
}

/// An ed25519 public key, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// The short name of the key.
    #[must_use]
    pub fn id(&self) -> KeyId {
        KeyId::of(&self.0)
    }

    /// The key, to verify with.
    #[must_use]
    pub fn verifying(&self) -> VerifyingKey {
        self.0
    }
}

/// The keys, to verify with.
pub(super) fn verifying(keys: &[PublicKey]) -> Vec<VerifyingKey> {
    keys.iter().map(PublicKey::verifying).collect()
}

impl From<VerifyingKey> for PublicKey {
    fn from(key: VerifyingKey) -> PublicKey {
        PublicKey(key)
    }
}

impl FromStr for PublicKey {
    type Err = PublicKeyError;
    /// Reads hexadecimal digits or base64.
    fn from_str(text: &str) -> Result<PublicKey, PublicKeyError> {
        let refuse = || PublicKeyError::Ed25519(text.chars().take(80).collect());
        let bytes = hex::decode(text).ok().or_else(|| STANDARD.decode(text).ok()).ok_or_else(refuse)?;
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| refuse())?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| refuse())?;
        // A weak key would have signed everything.
        if key.is_weak() { Err(refuse()) } else { Ok(PublicKey(key)) }
    }
}

impl TryFrom<String> for PublicKey {
    type Error = PublicKeyError;
    fn try_from(text: String) -> Result<PublicKey, PublicKeyError> {
        text.parse()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> String {
        key.to_string()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A minisign public key: the second line of its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ArtifactKey(String);

impl ArtifactKey {
    /// Reads the key's text, or a file of minisign, which has a comment in its first line.
    ///
    /// # Errors
    /// When it is neither.
    pub fn of_file(text: &str) -> Result<ArtifactKey, PublicKeyError> {
        let mut lines = text.trim().lines();
        let first = lines.next().unwrap_or_default();
        lines.next().unwrap_or(first).trim().parse()
    }

    /// The key as minisign writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The ed25519 key in it, which signs in-toto statements too; `None`: it is no key that can have signed anything.
    #[must_use]
    pub fn verifying(&self) -> Option<VerifyingKey> {
        let bytes = STANDARD.decode(&self.0).ok()?;
        let key = VerifyingKey::from_bytes(bytes.get(10..42)?.try_into().ok()?).ok()?;
        (!key.is_weak()).then_some(key)
    }

    /// The key's number as minisign prints it: 16 hexadecimal digits.
    #[must_use]
    pub fn number(&self) -> String {
        let bytes = STANDARD.decode(&self.0).expect("an artifact key was decoded when it was read");
        bytes[2..10].iter().rev().map(|byte| format!("{byte:02X}")).collect()
    }
}

impl FromStr for ArtifactKey {
    type Err = PublicKeyError;
    fn from_str(text: &str) -> Result<ArtifactKey, PublicKeyError> {
        // Two letters for the algorithm, eight bytes for the key's number, 32 for the key.
        let bytes = STANDARD.decode(text).ok().filter(|bytes| bytes.len() == 42 && bytes.starts_with(b"Ed"));
        match bytes {
            Some(_) => Ok(ArtifactKey(text.to_owned())),
            None => Err(PublicKeyError::Minisign(text.chars().take(80).collect())),
        }
    }
}

impl TryFrom<String> for ArtifactKey {
    type Error = PublicKeyError;
    fn try_from(text: String) -> Result<ArtifactKey, PublicKeyError> {
        text.parse()
    }
}

impl From<ArtifactKey> for String {
    fn from(key: ArtifactKey) -> String {
        key.0
    }
}
