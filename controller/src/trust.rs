//! The trust document: read from its file, read again when it changes, and kept at the broker.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use modelfleet_fleet::Trust;
use modelfleet_fleet::trust::{Followed, TopicDue};
use modelfleet_protocol::causes::with_causes;
use modelfleet_protocol::envelope::KeyId;
use modelfleet_protocol::ids::{Digest, Namespace};
use modelfleet_protocol::time::Time;
use modelfleet_protocol::topic::{Channel, Topic};
use modelfleet_protocol::trust::{FILE_BYTES_MAX, PublicKey, Roots, TrustDocument, TrustError};
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::error::Error;
use crate::run::everything;

/// How often the file is looked at: Kubernetes brings a changed ConfigMap or Secret within a minute or so.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Most bytes of a root file.
const ROOT_BYTES_MAX: u64 = 4_096;

/// The files of the trust document.
#[derive(Clone, Debug)]
pub struct TrustFiles {
    /// The trust file, as `kubectl modelfleet trust append` writes it.
    pub document: PathBuf,
    /// The root file, as `kubectl modelfleet trust init` writes it.
    pub roots: PathBuf,
}

/// Why there is no trust document to start with.
#[derive(Debug, thiserror::Error)]
pub enum TrustFileError {
    /// A file cannot be read.
    #[error("read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file is too large to be what it should be.
    #[error("{path} has more than {most} bytes; is it the right file?")]
    Long {
        /// Which.
        path: PathBuf,
        /// Most bytes.
        most: u64,
    },
    /// Not root keys.
    #[error("the root file {path} is no JSON with \"keys\" and \"threshold\"")]
    Roots {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The document cannot be followed from the root keys.
    #[error("the trust file {path} cannot be followed from the root keys; give both files of one fleet")]
    Follow {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: TrustError,
    },
}

fn read(path: &Path, most: u64) -> Result<Vec<u8>, TrustFileError> {
    use std::io::Read as _;
    let failed = |source| TrustFileError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    std::fs::File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes)).map_err(failed)?;
    match bytes.len() as u64 > most {
        true => Err(TrustFileError::Long { path: path.to_owned(), most }),
        false => Ok(bytes),
    }
}

impl TrustFiles {
    /// Reads both files.
    ///
    /// # Errors
    /// When one cannot be read, or the document cannot be followed from the root keys.
    pub fn read(&self) -> Result<Trust, TrustFileError> {
        let roots = read(&self.roots, ROOT_BYTES_MAX)?;
        let roots: Roots = serde_json::from_slice(&roots)
            .map_err(|source| TrustFileError::Roots { path: self.roots.clone(), source })?;
        let follow = |source| TrustFileError::Follow { path: self.document.clone(), source };
        Trust::start(roots, &read(&self.document, FILE_BYTES_MAX as u64)?).map_err(follow)
    }
}

/// Why this process cannot go on with a trust document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustEnd {
    /// It would sign plans that no device takes.
    #[error(
        "trust document {version} {how} the plan key {key} of --signing-key-file, so devices would refuse its plans; start with one \
         of its plan keys ({named}), or put this one into the next document: kubectl modelfleet trust add --plan-key"
    )]
    PlanKey {
        /// Version of the document.
        version: u64,
        /// What it does with the key.
        how: &'static str,
        /// Our key.
        key: KeyId,
        /// The plan keys that it names.
        named: String,
    },
    /// Labels were taken from cards of keys that count no more.
    #[error(
        "trust document {version} names other enrolment keys, so this process ends and the next one reads all device cards anew"
    )]
    EnrolmentKeys {
        /// Version of the document.
        version: u64,
    },
}

impl TrustEnd {
    /// Why a process with this plan key cannot go by a document at all.
    #[must_use]
    pub fn of_key(document: &TrustDocument, key: KeyId) -> Option<TrustEnd> {
        if document.has_plan_key(key) {
            return None;
        }
        let how = if document.has_revoked(key) { "revokes" } else { "does not name" };
        let named: Vec<String> = document.plan_keys.iter().map(|key| key.id().to_string()).collect();
        let named = if named.is_empty() { "none".to_owned() } else { named.join(", ") };
        Some(TrustEnd::PlanKey { version: document.version, how, key, named })
    }

    /// Why a process that went by the document `before` cannot go on by the one `after` it.
    #[must_use]
    pub fn of(before: &TrustDocument, after: &TrustDocument, key: KeyId) -> Option<TrustEnd> {
        let sorted = |document: &TrustDocument| {
            let mut ids: Vec<KeyId> = document.enrolment_keys.iter().map(PublicKey::id).collect();
            ids.sort();
            ids
        };
        let cards = sorted(before) != sorted(after);
        TrustEnd::of_key(after, key)
            .or_else(|| cards.then_some(TrustEnd::EnrolmentKeys { version: after.version }))
    }
}

/// Looks at the trust file until `stop`, and takes it when it has changed. One that cannot be used changes nothing; without files
/// there is nothing to look at.
pub async fn watch(ctx: Arc<Context>, files: Option<TrustFiles>, stop: CancellationToken) {
    let Some(files) = files else { return };
    let mut last: Vec<u8> = Vec::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let file = match read(&files.document, FILE_BYTES_MAX as u64) {
            Ok(file) => file,
            // It may be in the middle of being replaced.
            Err(error) => {
                tracing::warn!(error = with_causes(&error), "cannot read the trust file again");
                continue;
            }
        };
        if file != last {
            took(&ctx, &file, "the trust file", &stop);
            // Fleets get it, and what it changes is decided.
            everything(&ctx, None);
            last = file;
        }
    }
}

/// Takes a trust file. Returns why it is none that can be followed.
pub fn took(ctx: &Context, file: &[u8], from: &str, leave: &CancellationToken) -> Option<String> {
    let followed = ctx.fleets.take_trust(file)?;
    let problem = match followed {
        Followed::Same => return None,
        Followed::Newer => {
            tracing::info!(from, "a newer trust document counts from now on");
            None
        }
        Followed::Older { found } => {
            tracing::warn!(
                from,
                found,
                "an older trust document is ignored; give the controller the newest trust file"
            );
            return None;
        }
        Followed::Elsewhere => Some("the trust document is for another namespace".to_owned()),
        Followed::Refused(error) => Some(with_causes(&error)),
    };
    if let Some(problem) = &problem {
        tracing::warn!(from, problem, "a trust document is ignored");
    }
    if let Some(end) = ctx.fleets.trust_end() {
        tracing::error!("{end}");
        leave.cancel();
    }
    problem
}

/// Brings a fleet's topic to hold the trust document that counts. Returns when to look again.
///
/// # Errors
/// When too much waits to be sent.
pub fn publish(ctx: &Context, namespace: &Namespace, now: Time) -> Result<Option<Time>, Error> {
    let Some(file) = ctx.fleets.trust_file_of(namespace) else { return Ok(None) };
    let fleet = ctx.fleets.named(namespace);
    let mut fleet = fleet.locked();
    if !ctx.fleets.link_of(&fleet).settled {
        return Ok(None);
    }
    let digest = Digest::of(&file);
    match fleet.trust_topic.due(digest, now) {
        TopicDue::Nothing => Ok(None),
        TopicDue::Echo(by) => Ok(Some(by)),
        TopicDue::Send => {
            let topic = Topic { namespace: namespace.clone(), channel: Channel::Trust }.name();
            ctx.publisher.publish_retained(&topic, file.to_vec())?;
            fleet.trust_topic.note_sent(digest, now);
            tracing::info!(topic, bytes = file.len(), "trust document published");
            Ok(Some(now.after_ms(5_000)))
        }
    }
}
