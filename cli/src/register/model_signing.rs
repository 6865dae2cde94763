//! Bundles of OpenSSF Model Signing: what the publisher of a model has signed before it comes to this fleet.
//!
//! A bundle is JSON of Sigstore with a DSSE envelope around an in-toto statement, which lists every file of the model with its
//! SHA-256. Bundles that are signed with a key are read, ECDSA on the curve P-256; those with certificates are not. A bundle
//! knows neither our model's name nor its version: `register` binds these, with a signature of its own.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use modelfleet_protocol::ids::Digest;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use serde::Deserialize;

/// Most bytes of a bundle: a model of some hundred files.
pub const BUNDLE_BYTES_MAX: u64 = 256 * 1024;
/// Most bytes of a key file.
const KEY_BYTES_MAX: u64 = 4_096;
/// Most files that a bundle may list.
const RESOURCES_MAX: usize = 1_024;
const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle";
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
const PREDICATE_TYPE: &str = "https://model_signing/signature/v1.0";
/// What stands before the point of a P-256 key in its DER (SubjectPublicKeyInfo with the point uncompressed).
const P256_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// Bytes of an uncompressed point of P-256.
const POINT_BYTES: usize = 65;

/// Why a bundle does not vouch for a file.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A file cannot be read.
    #[error("read the {what} {path}")]
    Read {
        /// Bundle or key.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that is too long to be what it should be.
    #[error("the {what} {path} has more than {most} bytes; is it the right file?")]
    Long {
        /// Bundle or key.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Most bytes.
        most: u64,
    },
    /// Not a P-256 key.
    #[error(
        "the key is not a PEM file with a P-256 public key; make one with: openssl ecparam -name prime256v1 -genkey -noout \
         -out model.key, then openssl ec -in model.key -pubout -out model.pub"
    )]
    Key,
    /// Not a bundle that is read here.
    #[error("the model signing bundle cannot be used, because {0}")]
    Form(&'static str),
    /// No JSON of a bundle.
    #[error("the model signing bundle cannot be read")]
    Json(#[source] serde_json::Error),
    /// The signature is not by this key, or not over this statement.
    #[error("the key has not signed the model signing bundle; give the publisher's own key")]
    Untrusted,
    /// The file is not one of those that were signed.
    #[error(
        "the model signing bundle does not list this file: none of its {listed} files has the digest {digest}"
    )]
    OtherFile {
        /// How many files it lists.
        listed: usize,
        /// The file's digest.
        digest: Digest,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    media_type: String,
    verification_material: Material,
    dsse_envelope: Envelope,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    public_key: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload_type: String,
    payload: String,
    signatures: Vec<SignatureEntry>,
}

#[derive(Deserialize)]
struct SignatureEntry {
    sig: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    predicate_type: String,
    predicate: Predicate,
}

