//! Checks a model file against what was registered: size, digest, signature, format. The file streams by; none of it is kept.
//! Its header is read on the way, by a bounded reader, and looked at once digest and signature are right.
//!
//! A user who may register a version reads these messages, and the controller can reach more than such a user. So a status
//! never holds what a store answered, nor what a file is if it is not the registered one.

mod details;
mod format;
mod place;
mod signatures;

use std::path::PathBuf;
use std::time::Duration;

use futures::StreamExt as _;
use minisign_verify::PublicKey;
use modelfleet_crds::ModelVersionSpec;
use modelfleet_model_file::Reader;
use object_store::http::HttpBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, ObjectStoreScheme, parse_url_opts};
use sha2::{Digest as _, Sha256};

use modelfleet_protocol::causes::with_causes;
use modelfleet_protocol::statement::BareSignatures;
use modelfleet_protocol::trust::ArtifactKey;
use place::{Careful, Forbidden};

/// A store that sends nothing for so long is away.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// A store that sends fewer bytes in a second, over the whole artifact, is too slow: it would keep others waiting.
const BYTES_PER_SECOND_MIN: u64 = 256 * 1024;
/// What every artifact may take, however small, and the most for one however large.
const TIME_MIN: Duration = Duration::from_secs(60);
const TIME_MAX: Duration = Duration::from_secs(4 * 3600);
/// Most of a store's error that is logged, characters. It may hold the body of an answer.
const LOGGED_MAX: usize = 300;

/// How to reach stores, and whom to believe.
#[derive(Clone, Default)]
pub struct Trust {
    /// Options of the stores: credentials, endpoints. Never logged.
    pub store_options: Vec<(String, String)>,
    /// Publishers' minisign keys; none: signatures are not asked for.
    pub keys: Vec<PublicKey>,
    /// The same keys, for in-toto statements.
    pub statement_keys: Vec<ArtifactKey>,
    /// Whether signatures count that cover the bytes only.
    pub bare: BareSignatures,
    /// The folder below which `file://` artifacts are read; none: no file is.
    pub artifact_root: Option<PathBuf>,
}

