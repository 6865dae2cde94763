//! Which sinks there are: those of the flag `--event-sink`, and those that a rollout names.

use std::path::{Path, PathBuf};

use kube::ResourceExt;
use modelfleet_crds::Rollout;
use modelfleet_crds::rollout::{NotifyKind, NotifySink};
use modelfleet_telling::signature::HmacKey;
use modelfleet_telling::{SinkId, SinkKind};
use url::Url;

use crate::reach;

/// Most sinks that the flag may name.
pub const FLAGS_MAX: usize = 4;

/// Why sinks cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TellingError {
    /// No client.
    #[error("make the client for event sinks")]
    Client(#[source] reqwest::Error),
    /// The flag cannot be read. It may hold a secret and is not quoted.
    #[error("--event-sink number {number}: {why}")]
    Flag {
        /// Which of them, from 1.
        number: usize,
        /// What is wrong.
        why: String,
    },
    /// Too many.
    #[error("--event-sink may be given at most {FLAGS_MAX} times")]
    TooMany,
    /// The file with the key cannot be read.
    #[error("read the key of event sinks in {path}")]
    KeyFile {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It holds no key.
    #[error("the key of event sinks in {path}: {why}")]
    Key {
        /// Which file.
        path: PathBuf,
        /// Why not; without the key.
        why: &'static str,
    },
}

/// Where a sink's address and key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Here, and the key in a file.
    Flag(Url, Option<PathBuf>),
    /// In a Secret of this namespace.
    Secret(String, String),
    /// Here, as a spec has it, and without a key.
    Spec(String),
}

/// One receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sink {
    /// Its name in statuses.
    pub id: SinkId,
    /// The form that it takes.
    pub kind: SinkKind,
    /// Where it is.
    pub place: Place,
    /// Namespace of the rollouts that name it; empty for those of the flag.
    pub namespace: String,
    /// What logs and metrics call it: never the whole URL, which may hold a secret.
    pub shown: String,
}

/// Reads the key in a file; it is read again for each delivery, so that it can be changed.
///
/// # Errors
/// When it cannot be read or is none.
pub fn key_in(path: &Path) -> Result<HmacKey, TellingError> {
    let content = std::fs::read(path);
    let content = content.map_err(|source| TellingError::KeyFile { path: path.to_owned(), source })?;
    HmacKey::read(&content).map_err(|why| TellingError::Key { path: path.to_owned(), why })
}

/// The sinks of the flag: `URL`, or `KIND=URL` with one of the kinds of [`SinkKind`].
///
/// # Errors
/// When one cannot be used, or the key cannot be read.
pub fn of_flags(
    flags: &[String],
    key_file: Option<&Path>,
    allow_link_local: bool,
) -> Result<Vec<Sink>, TellingError> {
    if flags.len() > FLAGS_MAX {
        return Err(TellingError::TooMany);
    }
    if let Some(path) = key_file {
        key_in(path)?;
    }
    let read = |(index, flag): (usize, &String)| {
        let sink = of_flag(flag, key_file, allow_link_local);
        sink.map_err(|why| TellingError::Flag { number: index + 1, why })
    };
    flags.iter().enumerate().map(read).collect()
}

fn of_flag(flag: &str, key_file: Option<&Path>, allow_link_local: bool) -> Result<Sink, String> {
    const KINDS: [SinkKind; 3] = [SinkKind::CloudEvents, SinkKind::Slack, SinkKind::Alertmanager];
    let named = KINDS.into_iter().find_map(|kind| {
        let url = flag.split_once('=').filter(|(word, _)| word.eq_ignore_ascii_case(kind.as_str()))?.1;
        Some((kind, url))
    });
    let (kind, text) = named.unwrap_or((SinkKind::CloudEvents, flag));
    let url = checked(text, allow_link_local)?;
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    Ok(Sink {
        id: SinkId::of(kind, text),
        kind,
        shown: format!("{} at {host}{port}", kind.as_str()),
        place: Place::Flag(url, key_file.map(Path::to_owned)),
        namespace: String::new(),
    })
}

/// The sinks that a rollout names.
#[must_use]
pub fn of_spec(rollout: &Rollout) -> Vec<Sink> {
    let namespace = rollout.namespace().unwrap_or_default();
    let sink = |notify: &NotifySink| {
        let kind = match notify.kind {
            NotifyKind::CloudEvents => SinkKind::CloudEvents,
            NotifyKind::Slack => SinkKind::Slack,
            NotifyKind::Alertmanager => SinkKind::Alertmanager,
        };
        // A Secret is told from a URL by what a URL cannot begin with.
        let (identity, place) = match (&notify.secret_name, &notify.url) {
            (Some(name), _) => {
                (format!("/{namespace}/{name}"), Place::Secret(namespace.clone(), name.clone()))
            }
            (None, Some(url)) => (format!("{url} {namespace}"), Place::Spec(url.clone())),
            (None, None) => return None,
        };
        let shown = format!("{} of spec.notify", kind.as_str());
        Some(Sink { id: SinkId::of(kind, &identity), kind, place, namespace: namespace.clone(), shown })
    };
    rollout.spec.notify.iter().filter_map(sink).collect()
}

/// A URL that events may be sent to.
///
/// # Errors
/// Says what is wrong with it, without showing it.
pub fn checked(text: &str, allow_link_local: bool) -> Result<Url, String> {
    let url = Url::parse(text.trim()).map_err(|error| format!("it is no URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err("it must begin with https:// or http://".to_owned());
    }
    if !allow_link_local {
        reach::host(&url).map_err(|refused| refused.to_string())?;
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_names_a_kind_and_an_address() {
        let of = |flag: &str| of_flags(&[flag.to_owned()], None, false).map(|mut sinks| sinks.remove(0));
        let sink = of("https://user:pass@events.example:8443/hook/SECRET?a=b").unwrap();
        assert_eq!(
            (sink.kind, sink.shown.as_str()),
            (SinkKind::CloudEvents, "CloudEvents at events.example:8443")
        );
        let slack = of("slack=https://hooks.example/services/T/B/X").unwrap();
        assert_eq!((slack.kind, slack.shown.as_str()), (SinkKind::Slack, "Slack at hooks.example"));
        assert_eq!(of("Alertmanager=http://alertmanager:9093").unwrap().kind, SinkKind::Alertmanager);
        assert_eq!(of("https://x.example/?slack=https://y.example").unwrap().kind, SinkKind::CloudEvents);
        for wrong in
            ["", "events.example", "ftp://x/SECRET", "http://169.254.169.254/SECRET", "http://[fe80::1]/"]
        {
            let error = of(wrong).unwrap_err().to_string();
            assert!(!error.contains("SECRET") && error.contains("number 1"), "{error}");
        }
        assert!(of_flags(&["http://169.254.1.1/".to_owned()], None, true).is_ok());
        assert!(of_flags(&vec!["http://a/".to_owned(); 5], None, true).is_err());
    }

    #[test]
    fn a_key_file_that_holds_no_key_is_told_at_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let read = || of_flags(&["http://a/".to_owned()], Some(&path), false);
        assert!(read().is_err());
        std::fs::write(&path, "short").unwrap();
        assert!(!read().unwrap_err().to_string().contains("short"));
        std::fs::write(&path, "0123456789abcdef").unwrap();
        assert!(read().is_ok());
    }
}
