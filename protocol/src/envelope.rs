//! Signed envelopes: DSSE v1 (Dead Simple Signing Envelope, secure-systems-lab) with ed25519 signatures.
//!
//! The payload is not looked at before a signature over it is found good.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::overrides::Override;
use crate::plan::{PLAN_BYTES_MAX, Plan, PlanError};

/// Payload type of a plan.
pub const PLAN_TYPE: &str = "application/vnd.modelfleet.plan.v1+json";
/// Payload type of an override.
pub const OVERRIDE_TYPE: &str = "application/vnd.modelfleet.override.v1+json";
/// Most bytes of an envelope: a plan in base64 and its signatures.
pub const ENVELOPE_BYTES_MAX: usize = PLAN_BYTES_MAX / 3 * 4 + 8 * 1024;
const SIGNATURES_MAX: usize = 8;
/// Most signatures of an envelope that needs several.
pub const SIGNERS_MAX: usize = 16;

#[derive(Serialize, Deserialize)]
struct Envelope {
    #[serde(rename = "payloadType")]
    payload_type: String,
    payload: String,
    signatures: Vec<SignatureEntry>,
}

#[derive(Serialize, Deserialize)]
struct SignatureEntry {
    #[serde(default)]
    keyid: String,
    sig: String,
}

/// Why an envelope is not opened.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// More bytes than an envelope may have.
    #[error("envelope has {0} bytes; at most {ENVELOPE_BYTES_MAX} are allowed")]
    Size(usize),
    /// Not a DSSE envelope.
    #[error("envelope cannot be read")]
    Form(#[source] serde_json::Error),
    /// Another kind of payload.
    #[error("envelope has the unknown payload type {0:?}")]
    Type(String),
    /// Not base64.
    #[error("payload of the envelope is not base64")]
    Base64(#[source] base64::DecodeError),
    /// More signatures than an envelope may have.
    #[error("envelope has more than {SIGNERS_MAX} signatures")]
    Signatures,
    /// No signature of a trusted key over this payload.
    #[error("no trusted key signed the envelope ({trusted} trusted, {found} signatures)")]
    Untrusted {
        /// How many keys are trusted.
        trusted: usize,
        /// How many signatures the envelope has.
        found: usize,
    },
    /// Fewer keys signed than have to.
    #[error("{found} of the {of} keys signed the envelope; {needed} have to")]
    TooFew {
        /// How many have to sign.
        needed: usize,
        /// How many may.
        of: usize,
        /// How many did.
        found: usize,
    },
    /// The signed payload is not what it should be.
    #[error("signed payload")]
    Payload(#[from] PlanError),
}

/// Short name of a key: the first eight bytes of its SHA-256, written as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId([u8; 8]);

/// Not the short name of a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a key id, which has 16 hexadecimal digits")]
pub struct KeyIdError(String);

impl KeyId {
    /// The short name of a key.
    #[must_use]
    pub fn of(key: &VerifyingKey) -> KeyId {
        let mut id = [0; 8];
        id.copy_from_slice(&Sha256::digest(key.as_bytes())[..8]);
        KeyId(id)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for KeyId {
    type Err = KeyIdError;
    fn from_str(text: &str) -> Result<KeyId, KeyIdError> {
        let mut id = [0; 8];
        match hex::decode_to_slice(text, &mut id) {
            Ok(()) => Ok(KeyId(id)),
            Err(_) => Err(KeyIdError(text.chars().take(80).collect())),
        }
    }
}

impl TryFrom<String> for KeyId {
    type Error = KeyIdError;
    fn try_from(text: String) -> Result<KeyId, KeyIdError> {
        text.parse()
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> String {
        id.to_string()
    }
}

/// What a trusted key signed, and which one it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed<T> {
    /// What was signed.
    pub what: T,
    /// The key that signed it.
    pub by: KeyId,
}

/// Pre-authentication encoding of DSSE v1: what is signed.
fn encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

/// Wraps and signs a payload.
#[must_use]
pub fn seal(key: &SigningKey, payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let signatures = vec![signature(key, payload_type, payload)];
    written(&Envelope {
        payload_type: payload_type.to_owned(),
        payload: STANDARD.encode(payload),
        signatures,
    })
}

/// Wraps a payload without a signature: [`add_signature`] adds one signature after the other.
#[must_use]
pub fn unsigned(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    written(&Envelope {
        payload_type: payload_type.to_owned(),
        payload: STANDARD.encode(payload),
        signatures: Vec::new(),
    })
}

fn signature(key: &SigningKey, payload_type: &str, payload: &[u8]) -> SignatureEntry {
    let sig = key.sign(&encoding(payload_type, payload));
    let keyid = KeyId::of(&key.verifying_key()).to_string();
    SignatureEntry { keyid, sig: STANDARD.encode(sig.to_bytes()) }
}

fn written(envelope: &Envelope) -> Vec<u8> {
    serde_json::to_vec(envelope).expect("three texts are always JSON")
}

/// Adds the signature of one more key; one that this key has made before is replaced.
///
/// # Errors
/// When it is too large, not an envelope, of another type, or has all the signatures that it may have.
pub fn add_signature(key: &SigningKey, payload_type: &str, bytes: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
    let (mut envelope, payload) = parsed(payload_type, bytes)?;
    let own = signature(key, payload_type, &payload);
    envelope.signatures.retain(|entry| entry.keyid != own.keyid);
    if envelope.signatures.len() >= SIGNERS_MAX {
        return Err(EnvelopeError::Signatures);
    }
    envelope.signatures.push(own);
    Ok(written(&envelope))
}

/// One envelope with the good signatures of these keys that copies of it have, each once. `None`: their payloads differ, or
/// there is no copy.
///
/// # Errors
/// When a copy is too large, not an envelope, or of another type, or there are more good signatures than an envelope may have.
pub fn gather_signatures(
    keys: &[VerifyingKey],
    payload_type: &str,
    copies: &[&[u8]],
) -> Result<Option<Vec<u8>>, EnvelopeError> {
    let mut gathered: Option<(Vec<u8>, Vec<SignatureEntry>)> = None;
    for copy in copies {
        let (envelope, payload) = parsed(payload_type, copy)?;
        let signed = encoding(payload_type, &payload);
        let (first, entries) = gathered.get_or_insert_with(|| (payload.clone(), Vec::new()));
        if *first != payload {
            return Ok(None);
        }
        let is_good = |entry: &SignatureEntry| {
            let raw = STANDARD.decode(&entry.sig).ok().and_then(|raw| Signature::from_slice(&raw).ok());
            let key = keys.iter().find(|key| KeyId::of(key).to_string() == entry.keyid);
            key.zip(raw).is_some_and(|(key, sig)| key.verify_strict(&signed, &sig).is_ok())
        };
        for entry in envelope.signatures.into_iter().filter(is_good) {
            if entries.iter().all(|known| known.keyid != entry.keyid) {
                entries.push(entry);
            }
        }
    }
    let Some((payload, signatures)) = gathered else { return Ok(None) };
    if signatures.len() > SIGNERS_MAX {
        return Err(EnvelopeError::Signatures);
    }
    let payload = STANDARD.encode(payload);
    Ok(Some(written(&Envelope { payload_type: payload_type.to_owned(), payload, signatures })))
}

/// The envelope, and its payload, which no signature vouches for yet.
fn parsed(payload_type: &str, bytes: &[u8]) -> Result<(Envelope, Vec<u8>), EnvelopeError> {
    if bytes.len() > ENVELOPE_BYTES_MAX {
        return Err(EnvelopeError::Size(bytes.len()));
    }
    let envelope: Envelope = serde_json::from_slice(bytes).map_err(EnvelopeError::Form)?;
    if envelope.payload_type != payload_type {
        return Err(EnvelopeError::Type(envelope.payload_type.chars().take(80).collect()));
    }
    let payload = STANDARD.decode(&envelope.payload).map_err(EnvelopeError::Base64)?;
    Ok((envelope, payload))
}

/// An envelope that several keys sign. Its payload is handed out to those who name the keys that have to have signed it.
pub struct ManySigned {
    payload: Vec<u8>,
    signed: Vec<u8>,
    signatures: Vec<(String, Signature)>,
}

impl ManySigned {
    /// Reads the envelope, and nothing of its payload.
    ///
    /// # Errors
    /// When it is too large, not an envelope, of another type, or has too many signatures.
    pub fn read(payload_type: &str, bytes: &[u8]) -> Result<ManySigned, EnvelopeError> {
        let (envelope, payload) = parsed(payload_type, bytes)?;
        if envelope.signatures.len() > SIGNERS_MAX {
            return Err(EnvelopeError::Signatures);
        }
        let read = |entry: SignatureEntry| {
            let raw = STANDARD.decode(&entry.sig).ok()?;
            Some((entry.keyid, Signature::from_slice(&raw).ok()?))
        };
        let signatures = envelope.signatures.into_iter().filter_map(read).collect();
        Ok(ManySigned { signed: encoding(payload_type, &payload), payload, signatures })
    }

    /// Which of these keys have signed, each once. A signature is tried with the key that it names and with no other.
    #[must_use]
    pub fn signers(&self, keys: &[VerifyingKey]) -> BTreeSet<KeyId> {
        let has_signed = |key: &VerifyingKey| {
            let id = KeyId::of(key).to_string();
            let mut own = self.signatures.iter().filter(|(name, _)| *name == id);
            own.next().is_some_and(|(_, sig)| key.verify_strict(&self.signed, sig).is_ok())
        };
        keys.iter().filter(|key| has_signed(key)).map(KeyId::of).collect()
    }

    /// The payload, if at least `threshold` of these keys have signed it.
    ///
    /// # Errors
    /// When fewer have, or the threshold is 0.
    pub fn payload(&self, keys: &[VerifyingKey], threshold: usize) -> Result<&[u8], EnvelopeError> {
        let found = self.signers(keys).len();
        if threshold > 0 && found >= threshold {
            Ok(&self.payload)
        } else {
            Err(EnvelopeError::TooFew { needed: threshold.max(1), of: keys.len(), found })
        }
    }
}

/// Returns the payload of an envelope that one of the trusted keys signed.
///
/// # Errors
/// When it is too large, not an envelope, of another type, or not signed by a trusted key.
pub fn open(trusted: &[VerifyingKey], payload_type: &str, bytes: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
    open_signed(trusted, payload_type, bytes).map(|signed| signed.what)
}

fn open_signed(
    trusted: &[VerifyingKey],
    payload_type: &str,
    bytes: &[u8],
) -> Result<Signed<Vec<u8>>, EnvelopeError> {
    let (envelope, payload) = parsed(payload_type, bytes)?;
    let signed = encoding(payload_type, &payload);
    let signer = |entry: &SignatureEntry| {
        let raw = STANDARD.decode(&entry.sig).ok()?;
        let sig = Signature::from_slice(&raw).ok()?;
        trusted.iter().find(|key| key.verify_strict(&signed, &sig).is_ok())
    };
    match envelope.signatures.iter().take(SIGNATURES_MAX).find_map(signer) {
        Some(key) => Ok(Signed { what: payload, by: KeyId::of(key) }),
        None => {
            let (trusted, found) = (trusted.len(), envelope.signatures.len());
            Err(EnvelopeError::Untrusted { trusted, found })
        }
    }
}

/// The payload of an envelope whose signatures are not looked at: for what its holder shows and need not believe.
///
/// # Errors
/// When it is too large, not an envelope, or of another type.
pub fn payload_unverified(payload_type: &str, bytes: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
    parsed(payload_type, bytes).map(|(_, payload)| payload)
}

/// Opens an envelope and reads the plan in it.
///
/// # Errors
/// As [`open`] and [`Plan::from_json`].
pub fn open_plan(trusted: &[VerifyingKey], bytes: &[u8]) -> Result<Plan, EnvelopeError> {
    open_signed_plan(trusted, bytes).map(|signed| signed.what)
}

/// The same, with the key that signed it.
///
/// # Errors
/// As [`open`] and [`Plan::from_json`].
pub fn open_signed_plan(trusted: &[VerifyingKey], bytes: &[u8]) -> Result<Signed<Plan>, EnvelopeError> {
    let Signed { what, by } = open_signed(trusted, PLAN_TYPE, bytes)?;
    Ok(Signed { what: Plan::from_json(&what)?, by })
}

/// Opens an envelope and reads the override in it.
///
/// # Errors
/// As [`open`], and when it is not an override of at most 16 models with an order that can be.
pub fn open_override(trusted: &[VerifyingKey], bytes: &[u8]) -> Result<Override, EnvelopeError> {
    open_signed_override(trusted, bytes).map(|signed| signed.what)
}

/// The same, with the key that signed it.
///
/// # Errors
/// As [`open_override`].
pub fn open_signed_override(
    trusted: &[VerifyingKey],
    bytes: &[u8],
) -> Result<Signed<Override>, EnvelopeError> {
    let Signed { what: payload, by } = open_signed(trusted, OVERRIDE_TYPE, bytes)?;
    let order: Override = serde_json::from_slice(&payload).map_err(PlanError::Json)?;
    if order.models.len() > 16 {
        return Err(PlanError::Content("an override of too many models").into());
    }
    if !order.order.is_bounded() {
        return Err(PlanError::Content("its epoch or its revision is too high").into());
    }
    Ok(Signed { what: order, by })
}
