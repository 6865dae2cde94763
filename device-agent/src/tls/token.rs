//! A client key that lies in a token (PKCS#11): a TPM, a secure element, a card. It signs there and never leaves it, so that a
//! copy of the device's disk is no copy of the device.

mod address;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use rustls::sign::{Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};
use sha2::{Digest as _, Sha256, Sha384};

pub use address::{AddressError, TokenAddress};

/// The curves of keys that are used, as the token names them (their object identifiers in DER).
const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: [u8; 7] = [0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];

/// The salt of an RSA-PSS signature is as long as its hash.
const SALT_BYTES: std::ffi::c_ulong = 32;

/// Why a key in a token cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The address is wrong.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The file with the PIN could not be read.
    #[error("read the PIN of the token from {path}")]
    Pin {
        /// The file.
        path: std::path::PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The module or the token refused.
    #[error("{doing} the token")]
    Token {
        /// What was being done.
        doing: &'static str,
        /// Why not.
        #[source]
        source: Error,
    },
    /// There is no such token.
    #[error("there is no token {0:?}; `pkcs11-tool --list-slots` shows those that there are")]
    NoToken(String),
    /// Not exactly one key is meant.
    #[error("the address names {0} private keys of the token, and has to name one; give object= or id=")]
    Keys(usize),
    /// A key that TLS has no use for.
    #[error("the key in the token is neither RSA nor on the curve P-256 or P-384")]
    Kind,
}

fn doing(doing: &'static str) -> impl FnOnce(Error) -> TokenError {
    move |source| TokenError::Token { doing, source }
}

/// A private key in a token.
#[derive(Clone, Debug)]
pub struct TokenKey {
    /// One signature at a time.
    session: Arc<Mutex<Session>>,
    object: ObjectHandle,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    P256,
    P384,
    Rsa,
}

impl Kind {
    /// In order of preference.
    fn schemes(self) -> &'static [SignatureScheme] {
        match self {
            Kind::P256 => &[SignatureScheme::ECDSA_NISTP256_SHA256],
            Kind::P384 => &[SignatureScheme::ECDSA_NISTP384_SHA384],
            Kind::Rsa => &[SignatureScheme::RSA_PSS_SHA256, SignatureScheme::RSA_PKCS1_SHA256],
        }
    }
}

impl TokenKey {
    /// Opens the token and finds the key that a `pkcs11:` address names.
    ///
    /// # Errors
    /// When the address is wrong, the token refuses, or it has not exactly one such key.
    pub fn open(address: &str) -> Result<TokenKey, TokenError> {
        let address: TokenAddress = address.parse()?;
        let module = module(&address.module)?;
        let session = session(&module, &address)?;
        let mut wanted = vec![Attribute::Class(ObjectClass::PRIVATE_KEY)];
        wanted.extend(address.object.map(|label| Attribute::Label(label.into_bytes())));
        wanted.extend(address.id.map(Attribute::Id));
        let found = session.find_objects(&wanted).map_err(doing("find the key in"))?;
        let [object] = found[..] else { return Err(TokenError::Keys(found.len())) };
        let kind = kind(&session, object)?;
        Ok(TokenKey { session: Arc::new(Mutex::new(session)), object, kind })
    }
}

/// The module, initialized once in a process.
fn module(path: &Path) -> Result<Pkcs11, TokenError> {
    let module = Pkcs11::new(path).map_err(doing("open the module of"))?;
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(module),
        Err(source) => Err(doing("initialize the module of")(source)),
    }
}

fn session(module: &Pkcs11, address: &TokenAddress) -> Result<Session, TokenError> {
    let slots = module.get_slots_with_initialized_token().map_err(doing("look for"))?;
    let named = |slot: &cryptoki::slot::Slot| {
        let label = module.get_token_info(*slot).map(|info| info.label().trim_end().to_owned());
        address.token.is_none() || label.ok() == address.token
    };
    let slot = slots.into_iter().find(named);
    let slot = slot.ok_or_else(|| TokenError::NoToken(address.token.clone().unwrap_or_default()))?;
    let session = module.open_ro_session(slot).map_err(doing("open a session with"))?;
    if let Some(path) = &address.pin_file {
        let text = crate::config::read_file(path);
        let text = text.map_err(|source| TokenError::Pin { path: path.clone(), source })?;
        let pin = AuthPin::from(text.lines().next().unwrap_or_default().to_owned());
        match session.login(UserType::User, Some(&pin)) {
            // All sessions of a process are logged in together.
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {}
            Err(source) => return Err(doing("log in to")(source)),
        }
    }
    Ok(session)
}

