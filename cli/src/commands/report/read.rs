//! Rows from where history is kept.

use futures::{StreamExt as _, TryStreamExt as _};
use modelfleet_history::compact::listing;
use modelfleet_history::place::Tier;
use modelfleet_history::report::files;
use modelfleet_history::row::Row;
use modelfleet_history_file::FileError;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};

use super::About;
use crate::register::store::{StoreError, opened};

/// Files that are read at a time.
const AT_A_TIME: usize = 8;

/// Why history cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The address.
    #[error("open the history")]
    Open(#[from] StoreError),
    /// The store refuses or is away.
    #[error("read {path} of the history")]
    Store {
        /// What.
        path: String,
        /// Why.
        source: object_store::Error,
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

/// All rows of a model that a report of this time may count.
pub(super) async fn rows(
    history: &str,
    about: &About,
    since_ms: u64,
    until_ms: u64,
) -> Result<Vec<Row>, ReadError> {
    let (store, below) = opened("--history", history)?;
    let mut found = Vec::new();
    for tier in Tier::ALL {
        let folder = format!("{}/{}/{}", tier.name(), about.namespace, about.model);
        let prefix = Path::from(format!("{below}/{folder}"));
        let listed = store.list(Some(&prefix)).try_collect::<Vec<_>>().await;
        let listed = listed.map_err(|source| ReadError::Store { path: folder, source })?;
        found.extend(listed.into_iter().map(|object| (object.location, object.size)));
    }
    let relative = |path: &Path| {
        let path = path.as_ref();
        path.strip_prefix(below.as_ref()).unwrap_or(path).trim_start_matches('/').to_owned()
    };
    let found: Vec<(String, u64)> = found.iter().map(|(path, size)| (relative(path), *size)).collect();
    let listing = listing(found.iter().map(|(path, size)| (path.as_str(), *size)));
    let wanted = files(&listing, &about.namespace, &about.model, since_ms, until_ms);
    let reads = wanted.into_iter().map(|path| read(&*store, &below, path));
    let read: Vec<Vec<Row>> = futures::stream::iter(reads).buffered(AT_A_TIME).try_collect().await?;
    Ok(read.into_iter().flatten().collect())
}

async fn read(store: &dyn ObjectStore, below: &Path, path: String) -> Result<Vec<Row>, ReadError> {
    let got = async { store.get(&Path::from(format!("{below}/{path}"))).await?.bytes().await };
    match got.await {
        // It was merged into another file meanwhile.
        Err(object_store::Error::NotFound { .. }) => Ok(Vec::new()),
        Err(source) => Err(ReadError::Store { path, source }),
        Ok(bytes) => modelfleet_history_file::read(bytes).map_err(|source| ReadError::File { path, source }),
    }
}
