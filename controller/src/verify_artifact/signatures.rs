//! Who signed a file, and as which version of which model.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minisign_verify::{Signature, StreamVerifier};
use modelfleet_crds::ModelVersionSpec;
use modelfleet_crds::model_version::SignatureFormat;
use modelfleet_protocol::in_toto;
use modelfleet_protocol::statement::{self, Statement};

use super::{CheckError, Trust, refuse};

/// A signature of minisign, and the number of the key that it names. A key that verifies it has this number.
pub(super) struct Numbered {
    pub signature: Signature,
    pub number: String,
}

/// The version's signatures that can be read.
pub(super) fn decoded(spec: &ModelVersionSpec) -> Vec<Numbered> {
    let decode = |value: &String| {
        let text = String::from_utf8(STANDARD.decode(value).ok()?).ok()?;
        let signature = Signature::decode(&text).ok()?;
        let bytes = STANDARD.decode(text.lines().nth(1)?.trim()).ok()?;
        let number = bytes.get(2..10)?.iter().rev().map(|byte| format!("{byte:02X}")).collect();
        Some(Numbered { signature, number })
    };
    spec.signatures.iter().filter_map(|s| decode(&s.value)).collect()
}

/// One verifier for each signature and key that belong together, with its signature.
pub(super) fn verifiers<'a>(
    trust: &'a Trust,
    signatures: &'a [Numbered],
    has_stated: bool,
) -> Result<Vec<(StreamVerifier<'a>, &'a Numbered)>, CheckError> {
    let pairs = trust.keys.iter().flat_map(|key| signatures.iter().map(move |signature| (key, signature)));
    let verifiers: Vec<_> =
        pairs.filter_map(|(key, one)| Some((key.verify_stream(&one.signature).ok()?, one))).collect();
    if verifiers.is_empty() && !has_stated && !trust.keys.is_empty() {
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

/// What in-toto statements of the version say that a trusted key has signed, each with the number of the key. They name the file by
/// its digest, which the bytes are checked against.
pub(super) fn stated(trust: &Trust, spec: &ModelVersionSpec) -> Vec<(Statement, String)> {
    let envelopes: Vec<Vec<u8>> = spec
        .signatures
        .iter()
        .filter(|signature| signature.format == SignatureFormat::Dsse)
        .filter_map(|signature| STANDARD.decode(&signature.value).ok())
        .collect();
    let opened = trust.statement_keys.iter().filter_map(|key| Some((key.verifying()?, key.number())));
    opened
        .flat_map(|(key, number)| {
            let said = envelopes.iter().filter_map(move |envelope| in_toto::open(&[key], envelope).ok());
            said.map(|statement| (statement, number.clone())).collect::<Vec<_>>()
        })
        .collect()
}

/// Passes if one of the signatures that are good for the bytes was made for this version. Returns the number of its key.
pub(super) fn check_statements(
    trust: &Trust,
    spec: &ModelVersionSpec,
    good: &[&Numbered],
    stated: &[(Statement, String)],
) -> Result<String, CheckError> {
    let uri = &spec.artifact.uri;
    if good.is_empty() && stated.is_empty() {
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
    for Numbered { signature, number } in good {
        match statement::check(signature.trusted_comment(), &wanted, trust.bare) {
            Ok(()) => return Ok(number.clone()),
            Err(error) => why = Some(error),
        }
    }
    for (statement, number) in stated {
        match statement.fits(&wanted) {
            Ok(()) => return Ok(number.clone()),
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
