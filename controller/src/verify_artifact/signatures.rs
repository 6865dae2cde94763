//! Who signed a file, and as which version of which model.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minisign_verify::{Signature, StreamVerifier};
use modelfleet_crds::ModelVersionSpec;
use modelfleet_protocol::statement::{self, Statement};

use super::{CheckError, Trust, refuse};

/// The version's signatures that can be read.
pub(super) fn decoded(spec: &ModelVersionSpec) -> Vec<Signature> {
    let decode = |value: &String| {
        let text = String::from_utf8(STANDARD.decode(value).ok()?).ok()?;
        Signature::decode(&text).ok()
    };
    spec.signatures.iter().filter_map(|s| decode(&s.value)).collect()
}

/// One verifier for each signature and key that belong together, with its signature.
pub(super) fn verifiers<'a>(
    trust: &'a Trust,
    signatures: &'a [Signature],
) -> Result<Vec<(StreamVerifier<'a>, &'a Signature)>, CheckError> {
    let pairs = trust.keys.iter().flat_map(|key| signatures.iter().map(move |signature| (key, signature)));
    let verifiers: Vec<_> =
        pairs.filter_map(|(key, signature)| Some((key.verify_stream(signature).ok()?, signature))).collect();
    if verifiers.is_empty() && !trust.keys.is_empty() {
        let message = format!(
            "none of the version's {} signatures is by one of the {} trusted keys; delete the \
             version (kubectl delete modelversion), sign the file with a trusted key and register it again",
            signatures.len(),
            trust.keys.len()
        );
        return refuse("SignatureMissing", message);
    }
    Ok(verifiers)
}

/// Passes if one of the signatures that are good for the bytes was made for this version.
pub(super) fn check_statements(
    trust: &Trust,
    spec: &ModelVersionSpec,
    good: &[&Signature],
) -> Result<(), CheckError> {
    let uri = &spec.artifact.uri;
    if good.is_empty() {
        let message = format!(
            "no signature of the version by a trusted key fits the file {uri}; sign this file and register a new version"
        );
        return refuse("SignatureInvalid", message);
    }
    let wanted = match wanted(spec) {
        Ok(wanted) => wanted,
        Err(message) => return refuse("StatementInvalid", message),
    };
    let mut why = None;
    for signature in good {
        match statement::check(signature.trusted_comment(), &wanted, trust.bare) {
            Ok(()) => return Ok(()),
            Err(error) => why = Some(error),
        }
    }
    let why = why.map(|error| error.to_string()).unwrap_or_default();
    let message =
        format!("{why}; then delete this version (kubectl delete modelversion) and register it again");
    refuse("StatementInvalid", message)
}

/// What a publisher must have signed for this version.
fn wanted(spec: &ModelVersionSpec) -> Result<Statement, String> {
    let artifact = &spec.artifact;
    let field = |name: &str, why: &dyn std::fmt::Display| format!("spec.{name} cannot be used: {why}");
    Ok(Statement {
        model: spec.model.parse().map_err(|e| field("model", &e))?,
        version: spec.version.parse().map_err(|e| field("version", &e))?,
        digest: artifact.digest.parse().map_err(|e| field("artifact.digest", &e))?,
        size_bytes: u64::try_from(artifact.size_bytes).ok(),
    })
}