#[derive(Deserialize)]
struct Subject {
    digest: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Predicate {
    resources: Vec<Resource>,
    serialization: Serialization,
}

#[derive(Deserialize)]
struct Resource {
    digest: String,
    algorithm: String,
}

#[derive(Deserialize)]
struct Serialization {
    method: String,
}

/// A publisher's key: the point of P-256 in a PEM file.
#[derive(Clone, Debug)]
pub struct PublisherKey(Vec<u8>);

impl PublisherKey {
    /// Reads the text of a PEM file.
    ///
    /// # Errors
    /// When it holds no P-256 public key.
    pub fn of_pem(text: &str) -> Result<PublisherKey, BundleError> {
        let body = text.trim().strip_prefix("-----BEGIN PUBLIC KEY-----");
        let body =
            body.and_then(|rest| rest.strip_suffix("-----END PUBLIC KEY-----")).ok_or(BundleError::Key)?;
        let base64: String = body.split_whitespace().collect();
        let der = STANDARD.decode(base64).map_err(|_| BundleError::Key)?;
        let point =
            der.strip_prefix(&P256_PREFIX).filter(|point| point.len() == POINT_BYTES && point[0] == 4);
        Ok(PublisherKey(point.ok_or(BundleError::Key)?.to_vec()))
    }
}

/// The digests of the files that a bundle lists, once this key is found to have signed it.
///
/// # Errors
/// When the key has not signed it, or it is none that is read here.
pub fn signed_digests(bundle: &[u8], key: &PublisherKey) -> Result<Vec<Digest>, BundleError> {
    let form = BundleError::Form;
    if bundle.len() as u64 > BUNDLE_BYTES_MAX {
        return Err(form("it is too long"));
    }
    let Bundle { media_type, verification_material, dsse_envelope: envelope } =
        serde_json::from_slice(bundle).map_err(BundleError::Json)?;
    if !media_type.starts_with(MEDIA_TYPE) {
        return Err(form("its mediaType is not that of a Sigstore bundle"));
    }
    if verification_material.public_key.is_none() {
        return Err(form("it is not signed with a key; sign the model with: model_signing sign key"));
    }
    if envelope.payload_type != PAYLOAD_TYPE {
        return Err(form("its envelope does not hold an in-toto statement"));
    }
    let [entry] = &envelope.signatures[..] else {
        return Err(form("it does not have exactly one signature"));
    };
    let payload = STANDARD.decode(&envelope.payload).map_err(|_| form("its payload is not base64"))?;
    let signature = STANDARD.decode(&entry.sig).map_err(|_| form("its signature is not base64"))?;
    // Pre-authentication encoding of DSSE v1: what is signed.
    let head = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len());
    let signed = [head.as_bytes(), &payload[..]].concat();
    let good = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &key.0).verify(&signed, &signature);
    good.map_err(|_| BundleError::Untrusted)?;
    listed(&serde_json::from_slice(&payload).map_err(BundleError::Json)?)
}

/// The digests that a statement lists. Its subject is the digest of them all.
fn listed(statement: &Statement) -> Result<Vec<Digest>, BundleError> {
    let form = BundleError::Form;
    let Statement { kind, subject, predicate_type, predicate } = statement;
    if kind != STATEMENT_TYPE || predicate_type != PREDICATE_TYPE {
        return Err(form("its statement is not one of OpenSSF Model Signing 1.0"));
    }
    if predicate.serialization.method != "files" {
        return Err(form("it lists parts of files; sign the model without --use_shards"));
    }
    if predicate.resources.is_empty() || predicate.resources.len() > RESOURCES_MAX {
        return Err(form("it lists no file, or more than 1024"));
    }
    let digest = |one: &Resource| {
        let digest = format!("sha256:{}", one.digest).parse::<Digest>().ok();
        digest.filter(|_| one.algorithm == "sha256").ok_or(form("it lists a file without a SHA-256 digest"))
    };
    let digests = predicate.resources.iter().map(digest).collect::<Result<Vec<_>, _>>()?;
    let all = Digest::of(&digests.iter().flat_map(|digest| digest.0).collect::<Vec<u8>>()).hex();
    let [subject] = &subject[..] else { return Err(form("it does not have exactly one subject")) };
    match subject.digest.get("sha256") == Some(&all) {
        true => Ok(digests),
        false => Err(form("its subject is not the digest of the files that it lists")),
    }
}

/// Passes if the key in a file has signed the bundle in a file, and the bundle lists this digest.
///
/// # Errors
/// Says what is wrong.
pub fn check(bundle: &Path, key: &Path, digest: Digest) -> Result<(), BundleError> {
    let text = String::from_utf8(read("key", key, KEY_BYTES_MAX)?).map_err(|_| BundleError::Key)?;
    let key = PublisherKey::of_pem(&text)?;
    let digests = signed_digests(&read("model signing bundle", bundle, BUNDLE_BYTES_MAX)?, &key)?;
    match digests.contains(&digest) {
        true => Ok(()),
        false => Err(BundleError::OtherFile { listed: digests.len(), digest }),
    }
}

fn read(what: &'static str, path: &Path, most: u64) -> Result<Vec<u8>, BundleError> {
    let failed = |source| BundleError::Read { what, path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes)).map_err(failed)?;
    match bytes.len() as u64 > most {
        true => Err(BundleError::Long { what, path: path.to_owned(), most }),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests;
