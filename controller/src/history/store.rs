//! History's folder or object store: rows are written, merged and deleted there.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;
use modelfleet_history::compact::{self, Listing, Step, Work};
use modelfleet_history::place::{Place, part_of_leader};
use modelfleet_history::row::Row;
use modelfleet_history_file::{FileError, read, write};
use modelfleet_protocol::causes::with_causes;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, parse_url_opts};
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::Queues;
use crate::context::{Context, compute};

/// The longest that one call of the store may take.
const CALL_MAX: Duration = Duration::from_secs(60);
/// After a failure the next try waits so long, and after each further one twice as long.
const BACKOFF_MIN: Duration = Duration::from_secs(2);
const BACKOFF_MAX: Duration = Duration::from_secs(300);
/// The time that the end of the process leaves for what is not written yet.
const LAST_MAX: Duration = Duration::from_secs(5);
/// Files are looked at for what is to be merged once in so many writes.
const MERGE_EVERY: u64 = 3;

/// Why history was not written or read. It changes nothing for any rollout.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The address is none.
    #[error("open the history {url}: {why}")]
    Address {
        /// The address.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The store refuses or is away.
    #[error("{doing} {path} in the history's store")]
    Store {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: String,
        /// Why.
        source: object_store::Error,
    },
    /// The store does not answer.
    #[error("{doing} {path} in the history's store: no answer after {} s", CALL_MAX.as_secs())]
    Silent {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: String,
    },
    /// A file is none of ours.
    #[error("the file {path} of the history")]
    File {
        /// Which.
        path: String,
        /// What is wrong with it.
        source: FileError,
    },
}

/// Where rows are kept.
pub struct HistoryStore {
    store: Arc<dyn ObjectStore>,
    below: Path,
}

impl HistoryStore {
    /// Opens the store of an address: `file:///folder`, which is made, or that of an object store.
    ///
    /// # Errors
    /// When the address is none, or names no store.
    pub fn open(address: &str, options: &[(String, String)]) -> Result<HistoryStore, HistoryError> {
        let failed = |why: String| HistoryError::Address { url: address.to_owned(), why };
        let url = Url::parse(address).map_err(|error| failed(error.to_string()))?;
        if url.scheme() == "file" {
            let folder = url.to_file_path().map_err(|()| failed("not the path of a folder".to_owned()))?;
            std::fs::create_dir_all(&folder).map_err(|error| failed(error.to_string()))?;
            let store = LocalFileSystem::new_with_prefix(folder);
            let store = store.map_err(|error| failed(with_causes(&error)))?;
            return Ok(HistoryStore { store: Arc::new(store), below: Path::default() });
        }
        let opened = parse_url_opts(&url, options.iter().cloned());
        let (store, below) = opened.map_err(|error| failed(with_causes(&error)))?;
        Ok(HistoryStore { store: store.into(), below })
    }

    /// Writes, merges and deletes until `stop`, and then writes once more.
    pub(super) async fn run(
        &self,
        ctx: &Context,
        queues: &Queues,
        interval: Duration,
        stop: &CancellationToken,
    ) {
        let mut writer = Writer { store: self, ctx, queues, number: 0, learned: BTreeSet::new() };
        let (mut wait, mut backoff, mut writes) = (interval, BACKOFF_MIN, 0_u64);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(wait) => {}
            }
            match writer.write_and_merge(writes.is_multiple_of(MERGE_EVERY)).await {
                Ok(()) => {
                    writes += 1;
                    (wait, backoff) = (interval, BACKOFF_MIN);
                }
                Err(error) => {
                    ctx.metrics.history.failures.inc();
                    let (waiting, _) = queues.of_history();
                    tracing::warn!(
                        error = with_causes(&error),
                        waiting,
                        "history was not written; trying again in {} s",
                        backoff.as_secs()
                    );
                    (wait, backoff) = (backoff, (backoff * 2).min(BACKOFF_MAX));
                }
            }
        }
        if let Ok(Err(error)) = tokio::time::timeout(LAST_MAX, writer.write()).await {
            tracing::warn!(error = with_causes(&error), "the last windows were not written to history");
        }
    }

    /// All files of history, or those below a folder.
    ///
    /// # Errors
    /// When the store refuses or is away.
    pub async fn list(&self, folder: &str) -> Result<Listing, HistoryError> {
        let prefix = self.path(folder);
        let listed = self.store.list(Some(&prefix)).try_collect::<Vec<_>>();
        let objects = answered("list", folder, listed).await?;
        let below = self.below.as_ref();
        let relative = objects.iter().map(|object| {
            let path = object.location.as_ref();
            (path.strip_prefix(below).unwrap_or(path).trim_start_matches('/'), object.size)
        });
        Ok(compact::listing(relative))
    }

    /// The rows of a file. One that went meanwhile has none: what was in it is in another one.
    ///
    /// # Errors
    /// When the store refuses or is away, or the file is none of ours.
    pub async fn rows(&self, path: &str) -> Result<Vec<Row>, HistoryError> {
        let place = self.path(path);
        let got = async { self.store.get(&place).await?.bytes().await };
        let bytes = match answered("read", path, got).await {
            Err(HistoryError::Store { source: object_store::Error::NotFound { .. }, .. }) => {
                return Ok(Vec::new());
            }
            other => other?,
        };
        compute(|| read(bytes)).map_err(|source| HistoryError::File { path: path.to_owned(), source })
    }

    async fn put(&self, path: &str, bytes: Vec<u8>) -> Result<(), HistoryError> {
        let place = self.path(path);
        answered("write", path, self.store.put(&place, Bytes::from(bytes).into())).await.map(drop)
    }

    async fn delete(&self, path: &str) -> Result<(), HistoryError> {
        let place = self.path(path);
        match answered("delete", path, self.store.delete(&place)).await {
            Err(HistoryError::Store { source: object_store::Error::NotFound { .. }, .. }) => Ok(()),
            other => other,
        }
    }

    fn path(&self, relative: &str) -> Path {
        Path::from(format!("{}/{relative}", self.below))
    }
}

