//! Statements of versions as in-toto statements in DSSE envelopes, beside those in signatures of minisign. What tools for supply
//! chains write and read: the subject is the file by its digest, the predicate says which version of which model it is.
//!
//! An envelope is signed by the ed25519 key of a publisher's minisign key. It says nothing until one of these keys is found to have
//! signed it, and it counts for one version of one model.

use std::collections::BTreeMap;

use ed25519_dalek::{SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::envelope::{self, EnvelopeError};
use crate::ids::Digest;
use crate::statement::Statement;

/// Payload type of an in-toto statement.
pub const IN_TOTO_TYPE: &str = "application/vnd.in-toto+json";
/// What the predicate says: `{"model": "pump", "version": "1.2.0", "sizeBytes": 20480}`.
pub const PREDICATE_TYPE: &str = "https://modelfleet.io/version/v1";
/// Most bytes of an envelope.
pub const ENVELOPE_BYTES_MAX: usize = 1_536;

/// The versions of in-toto statements that are read. cosign writes the older one; the fields that count are the same.
const TYPES: [&str; 2] = ["https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"];

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct InToto {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    predicate_type: String,
    predicate: Predicate,
}

#[derive(Serialize, Deserialize)]
struct Subject {
    #[serde(default)]
    name: String,
    digest: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Predicate {
    model: String,
    version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size_bytes: Option<u64>,
}

/// Why an envelope says nothing of a version.
#[derive(Debug, thiserror::Error)]
pub enum InTotoError {
    /// More bytes than such an envelope may have.
    #[error("the envelope has {0} bytes; at most {ENVELOPE_BYTES_MAX} are allowed")]
    Size(usize),
    /// No trusted key signed it, or it is none.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// A trusted key signed something that is no JSON of a statement.
    #[error("the signed statement cannot be read")]
    Json(#[source] serde_json::Error),
    /// A trusted key signed another statement.
    #[error("the signed statement cannot be used, because {0}")]
    Form(&'static str),
}

/// Whether a signature's text is such an envelope, and not one of minisign.
#[must_use]
pub fn is_envelope(text: &str) -> bool {
    text.trim_start().starts_with('{')
}

/// Signs a statement.
#[must_use]
pub fn sign(key: &SigningKey, statement: &Statement) -> Vec<u8> {
    let Statement { model, version, digest, size_bytes } = statement;
    let said = InToto {
        kind: TYPES[0].to_owned(),
        subject: vec![Subject {
            name: format!("{model}-{version}"),
            digest: BTreeMap::from([("sha256".to_owned(), digest.hex())]),
        }],
        predicate_type: PREDICATE_TYPE.to_owned(),
        predicate: Predicate {
            model: model.to_string(),
            version: version.to_string(),
            size_bytes: *size_bytes,
        },
    };
    let payload = serde_json::to_vec(&said).expect("texts and a number are always JSON");
    envelope::seal(key, IN_TOTO_TYPE, &payload)
}

/// The statement in an envelope that one of the keys has signed.
///
/// # Errors
/// When none has, or what was signed is no statement of one version.
pub fn open(trusted: &[VerifyingKey], bytes: &[u8]) -> Result<Statement, InTotoError> {
    if bytes.len() > ENVELOPE_BYTES_MAX {
        return Err(InTotoError::Size(bytes.len()));
    }
    read(&envelope::open(trusted, IN_TOTO_TYPE, bytes)?)
}

fn read(payload: &[u8]) -> Result<Statement, InTotoError> {
    let said: InToto = serde_json::from_slice(payload).map_err(InTotoError::Json)?;
    let form = InTotoError::Form;
    if !TYPES.contains(&said.kind.as_str()) {
        return Err(form("its _type is not that of an in-toto statement"));
    }
    if said.predicate_type != PREDICATE_TYPE {
        return Err(form("its predicateType is not https://modelfleet.io/version/v1"));
    }
    let [subject] = &said.subject[..] else { return Err(form("it does not have exactly one subject")) };
    let digest = subject.digest.get("sha256").ok_or(form("its subject has no sha256"))?;
    let Predicate { model, version, size_bytes } = said.predicate;
    Ok(Statement {
        model: model.parse().map_err(|_| form("predicate.model is not the name of a model"))?,
        version: version.parse().map_err(|_| form("predicate.version is not a semantic version"))?,
        digest: digest_of(digest).ok_or(form("its sha256 is not a digest"))?,
        size_bytes,
    })
}

fn digest_of(hex: &str) -> Option<Digest> {
    format!("sha256:{hex}").parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::statement::StatementError;

    fn publisher() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
    }

    fn keys() -> [VerifyingKey; 1] {
        [publisher().verifying_key()]
    }

    fn pump() -> Statement {
        Statement {
            model: "pump".parse().unwrap(),
            version: "1.2.0".parse().unwrap(),
            digest: Digest::of(b"model"),
            size_bytes: Some(5),
        }
    }

    fn said() -> Value {
        json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": "pump-1.2.0", "digest": {"sha256": Digest::of(b"model").hex()}}],
            "predicateType": PREDICATE_TYPE,
            "predicate": {"model": "pump", "version": "1.2.0", "sizeBytes": 5},
        })
    }

    fn sealed(said: &Value) -> Vec<u8> {
        envelope::seal(&publisher(), IN_TOTO_TYPE, said.to_string().as_bytes())
    }

    #[test]
    fn a_statement_reads_back_and_is_what_other_tools_write() {
        let signed = sign(&publisher(), &pump());
        assert!(is_envelope(std::str::from_utf8(&signed).unwrap()));
        assert_eq!(open(&keys(), &signed).unwrap(), pump());
        let payload = envelope::payload_unverified(IN_TOTO_TYPE, &signed).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&payload).unwrap(), said());
        let mut older = said();
        older["_type"] = "https://in-toto.io/Statement/v0.1".into();
        older["subject"][0]["digest"]["sha512"] = "00".into();
        older["predicate"]["builder"] = json!({"id": "ci"});
        assert_eq!(open(&keys(), &sealed(&older)).unwrap(), pump());
    }

    #[test]
    fn it_counts_for_its_version_and_its_key_alone() {
        let signed = sign(&publisher(), &pump());
        let statement = open(&keys(), &signed).unwrap();
        let others = [
            Statement { model: "valve".parse().unwrap(), ..pump() },
            Statement { version: "1.3.0".parse().unwrap(), ..pump() },
            Statement { digest: Digest::of(b"other"), ..pump() },
            Statement { size_bytes: Some(6), ..pump() },
        ];
        for wanted in others {
            assert!(matches!(statement.fits(&wanted), Err(StatementError::Other { .. })), "{wanted}");
        }
        let thief = SigningKey::from_bytes(&[8; 32]);
        let by_thief = sign(&thief, &pump());
        assert!(matches!(
            open(&keys(), &by_thief),
            Err(InTotoError::Envelope(EnvelopeError::Untrusted { .. }))
        ));
        // The thief's statement with the signature of the publisher, and the other way round.
        let mut mixed: Value = serde_json::from_slice(&by_thief).unwrap();
        let good: Value = serde_json::from_slice(&signed).unwrap();
        mixed["signatures"] = good["signatures"].clone();
        open(&keys(), mixed.to_string().as_bytes()).expect("the same bytes were signed");
        let other = Statement { version: "9.0.0".parse().unwrap(), ..pump() };
        let mut mixed: Value = serde_json::from_slice(&sign(&thief, &other)).unwrap();
        mixed["signatures"] = good["signatures"].clone();
        assert!(open(&keys(), mixed.to_string().as_bytes()).is_err());
    }

    #[test]
    fn what_else_a_publisher_signs_says_nothing_of_a_version() {
        let edit = |pointer: &str, value: Value| {
            let mut said = said();
            *said.pointer_mut(pointer).unwrap() = value;
            sealed(&said)
        };
        let cases = [
            edit("/_type", "https://in-toto.io/Statement/v2".into()),
            edit("/predicateType", "https://slsa.dev/provenance/v1".into()),
            edit("/subject", json!([])),
            edit("/subject", json!([said()["subject"][0], said()["subject"][0]])),
            edit("/subject/0/digest", json!({"sha512": "00"})),
            edit("/subject/0/digest/sha256", "00".into()),
            edit("/predicate/model", "Pump".into()),
            edit("/predicate/version", "1.2".into()),
            edit("/predicate/sizeBytes", json!(-5)),
            edit("/predicate", json!({})),
        ];
        for (at, envelope) in cases.iter().enumerate() {
            let error = open(&keys(), envelope).unwrap_err();
            assert!(matches!(error, InTotoError::Form(_) | InTotoError::Json(_)), "{at}: {error}");
        }
        // A plan that the same key signed is of another type, and twice the same field is no JSON of a statement.
        let plan = envelope::seal(&publisher(), envelope::PLAN_TYPE, said().to_string().as_bytes());
        assert!(matches!(open(&keys(), &plan), Err(InTotoError::Envelope(EnvelopeError::Type(_)))));
        let twice = said().to_string().replacen("\"model\":", "\"model\":\"valve\",\"model\":", 1);
        let twice = envelope::seal(&publisher(), IN_TOTO_TYPE, twice.as_bytes());
        assert!(matches!(open(&keys(), &twice), Err(InTotoError::Json(_))));
        let long = edit("/subject/0/name", "x".repeat(ENVELOPE_BYTES_MAX).into());
        assert!(matches!(open(&keys(), &long), Err(InTotoError::Size(_))));
    }
}
