//! The details file of a version: it is there and whole, and says what the version's own self-test and baseline say. The
//! controller judges devices by the baseline in the object, so devices must count by the same one.

use futures::StreamExt as _;
use modelfleet_crds::ModelVersionSpec;
use modelfleet_model::builds;
use modelfleet_protocol::causes::with_causes;
use modelfleet_protocol::details::Details;
use modelfleet_protocol::ids::Digest;

use super::{CheckError, SILENCE_MAX, Trust, fetch, open, refuse};

/// Checks the details file of a version, if it names one.
///
/// # Errors
/// Says whether to try again.
pub(super) async fn check(trust: &Trust, spec: &ModelVersionSpec) -> Result<(), CheckError> {
    let Some(file) = &spec.artifact.details else { return Ok(()) };
    let uri = &file.uri;
    let again = "put the file back that `kubectl modelfleet register` wrote, or register a new version";
    let wanted = usize::try_from(file.size_bytes).unwrap_or(0);
    let bytes = bounded(trust, uri, wanted).await?;
    if bytes.len() != wanted || Digest::of(&bytes).to_string() != file.digest {
        let message = format!("the details file {uri} is not the one that was registered; {again}");
        return refuse("DetailsMismatch", message);
    }
    let expected = match builds::details(spec) {
        Ok(details) => details,
        Err(problem) => return refuse("DetailsInvalid", format!("{problem}; register a new version")),
    };
    let read = match Details::from_json(&bytes) {
        Ok(details) => details,
        Err(error) => {
            let message = format!("{}: {uri}; register a new version", with_causes(&error));
            return refuse("DetailsInvalid", message);
        }
    };
    // Both went through JSON, so that how numbers are written makes no difference.
    if Details::from_json(&expected.to_json()).ok().as_ref() == Some(&read) {
        return Ok(());
    }
    let message = format!(
        "the details file {uri} says something else than spec.selfTest and spec.baseline, so devices would not count what is \
         judged; {again}"
    );
    refuse("DetailsMismatch", message)
}

/// The bytes of a file; of a longer one, a few more than `most`.
async fn bounded(trust: &Trust, uri: &str, most: usize) -> Result<Vec<u8>, CheckError> {
    let mut stream = open(trust, uri).await?;
    let mut bytes = Vec::new();
    while bytes.len() <= most {
        let piece = tokio::time::timeout(SILENCE_MAX, stream.next()).await;
        let Some(piece) = piece.map_err(|_| CheckError::Silence { uri: uri.to_owned() })? else { break };
        bytes.extend_from_slice(&piece.map_err(|e| fetch(uri, &e))?);
    }
    Ok(bytes)
}