async fn answered<T>(
    doing: &'static str,
    path: &str,
    call: impl Future<Output = object_store::Result<T>>,
) -> Result<T, HistoryError> {
    match tokio::time::timeout(CALL_MAX, call).await {
        Ok(answer) => answer.map_err(|source| HistoryError::Store { doing, path: path.to_owned(), source }),
        Err(_) => Err(HistoryError::Silent { doing, path: path.to_owned() }),
    }
}

struct Writer<'a> {
    store: &'a HistoryStore,
    ctx: &'a Context,
    queues: &'a Queues,
    /// Number of the next file.
    number: u64,
    /// Places whose files of before were read: what a leader before has written is not written again.
    learned: BTreeSet<Place>,
}

impl Writer<'_> {
    async fn write_and_merge(&mut self, merges: bool) -> Result<(), HistoryError> {
        self.write().await?;
        if merges { self.merge().await } else { Ok(()) }
    }

    async fn write(&mut self) -> Result<(), HistoryError> {
        let now_ms = self.ctx.now().0;
        loop {
            let next = self.queues.backlog().next();
            let Some((place, rows)) = next else { break };
            if !self.learned.contains(&place) {
                let known = self.rows_of(&place).await?;
                self.queues.backlog().learn(known);
                self.learned.insert(place);
                continue;
            }
            let path = place.file(&part_of_leader(self.ctx.epoch, self.number));
            let failed = |source| HistoryError::File { path: path.clone(), source };
            let bytes = compute(|| write(&rows)).map_err(failed)?;
            self.store.put(&path, bytes).await?;
            self.number += 1;
            self.ctx.metrics.history.wrote(rows.len(), now_ms);
            self.queues.backlog().learn(rows);
        }
        self.queues.backlog().forget(now_ms);
        self.learned.retain(|place| place.to_ms().saturating_add(compact::SETTLES_MS) >= now_ms);
        self.ctx.metrics.history.waiting(self.queues.of_history());
        Ok(())
    }

    async fn rows_of(&self, place: &Place) -> Result<Vec<Row>, HistoryError> {
        let listing = self.store.list(&place.to_string()).await?;
        let mut rows = Vec::new();
        for name in listing.get(place).into_iter().flat_map(|files| files.keys()) {
            rows.extend(self.store.rows(&place.file(name)).await?);
        }
        Ok(rows)
    }

    /// Merges and deletes what is due. A file that is none of ours keeps its own place from being merged, and no other.
    async fn merge(&self) -> Result<(), HistoryError> {
        let listing = self.store.list("").await?;
        for (place, work) in compact::work(&listing, self.ctx.now().0) {
            match self.merge_place(&place, work).await {
                Err(error @ HistoryError::File { .. }) => {
                    self.ctx.metrics.history.failures.inc();
                    tracing::warn!(error = with_causes(&error), "the files of {place} are not merged");
                }
                other => other?,
            }
        }
        Ok(())
    }

    async fn merge_place(&self, place: &Place, work: Work) -> Result<(), HistoryError> {
        let steps = match work {
            Work::Delete(names) => names.iter().map(|name| Step::Delete { path: place.file(name) }).collect(),
            Work::Merge { files, ended } => {
                let mut rows = Vec::new();
                for name in &files {
                    rows.extend(self.store.rows(&place.file(name)).await?);
                }
                let failed = |source| HistoryError::File { path: place.to_string(), source };
                compute(|| compact::steps(place, &files, rows, ended, write, name_of)).map_err(failed)?
            }
        };
        for step in steps {
            match step {
                Step::Put { path, bytes } => self.store.put(&path, bytes).await?,
                Step::Delete { path } => self.store.delete(&path).await?,
            }
        }
        Ok(())
    }
}

/// A file's name by its content.
fn name_of(bytes: &[u8]) -> String {
    hex::encode(&Sha256::digest(bytes)[..8])
}

#[cfg(test)]
mod tests;
