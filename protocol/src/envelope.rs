//! Signed envelopes: DSSE v1 (Dead Simple Signing Envelope, secure-systems-lab) with ed25519 signatures.
//!
//! The payload is not looked at before a signature over it is found good.

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
    /// No signature of a trusted key over this payload.
    #[error("no trusted key signed the envelope ({trusted} trusted, {found} signatures)")]
    Untrusted {
        /// How many keys are trusted.
        trusted: usize,
        /// How many signatures the envelope has.
        found: usize,
    },
    /// The signed payload is not what it should be.
    #[error("signed payload")]
    Payload(#[from] PlanError),
}

/// Short name of a key: the first eight bytes of its SHA-256, in hexadecimal.
#[must_use]
pub fn key_id(key: &VerifyingKey) -> String {
    hex::encode(&Sha256::digest(key.as_bytes())[..8])
}

/// Pre-authentication encoding of DSSE v1: what is signed.
fn encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

/// Wraps and signs a payload.
#[must_use]
pub fn seal(key: &SigningKey, payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let sig = key.sign(&encoding(payload_type, payload));
    let envelope = Envelope {
        payload_type: payload_type.to_owned(),
        payload: STANDARD.encode(payload),
        signatures: vec![SignatureEntry {
            keyid: key_id(&key.verifying_key()),
            sig: STANDARD.encode(sig.to_bytes()),
        }],
    };
    serde_json::to_vec(&envelope).expect("three texts are always JSON")
}

/// Returns the payload of an envelope that one of the trusted keys signed.
///
/// # Errors
/// When it is too large, not an envelope, of another type, or not signed by a trusted key.
pub fn open(trusted: &[VerifyingKey], payload_type: &str, bytes: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
    if bytes.len() > ENVELOPE_BYTES_MAX {
        return Err(EnvelopeError::Size(bytes.len()));
    }
    let envelope: Envelope = serde_json::from_slice(bytes).map_err(EnvelopeError::Form)?;
    if envelope.payload_type != payload_type {
        return Err(EnvelopeError::Type(envelope.payload_type.chars().take(80).collect()));
    }
    let payload = STANDARD.decode(&envelope.payload).map_err(EnvelopeError::Base64)?;
    let signed = encoding(payload_type, &payload);
    let good = |entry: &SignatureEntry| {
        let Ok(raw) = STANDARD.decode(&entry.sig) else { return false };
        let Ok(sig) = Signature::from_slice(&raw) else { return false };
        trusted.iter().any(|key| key.verify_strict(&signed, &sig).is_ok())
    };
    if envelope.signatures.iter().take(SIGNATURES_MAX).any(good) {
        Ok(payload)
    } else {
        let (trusted, found) = (trusted.len(), envelope.signatures.len());
        Err(EnvelopeError::Untrusted { trusted, found })
    }
}

/// The payload of an envelope whose signatures are not looked at: for what its holder shows and need not believe.
///
/// # Errors
/// When it is too large, not an envelope, or of another type.
pub fn payload_unverified(payload_type: &str, bytes: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
    if bytes.len() > ENVELOPE_BYTES_MAX {
        return Err(EnvelopeError::Size(bytes.len()));
    }
    let envelope: Envelope = serde_json::from_slice(bytes).map_err(EnvelopeError::Form)?;
    if envelope.payload_type != payload_type {
        return Err(EnvelopeError::Type(envelope.payload_type.chars().take(80).collect()));
    }
    STANDARD.decode(&envelope.payload).map_err(EnvelopeError::Base64)
}

/// Opens an envelope and reads the plan in it.
///
/// # Errors
/// As [`open`] and [`Plan::from_json`].
pub fn open_plan(trusted: &[VerifyingKey], bytes: &[u8]) -> Result<Plan, EnvelopeError> {
    Ok(Plan::from_json(&open(trusted, PLAN_TYPE, bytes)?)?)
}

/// Opens an envelope and reads the override in it.
///
/// # Errors
/// As [`open`], and when it is not an override of at most 16 models with an order that can be.
pub fn open_override(trusted: &[VerifyingKey], bytes: &[u8]) -> Result<Override, EnvelopeError> {
    let payload = open(trusted, OVERRIDE_TYPE, bytes)?;
    let order: Override = serde_json::from_slice(&payload).map_err(PlanError::Json)?;
    if order.models.len() > 16 {
        return Err(PlanError::Content("an override of too many models").into());
    }
    if !order.order.is_bounded() {
        return Err(PlanError::Content("its epoch or its revision is too high").into());
    }
    Ok(order)
}
