//! Signatures in the format of minisign.

use std::fs;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::SigningKey;
use minisign::{PublicKey, SecretKey, SecretKeyBox};
use modelfleet_crds::model_version::{PublisherSignature, SignatureFormat};
use modelfleet_protocol::in_toto;
use modelfleet_protocol::statement::Statement;

/// Most bytes of a key or password file.
const FILE_BYTES_MAX: u64 = 4_096;

/// Why a model cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// A file cannot be read.
    #[error("read the {what} {path}")]
    Read {
        /// Key or password.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that is too long to be a key or a password.
    #[error("the {what} {path} has more than {FILE_BYTES_MAX} bytes; is it the right file?")]
    Long {
        /// Key or password.
        what: &'static str,
        /// Where.
        path: PathBuf,
    },
    /// Not a minisign secret key.
    #[error(
        "the key {path} is not a minisign secret key ({reason}); make one with: kubectl modelfleet keygen"
    )]
    NotAKey {
        /// Where.
        path: PathBuf,
        /// Why.
        reason: minisign::PError,
    },
    /// There is a password, and no terminal to ask for it.
    #[error("the key {path} has a password; give it with --key-password-file")]
    Locked {
        /// Where.
        path: PathBuf,
    },
    /// The password is wrong.
    #[error("open the key {path} with the password")]
    WrongPassword {
        /// Where.
        path: PathBuf,
        /// Why.
        source: minisign::PError,
    },
    /// The signature failed.
    #[error("sign with the key {path}")]
    Sign {
        /// Where.
        path: PathBuf,
        /// Why.
        source: minisign::PError,
    },
}

/// Which signatures are made beside the one of minisign.
#[derive(Clone, Copy, Debug, Default)]
pub struct Formats {
    /// An in-toto statement in a DSSE envelope.
    pub in_toto: bool,
}

/// Where the seed of a minisign secret key lies in its bytes: behind three algorithms, salt, two limits and the key's number.
const SEED: std::ops::Range<usize> = 62..94;

/// Signs `bytes`, with the statement of what they are as the trusted comment. It has no time, so that it says the same each time.
///
/// # Errors
/// When the key cannot be read or opened.
pub fn sign(
    bytes: &[u8],
    key: &Path,
    password: Option<&Path>,
    statement: &Statement,
    formats: Formats,
) -> Result<Vec<PublisherSignature>, SigningError> {
    let secret = open(key, password)?;
    let failed = |source| SigningError::Sign { path: key.to_owned(), source };
    let public = PublicKey::from_secret_key(&secret).map_err(failed)?;
    let comment = statement.to_string();
    let signature =
        minisign::sign(Some(&public), &secret, bytes, Some(&comment), Some("modelfleet")).map_err(failed)?;
    let key_id = key_id(public.keynum());
    let mut signatures = vec![PublisherSignature {
        key_id: key_id.clone(),
        format: SignatureFormat::Minisign,
        value: STANDARD.encode(signature.into_string()),
    }];
    if formats.in_toto {
        let bytes = secret.to_bytes();
        let seed = bytes.get(SEED).and_then(|seed| seed.try_into().ok());
        let seed: [u8; 32] = seed.expect("a secret key of minisign has its seed there");
        let envelope = in_toto::sign(&SigningKey::from_bytes(&seed), statement);
        // The names of signatures differ in one object.
        let (key_id, format) = (format!("{key_id}.dsse"), SignatureFormat::Dsse);
        signatures.push(PublisherSignature { key_id, format, value: STANDARD.encode(envelope) });
    }
    Ok(signatures)
}

/// The name of a key as minisign prints it.
#[must_use]
pub fn key_id(number: &[u8]) -> String {
    number.iter().rev().map(|byte| format!("{byte:02X}")).collect()
}