fn kind(session: &Session, object: ObjectHandle) -> Result<Kind, TokenError> {
    let read = |kind| session.get_attributes(object, &[kind]).map_err(doing("read the kind of the key in"));
    match read(AttributeType::KeyType)?.first() {
        Some(Attribute::KeyType(KeyType::RSA)) => Ok(Kind::Rsa),
        Some(Attribute::KeyType(KeyType::EC)) => match read(AttributeType::EcParams)?.first() {
            Some(Attribute::EcParams(curve)) if curve[..] == P256 => Ok(Kind::P256),
            Some(Attribute::EcParams(curve)) if curve[..] == P384 => Ok(Kind::P384),
            _ => Err(TokenError::Kind),
        },
        _ => Err(TokenError::Kind),
    }
}

impl SigningKey for TokenKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let scheme = *self.kind.schemes().iter().find(|scheme| offered.contains(scheme))?;
        Some(Box::new(TokenSigner { key: self.clone(), scheme }))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match self.kind {
            Kind::P256 | Kind::P384 => SignatureAlgorithm::ECDSA,
            Kind::Rsa => SignatureAlgorithm::RSA,
        }
    }
}

#[derive(Debug)]
struct TokenSigner {
    key: TokenKey,
    scheme: SignatureScheme,
}

impl Signer for TokenSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let session = self.key.session.lock().unwrap_or_else(PoisonError::into_inner);
        let sign = |mechanism: &Mechanism<'_>, data: &[u8]| {
            let signed = session.sign(mechanism, self.key.object, data);
            signed.map_err(|error| rustls::Error::General(format!("sign with the token: {error}")))
        };
        match self.scheme {
            SignatureScheme::ECDSA_NISTP256_SHA256 => {
                sign(&Mechanism::Ecdsa, &Sha256::digest(message)).map(|raw| der(&raw))
            }
            SignatureScheme::ECDSA_NISTP384_SHA384 => {
                sign(&Mechanism::Ecdsa, &Sha384::digest(message)).map(|raw| der(&raw))
            }
            SignatureScheme::RSA_PSS_SHA256 => {
                let (hash_alg, mgf) = (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256);
                sign(
                    &Mechanism::Sha256RsaPkcsPss(PkcsPssParams { hash_alg, mgf, s_len: SALT_BYTES.into() }),
                    message,
                )
            }
            _ => sign(&Mechanism::Sha256RsaPkcs, message),
        }
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

/// A signature as TLS has it, of one as tokens give it: two numbers of equal length, one behind the other.
fn der(raw: &[u8]) -> Vec<u8> {
    let (r, s) = raw.split_at(raw.len() / 2);
    let numbers: Vec<u8> = [r, s].into_iter().flat_map(integer).collect();
    // Of two numbers of at most 48 bytes: the length takes one byte below 128, and never more than two.
    let mut sequence = vec![0x30];
    if numbers.len() >= 128 {
        sequence.push(0x81);
    }
    sequence.push(numbers.len() as u8);
    sequence.extend(numbers);
    sequence
}

fn integer(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len().saturating_sub(1));
    let digits = &bytes[start..];
    // A first bit that is set would make it negative.
    let sign = digits.first().is_none_or(|first| first & 0x80 != 0);
    let mut out = vec![0x02, (digits.len() + usize::from(sign)) as u8];
    out.extend(sign.then_some(0));
    out.extend(digits);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_two_positive_numbers_without_leading_zeros() {
        assert_eq!(der(&[0, 1, 0x80, 2]), [0x30, 8, 2, 1, 1, 2, 3, 0, 0x80, 2]);
        assert_eq!(der(&[0, 0, 0, 0]), [0x30, 6, 2, 1, 0, 2, 1, 0]);
        let long = der(&[0xff; 128]);
        assert_eq!((&long[..3], long.len()), (&[0x30, 0x81, 134][..], 137));
    }
}
