//! The key that signs plans: an ed25519 seed in a file, as 64 hexadecimal digits or base64.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{SigningKey, VerifyingKey};

/// Why a key cannot be used or made. No variant carries anything of the key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("read key file {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The file does not hold a seed.
    #[error("key file {path} must hold 32 bytes as 64 hexadecimal digits or as base64")]
    Form {
        /// Which file.
        path: PathBuf,
    },
    /// The file cannot be written; an existing one is never overwritten.
    #[error("write key file {path}")]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// Reads a signing key.
///
/// # Errors
/// When the file cannot be read or holds no seed.
pub fn read(path: &Path) -> Result<SigningKey, KeyError> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|source| KeyError::Read { path: path.to_owned(), source })?;
    let text = text.trim();
    let bytes = hex::decode(text).ok().or_else(|| STANDARD.decode(text).ok());
    let seed: Option<[u8; 32]> = bytes.and_then(|bytes| bytes.try_into().ok());
    seed.map(|seed| SigningKey::from_bytes(&seed)).ok_or_else(|| KeyError::Form { path: path.to_owned() })
}

/// Reads a public key: the text itself, as hexadecimal digits or base64, or a file that holds it.
///
/// # Errors
/// When it is neither a key nor a file with one.
pub fn public(text: &str) -> Result<VerifyingKey, KeyError> {
    if let Some(key) = public_from(text) {
        return Ok(key);
    }
    let path = Path::new(text);
    let held = std::fs::read_to_string(path);
    let held = held.map_err(|source| KeyError::Read { path: path.to_owned(), source })?;
    public_from(&held).ok_or_else(|| KeyError::Form { path: path.to_owned() })
}

fn public_from(text: &str) -> Option<VerifyingKey> {
    let text = text.trim();
    let bytes = hex::decode(text).ok().or_else(|| STANDARD.decode(text).ok())?;
    VerifyingKey::from_bytes(&bytes.try_into().ok()?).ok()
}

/// Makes a key: the seed goes to `path` (readable by its owner only), the public key to `path` with `.pub` added.
/// Returns the public key in hexadecimal, as devices are given it.
///
/// # Errors
/// When a file is there already or cannot be written.
pub fn generate(path: &Path) -> Result<String, KeyError> {
    let seed: [u8; 32] = rand::random();
    let public = hex::encode(SigningKey::from_bytes(&seed).verifying_key().to_bytes());
    write(path, 0o600, &hex::encode(seed))?;
    let mut public_path = path.as_os_str().to_owned();
    public_path.push(".pub");
    write(Path::new(&public_path), 0o644, &public)?;
    Ok(public)
}

fn write(path: &Path, mode: u32, text: &str) -> Result<(), KeyError> {
    let refuse = |source| KeyError::Write { path: path.to_owned(), source };
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(mode).open(path).map_err(refuse)?;
    writeln!(file, "{text}").map_err(refuse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_key_reads_back_and_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plan.key");
        let public = generate(&path).unwrap();
        assert_eq!(hex::encode(read(&path).unwrap().verifying_key().to_bytes()), public);
        let file = dir.path().join("plan.key.pub").display().to_string();
        for text in [&public, &file] {
            assert_eq!(super::public(text).unwrap(), read(&path).unwrap().verifying_key());
        }
        assert!(matches!(super::public("no such file"), Err(KeyError::Read { .. })));
        assert!(matches!(generate(&path), Err(KeyError::Write { .. })));
        std::fs::write(&path, "too short").unwrap();
        assert!(matches!(read(&path), Err(KeyError::Form { .. })));
    }
}