/// Why a check did not pass.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The store is away or does not have it; try again.
    #[error("fetch {uri}: {why}")]
    Fetch {
        /// From where.
        uri: String,
        /// Why not, in words of ours.
        why: &'static str,
    },
    /// The store went silent; try again.
    #[error("fetch {uri}: the store sent nothing for {} s", SILENCE_MAX.as_secs())]
    Silence {
        /// From where.
        uri: String,
    },
    /// The store is too slow; try again.
    #[error("fetch {uri}: the download was not complete after {seconds} s")]
    Slow {
        /// From where.
        uri: String,
        /// The time that it had.
        seconds: u64,
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

fn forbid<T>(uri: &str, why: Forbidden) -> Result<T, CheckError> {
    refuse("UriForbidden", format!("the address {uri:?}: {why}; register a new version"))
}

/// Sorts a store's error into words of ours. The error itself, which may quote an answer, is for the log alone.
fn fetch(uri: &str, error: &object_store::Error) -> CheckError {
    use object_store::Error as E;
    let logged: String = with_causes(error).chars().take(LOGGED_MAX).collect();
    tracing::info!(uri, error = logged, "artifact not fetched");
    let why = match error {
        E::NotFound { .. } => "the file is not there",
        E::PermissionDenied { .. } => "the store denies access",
        E::Unauthenticated { .. } => "the store requires credentials; give them with --store-option",
        _ => "the store is not reachable or broke the connection; see the controller's log",
    };
    CheckError::Fetch { uri: uri.to_owned(), why }
}

/// How long an artifact of this size may take.
fn time_for(bytes: u64) -> Duration {
    (TIME_MIN + Duration::from_secs(bytes / BYTES_PER_SECOND_MIN)).min(TIME_MAX)
}

/// Streams the artifact of a version from its store and checks it. Returns the number of the publisher's key that has signed it;
/// `None`: no signature is asked for.
///
/// # Errors
/// Says whether to try again.
pub async fn check(trust: &Trust, spec: &ModelVersionSpec) -> Result<Option<String>, CheckError> {
    let most = time_for(u64::try_from(spec.artifact.size_bytes).unwrap_or(0));
    let slow = || CheckError::Slow { uri: spec.artifact.uri.clone(), seconds: most.as_secs() };
    tokio::time::timeout(most, stream_and_check(trust, spec)).await.unwrap_or_else(|_| Err(slow()))
}

async fn stream_and_check(trust: &Trust, spec: &ModelVersionSpec) -> Result<Option<String>, CheckError> {
    let artifact = &spec.artifact;
    let uri = artifact.uri.clone();
    // What else a file is would tell a guesser what it holds.
    let tells = !uri.starts_with("file:");
    let signatures = signatures::decoded(spec);
    let stated = signatures::stated(trust, spec);
    let mut verifiers = signatures::verifiers(trust, &signatures, !stated.is_empty())?;
    let mut stream = open(trust, &uri).await?;
    let (mut hash, mut reader, mut size) = (Sha256::new(), Reader::default(), 0_u64);
    let wanted = u64::try_from(artifact.size_bytes).unwrap_or(0);
    loop {
        let piece = tokio::time::timeout(SILENCE_MAX, stream.next()).await;
        let Some(piece) = piece.map_err(|_| CheckError::Silence { uri: uri.clone() })? else { break };
        let piece = piece.map_err(|e| fetch(&uri, &e))?;
        size += piece.len() as u64;
        if size > wanted {
            break;
        }
        hash.update(&piece);
        reader.take(&piece);
        verifiers.iter_mut().for_each(|(verifier, _)| verifier.update(&piece));
    }
    if size != wanted {
        let found = match size > wanted {
            _ if !tells => "another number of".to_owned(),
            true => format!("more than {wanted}"),
            false => size.to_string(),
        };
        let message = format!(
            "{uri} has {found} bytes, but {wanted} were registered; put the registered file back, or register a new \
             version"
        );
        return refuse("SizeMismatch", message);
    }
    let digest = format!("sha256:{}", hex::encode(hash.finalize()));
    if digest != artifact.digest {
        let found = if tells { format!("has digest {digest}") } else { "has another digest".to_owned() };
        let message = format!(
            "{uri} {found}, but {} was registered; put the registered file back, or register a new \
             version",
            artifact.digest
        );
        return refuse("DigestMismatch", message);
    }
    let mut signed_by = None;
    if !trust.keys.is_empty() {
        let good = verifiers.iter_mut().filter_map(|(verifier, s)| verifier.finalize().is_ok().then_some(*s));
        signed_by = Some(signatures::check_statements(trust, spec, &good.collect::<Vec<_>>(), &stated)?);
    }
    format::check(spec, reader)?;
    details::check(trust, spec).await?;
    Ok(signed_by)
}

async fn open(
    trust: &Trust,
    uri: &str,
) -> Result<futures::stream::BoxStream<'static, object_store::Result<bytes::Bytes>>, CheckError> {
    let Ok(url) = url::Url::parse(uri) else {
        return refuse("UriInvalid", format!("the address {uri:?} is not a URI; register a new version"));
    };
    let (store, path) = store(trust, uri, &url).await?;
    let get = tokio::time::timeout(SILENCE_MAX, store.get(&path)).await;
    let get = get.map_err(|_| CheckError::Silence { uri: uri.to_owned() })?;
    Ok(get.map_err(|e| fetch(uri, &e))?.into_stream())
}

async fn store(trust: &Trust, uri: &str, url: &url::Url) -> Result<(Box<dyn ObjectStore>, Path), CheckError> {
    let failed = |e: object_store::Error| fetch(uri, &e);
    if let Err(forbidden) = place::host(url) {
        return forbid(uri, forbidden);
    }
    let (scheme, path) = ObjectStoreScheme::parse(url).map_err(|e| failed(e.into()))?;
    match scheme {
        ObjectStoreScheme::Local => match place::file(url, trust.artifact_root.as_deref()).await {
            Err(forbidden) => forbid(uri, forbidden),
            Ok(None) => Err(CheckError::Fetch { uri: uri.to_owned(), why: "the file is not there" }),
            Ok(Some(real)) => {
                let path = Path::from_absolute_path(real).map_err(|e| failed(e.into()))?;
                Ok((Box::new(LocalFileSystem::new()), path))
            }
        },
        ObjectStoreScheme::Http => {
            let origin = HttpBuilder::new().with_url(&url[..url::Position::BeforePath]);
            // The digest is checked whatever the way of the bytes.
            let plain = (url.scheme() == "http").then(|| ("allow_http".to_owned(), "true".to_owned()));
            let options = trust.store_options.iter().cloned().chain(plain);
            // As with every store, options of other stores are left out.
            let known = options.filter_map(|(key, value)| Some((key.parse().ok()?, value)));
            let builder = known.fold(origin, |builder, (key, value)| builder.with_config(key, value));
            let store = builder.with_http_connector(Careful).build().map_err(failed)?;
            Ok((Box::new(store), path))
        }
        _ => {
            // Theirs ends a request after half a minute, however large the artifact is; ours goes by the size.
            let mut options = trust.store_options.clone();
            if !options.iter().any(|(key, _)| key == "timeout") {
                options.push(("timeout".to_owned(), format!("{} seconds", TIME_MAX.as_secs())));
            }
            parse_url_opts(url, options).map_err(failed)
        }
    }
}

#[cfg(test)]
mod tests;
