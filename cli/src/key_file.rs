//! Ed25519 keys in files: a seed as 64 hexadecimal digits or base64, and beside it the public key with `.pub` added to the name,
//! as `modelfleet-controller keygen` makes them.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::SigningKey;
use modelfleet_protocol::trust::PublicKey;

/// Most bytes of a key file.
const KEY_BYTES_MAX: u64 = 4_096;

/// Why a key cannot be used. No variant carries anything of a secret key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be read.
    #[error("read the {what} {path}")]
    Read {
        /// Which key.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not a seed.
    #[error(
        "{0} does not hold an ed25519 seed as 64 hexadecimal digits or base64; make one with: modelfleet-controller keygen"
    )]
    NotASeed(PathBuf),
    /// Not a public key.
    #[error("{0} does not hold a public key as 64 hexadecimal digits or base64")]
    NotPublic(PathBuf),
    /// Not a minisign key.
    #[error("{0} holds no minisign public key, which is a line of 56 characters that begins with RW")]
    NotMinisign(PathBuf),
    /// The secret half of a pair was given where its public half is wanted.
    #[error("{0} is a secret key, and its public key is wanted: give {0}.pub")]
    Secret(PathBuf),
}

/// The text of a key file, of at most 4 KiB.
fn text(path: &Path, what: &'static str) -> Result<String, KeyFileError> {
    let failed = |source| KeyFileError::Read { what, path: path.to_owned(), source };
    let mut text = String::new();
    fs::File::open(path).and_then(|f| f.take(KEY_BYTES_MAX).read_to_string(&mut text)).map_err(failed)?;
    Ok(text)
}

/// Reads a secret key. `what` names it in errors.
///
/// # Errors
/// When the file cannot be read or holds no seed.
pub fn signing_key(path: &Path, what: &'static str) -> Result<SigningKey, KeyFileError> {
    let text = text(path, what)?;
    let text = text.trim();
    let bytes = hex::decode(text).ok().or_else(|| STANDARD.decode(text).ok());
    let seed: Option<[u8; 32]> = bytes.and_then(|bytes| bytes.try_into().ok());
    seed.map(|seed| SigningKey::from_bytes(&seed)).ok_or_else(|| KeyFileError::NotASeed(path.to_owned()))
}

/// The name of the file with the public key of the secret one at `path`.
#[must_use]
pub fn public_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    PathBuf::from(name)
}

/// Reads a public key: the text itself, or a file that holds it.
///
/// # Errors
/// When it is neither, or a file with the secret key, which lies beside its public key.
pub fn public_key(given: &str, what: &'static str) -> Result<PublicKey, KeyFileError> {
    if let Ok(key) = given.trim().parse() {
        return Ok(key);
    }
    let path = Path::new(given);
    // Half of all seeds are valid public keys as well.
    if public_path(path).exists() {
        return Err(KeyFileError::Secret(path.to_owned()));
    }
    text(path, what)?.trim().parse().map_err(|_| KeyFileError::NotPublic(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_key_is_never_taken_for_a_public_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan.key");
        // A seed that is a point of the curve, too.
        let seed = (0..=255_u8).map(|n| [n; 32]).find(|seed| hex::encode(seed).parse::<PublicKey>().is_ok());
        let seed = seed.unwrap();
        fs::write(&path, hex::encode(seed) + "\n").unwrap();
        let key = signing_key(&path, "key").unwrap();
        let public = PublicKey::from(key.verifying_key());
        fs::write(public_path(&path), format!("{public}\n")).unwrap();
        let name = path.display().to_string();
        assert!(matches!(public_key(&name, "key"), Err(KeyFileError::Secret(_))));
        assert_eq!(public_key(&format!("{name}.pub"), "key").unwrap(), public);
        assert_eq!(public_key(&public.to_string(), "key").unwrap(), public);
        assert!(matches!(public_key("no such file", "key"), Err(KeyFileError::Read { .. })));
        fs::write(&path, "too short").unwrap();
        assert!(matches!(signing_key(&path, "key"), Err(KeyFileError::NotASeed(_))));
    }
}
