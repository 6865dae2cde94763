//! Checks a model's bytes against what was registered: size, digest, signature, format. They stream by; none is kept.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt as _;
use minisign_verify::{PublicKey, Signature, StreamVerifier};
use modelfleet_crds::ModelVersionSpec;
use object_store::{ObjectStoreExt as _, parse_url_opts};
use sha2::{Digest as _, Sha256};

use crate::onnx::Scanner;

/// A store that sends nothing for so long is away.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// How to reach stores, and whom to believe.
#[derive(Clone, Default)]
pub struct Trust {
    /// Options of the stores: credentials, endpoints. Never logged.
    pub store_options: Vec<(String, String)>,
    /// Publishers' minisign keys; none: signatures are not asked for.
    pub keys: Vec<PublicKey>,
}

/// Why a check did not pass.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The store is away or does not have it; try again.
    #[error("fetch {uri}")]
    Fetch {
        /// From where.
        uri: String,
        /// Why not.
        #[source]
        source: object_store::Error,
    },
    /// The store went silent; try again.
    #[error("fetch {uri}: nothing came for {} s", SILENCE_MAX.as_secs())]
    Silence {
        /// From where.
        uri: String,
    },
    /// The bytes are not what was registered; trying again does not help.
    #[error("{message}")]
    Refuse {
        /// One CamelCase word.
        reason: &'static str,
        /// With numbers, and what to do.
        message: String,
    },
}

fn refuse<T>(reason: &'static str, message: String) -> Result<T, CheckError> {
    Err(CheckError::Refuse { reason, message })
}

/// Streams the artifact of a version from its store and checks it.
///
/// # Errors
/// Says whether to try again.
pub async fn check(trust: &Trust, spec: &ModelVersionSpec) -> Result<(), CheckError> {
    let artifact = &spec.artifact;
    let uri = artifact.uri.clone();
    let fetch = |source| CheckError::Fetch { uri: uri.clone(), source };
    let signatures = signatures(spec);
    let mut verifiers = verifiers(trust, &signatures)?;
    let mut stream = open(trust, &uri).await?;
    let (mut hash, mut scanner, mut size) = (Sha256::new(), Scanner::default(), 0_u64);
    let wanted = u64::try_from(artifact.size_bytes).unwrap_or(0);
    loop {
        let piece = tokio::time::timeout(SILENCE_MAX, stream.next()).await;
        let Some(piece) = piece.map_err(|_| CheckError::Silence { uri: uri.clone() })? else { break };
        let piece = piece.map_err(&fetch)?;
        size += piece.len() as u64;
        if size > wanted {
            break;
        }
        hash.update(&piece);
        scanner.take(&piece);
        verifiers.iter_mut().for_each(|verifier| verifier.update(&piece));
    }
    if size != wanted {
        let more = if size > wanted { "more than " } else { "" };
        let message = format!(
            "{uri} has {more}{} bytes and {wanted} were registered; put the registered file back, or register a \
             new version",
            size.min(wanted)
        );
        return refuse("SizeMismatch", message);
    }
    let digest = format!("sha256:{}", hex::encode(hash.finalize()));
    if digest != artifact.digest {
        let message = format!(
            "{uri} hashes to {digest} and {} was registered; put the registered file back, or register a new \
             version",
            artifact.digest
        );
        return refuse("DigestMismatch", message);
    }
    if !trust.keys.is_empty() && !verifiers.iter_mut().any(|verifier| verifier.finalize().is_ok()) {
        let message = format!("no signature of the version is by a trusted key over the bytes of {uri}");
        return refuse("SignatureInvalid", message);
    }
    format(spec, scanner)
}

fn format(spec: &ModelVersionSpec, scanner: Scanner) -> Result<(), CheckError> {
    let opsets = match scanner.finish() {
        Ok(opsets) => opsets,
        Err(why) => {
            return refuse("FormatInvalid", format!("the file is no ONNX model: {why}; export it again"));
        }
    };
    for declared in &spec.opsets {
        let found = opsets.get(&declared.domain).copied();
        if found != Some(declared.version) {
            let found = found.map_or("does not import it".to_owned(), |v| format!("imports version {v}"));
            let (domain, version) = (&declared.domain, declared.version);
            let message = format!(
                "spec.opsets says {domain} {version} and the file {found}; register a version with the file's own"
            );
            return refuse("OpsetMismatch", message);
        }
    }
    Ok(())
}

async fn open(
    trust: &Trust,
    uri: &str,
) -> Result<futures::stream::BoxStream<'static, object_store::Result<bytes::Bytes>>, CheckError> {
    let fetch = |source| CheckError::Fetch { uri: uri.to_owned(), source };
    let Ok(url) = url::Url::parse(uri) else {
        return refuse("UriInvalid", format!("spec.artifact.uri {uri:?} is no URI; register a new version"));
    };
    let mut options = trust.store_options.clone();
    if url.scheme() == "http" {
        // The digest is checked whatever the way of the bytes.
        options.push(("allow_http".to_owned(), "true".to_owned()));
    }
    let (store, path) = parse_url_opts(&url, options).map_err(fetch)?;
    let get = tokio::time::timeout(SILENCE_MAX, store.get(&path)).await;
    let get = get.map_err(|_| CheckError::Silence { uri: uri.to_owned() })?;
    Ok(get.map_err(fetch)?.into_stream())
}

fn signatures(spec: &ModelVersionSpec) -> Vec<Signature> {
    let decode = |value: &String| {
        let text = String::from_utf8(STANDARD.decode(value).ok()?).ok()?;
        Signature::decode(&text).ok()
    };
    spec.signatures.iter().filter_map(|s| decode(&s.value)).collect()
}

/// One verifier for each signature and key that belong together.
fn verifiers<'a>(
    trust: &'a Trust,
    signatures: &'a [Signature],
) -> Result<Vec<StreamVerifier<'a>>, CheckError> {
    let pairs = trust.keys.iter().flat_map(|key| signatures.iter().map(move |signature| (key, signature)));
    let verifiers: Vec<StreamVerifier<'a>> =
        pairs.filter_map(|(key, signature)| key.verify_stream(signature).ok()).collect();
    if verifiers.is_empty() && !trust.keys.is_empty() {
        let message = format!(
            "none of the version's {} signatures is by one of the {} trusted keys; sign it with minisign and register \
             it again",
            signatures.len(),
            trust.keys.len()
        );
        return refuse("SignatureMissing", message);
    }
    Ok(verifiers)
}