fn open(path: &Path, password: Option<&Path>) -> Result<SecretKey, SigningError> {
    let text = text_of("key", path)?;
    let not_a_key = |reason| SigningError::NotAKey { path: path.to_owned(), reason };
    let sealed = SecretKeyBox::from_string(text.trim_end()).map_err(not_a_key)?;
    if !has_password(&text) {
        return sealed.into_unencrypted_secret_key().map_err(not_a_key);
    }
    let wrong = |source| SigningError::WrongPassword { path: path.to_owned(), source };
    match password {
        Some(file) => sealed.into_secret_key(Some(password_in(file)?)).map_err(wrong),
        // Without a password the library asks the terminal.
        None if std::io::stdin().is_terminal() => sealed.into_secret_key(None).map_err(wrong),
        None => Err(SigningError::Locked { path: path.to_owned() }),
    }
}

/// The second line is base64 of: algorithm of the signature, algorithm that makes a key of the password, ...
fn has_password(text: &str) -> bool {
    let bytes = text.lines().nth(1).and_then(|line| STANDARD.decode(line.trim()).ok());
    bytes.is_some_and(|bytes| bytes.get(2..4) == Some(b"Sc"))
}

/// The password in a file: its first line.
///
/// # Errors
/// When the file cannot be read.
pub fn password_in(path: &Path) -> Result<String, SigningError> {
    Ok(text_of("password file", path)?.lines().next().unwrap_or_default().to_owned())
}

fn text_of(what: &'static str, path: &Path) -> Result<String, SigningError> {
    let failed = |source| SigningError::Read { what, path: path.to_owned(), source };
    let file = fs::File::open(path).map_err(failed)?;
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(SigningError::Long { what, path: path.to_owned() });
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use minisign::KeyPair;
    use modelfleet_protocol::ids::Digest;
    use modelfleet_protocol::trust::ArtifactKey;

    fn statement() -> Statement {
        Statement {
            model: "pump-anomaly".parse().unwrap(),
            version: "1.0.0".parse().unwrap(),
            digest: Digest::of(b"model"),
            size_bytes: Some(5),
        }
    }

    #[test]
    fn a_device_can_check_the_signature() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("minisign.key");
        let pair = KeyPair::generate_unencrypted_keypair().unwrap();
        fs::write(&path, pair.sk.to_box(None).unwrap().to_string()).unwrap();
        let signatures = sign(b"model", &path, None, &statement(), Formats { in_toto: true }).unwrap();
        let [signed, stated] = &signatures[..] else { panic!("{signatures:?}") };
        assert!(signed.value.len() <= 1_024 && signed.key_id.len() == 16);
        let key: ArtifactKey = pair.pk.to_base64().parse().unwrap();
        assert_eq!(key.number(), signed.key_id);
        let envelope = STANDARD.decode(&stated.value).unwrap();
        assert_eq!(in_toto::open(&[key.verifying().unwrap()], &envelope).unwrap(), statement());
        assert!(stated.value.len() <= 2_048 && stated.format == SignatureFormat::Dsse);
        assert_ne!(stated.key_id, signed.key_id, "a list by key id holds both");
        assert_eq!(sign(b"model", &path, None, &statement(), Formats::default()).unwrap().len(), 1);

        let text = String::from_utf8(STANDARD.decode(&signed.value).unwrap()).unwrap();
        let signature = minisign_verify::Signature::decode(&text).unwrap();
        let public = minisign_verify::PublicKey::from_base64(&pair.pk.to_base64()).unwrap();
        public.verify(b"model", &signature, false).unwrap();
        assert!(public.verify(b"other", &signature, false).is_err());
        assert_eq!(signature.trusted_comment(), statement().to_string());
    }

    #[test]
    fn what_is_no_key_is_said_without_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("other");
        fs::write(&path, "secret words\n").unwrap();
        let tried = || sign(b"model", &path, None, &statement(), Formats::default()).unwrap_err();
        let message = format!("{:?} {0}", tried());
        assert!(message.contains("keygen") && !message.contains("secret words"), "{message}");
        fs::write(&path, "x".repeat(5_000)).unwrap();
        assert!(tried().to_string().contains("right file"));
    }
}
