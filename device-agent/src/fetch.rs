//! Downloads builds to the disk. A download continues where it stopped, and is verified before the model is parsed.

mod details;
mod error;
mod source;
mod verify;

use std::path::{Path, PathBuf};
use std::time::Duration;

use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::model::ModelBuild;
use tokio::fs::{self, OpenOptions};
use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;

use crate::http::Client;
use crate::store::make_room_for_file;
pub use error::{Again, FetchError};
use source::{Opened, Source};
pub use verify::{Keys, KeysError, SignatureError};

/// Disk space that a download leaves free, bytes.
const SPARE_BYTES: u64 = 4 * 1024 * 1024;
/// Largest model that is fetched at all, bytes.
const SIZE_BYTES_MAX: u64 = 16 * 1024 * 1024 * 1024;

/// How long a download may take.
#[derive(Clone, Copy, Debug)]
pub struct TimeLimits {
    /// Longest pause between two bytes.
    pub stall: Duration,
    /// Longest time as a whole; what a byte rate makes necessary is added.
    pub total: Duration,
}

impl Default for TimeLimits {
    fn default() -> TimeLimits {
        TimeLimits { stall: Duration::from_secs(60), total: Duration::from_secs(4 * 3600) }
    }
}

/// A file that is to be downloaded, as the signed plan names it.
struct Wanted<'a> {
    uri: &'a str,
    digest: Digest,
    size_bytes: u64,
}

/// Fetches builds into one folder.
#[derive(Clone)]
pub struct Fetcher {
    /// Folder for verified bytes, by digest.
    pub blobs: PathBuf,
    /// Asks HTTP servers.
    pub client: Client,
    /// Folder below which `file://` addresses may lie; none: they are refused.
    pub files: Option<PathBuf>,
    /// Who may sign models; none: the digest alone decides.
    pub keys: Keys,
    /// How long a download may take.
    pub time_limit: TimeLimits,
    /// Whether bytes are on disk when a call returns.
    pub durable: bool,
}

impl Fetcher {
    /// Downloads and verifies a build. Returns the path of its bytes; at once if they are on disk already.
    ///
    /// # Errors
    /// When the bytes cannot be had, or are not what the plan and the device's keys say.
    pub async fn fetch(
        &self,
        build: &ModelBuild,
        bytes_per_second: u64,
        progress: impl Fn(u64),
    ) -> Result<PathBuf, FetchError> {
        if build.size_bytes > SIZE_BYTES_MAX {
            return Err(FetchError::Size(build.size_bytes));
        }
        let wanted = Wanted { uri: &build.uri, digest: build.digest, size_bytes: build.size_bytes };
        let target = self.blobs.join(build.digest.hex());
        make_room_for_file(&target).map_err(disk("make room at", &target))?;
        if self.is_there(&wanted, &target).await? {
            self.keys.check_file(&target, build).await?;
        } else {
            let part = self.fetch_part(&wanted, bytes_per_second, &progress).await?;
            self.keys.check_file(&part, build).await?;
            self.publish(&part, &target).await?;
        }
        Ok(target)
    }

    /// Downloads a file and checks its digest. Returns the path of its bytes, which have not got their name yet.
    async fn fetch_part(
        &self,
        wanted: &Wanted<'_>,
        bytes_per_second: u64,
        progress: &impl Fn(u64),
    ) -> Result<PathBuf, FetchError> {
        let part = self.part(&wanted.digest);
        make_room_for_file(&part).map_err(disk("make room at", &part))?;
        let total = self.time_limit.total + Duration::from_secs(rate_seconds(wanted, bytes_per_second));
        let work = self.download(wanted, &part, bytes_per_second, progress);
        let outcome = tokio::time::timeout(total, work).await;
        outcome.unwrap_or_else(|_| {
            let bytes = std::fs::metadata(&part).map_or(0, |m| m.len());
            Err(FetchError::TooSlow { after: total, bytes })
        })?;
        Ok(part)
    }

    fn part(&self, digest: &Digest) -> PathBuf {
        self.blobs.join(format!("{}.part", digest.hex()))
    }

    /// Drops what an unfinished download has left.
    pub async fn forget(&self, digest: &Digest) {
        // Nothing there is as good as deleted.
        let _ = fs::remove_file(self.part(digest)).await;
    }

    /// Whether the verified bytes are there and still whole.
    async fn is_there(&self, wanted: &Wanted<'_>, target: &Path) -> Result<bool, FetchError> {
        match fs::metadata(target).await {
            Ok(found) if found.len() == wanted.size_bytes => {}
            Ok(_) => return Ok(false),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(disk("look at", target)(e)),
        }
        let (hash, _) = verify::hash_file(target).await?;
        Ok(verify::digest(hash) == wanted.digest)
    }

    async fn download(
        &self,
        wanted: &Wanted<'_>,
        part: &Path,
        bytes_per_second: u64,
        progress: &impl Fn(u64),
    ) -> Result<(), FetchError> {
        let source = Source::parse(wanted.uri)?;
        let mut have = fs::metadata(part).await.map_or(0, |m| m.len());
        if have > wanted.size_bytes {
            have = 0;
        }
        room(&self.blobs, wanted.size_bytes - have)?;
        let mut opened = if have == wanted.size_bytes && have > 0 {
            Opened::nothing(have)
        } else {
            source.open(self, have, wanted.size_bytes).await?
        };
        let resumed = opened.start > 0 && opened.start == have;
        let mut file = OpenOptions::new();
        let file = file.create(true).write(true).truncate(!resumed).append(resumed).open(part).await;
        let mut file = file.map_err(disk("open", part))?;
        let (mut hash, mut bytes) =
            if resumed { verify::hash_file(part).await? } else { verify::Hash::fresh() };
        let arrived: Result<(), FetchError> = async {
            let start = Instant::now();
            let before = bytes;
            while bytes <= wanted.size_bytes {
                let next = tokio::time::timeout(self.time_limit.stall, opened.chunk()).await;
                let stalled = |_| FetchError::Stalled { after: self.time_limit.stall, bytes };
                let chunk = next.map_err(stalled)?;
                let Some(chunk) = chunk.map_err(|source| FetchError::Cut { bytes, source })? else { break };
                file.write_all(&chunk).await.map_err(disk("write", part))?;
                hash.update(&chunk);
                bytes += chunk.len() as u64;
                progress(bytes);
                if bytes_per_second > 0 {
                    let due = Duration::from_secs_f64((bytes - before) as f64 / bytes_per_second as f64);
                    tokio::time::sleep_until(start + due).await;
                }
            }
            Ok(())
        }
        .await;
        // What came before a broken end counts the next time.
        file.flush().await.map_err(disk("write", part))?;
        arrived?;
        if self.durable {
            file.sync_all().await.map_err(disk("sync", part))?;
        }
        if bytes < wanted.size_bytes && opened.cut_short() {
            let source = "the connection ended early".into();
            return Err(FetchError::Cut { bytes, source });
        }
        let found = verify::digest(hash);
        if found == wanted.digest && bytes == wanted.size_bytes {
            return Ok(());
        }
        // Wrong bytes are no start for a later try.
        self.forget(&wanted.digest).await;
        if resumed {
            return Err(FetchError::ResumedMismatch);
        }
        Err(FetchError::DigestMismatch { expected: wanted.digest, size: wanted.size_bytes, found, bytes })
    }

    async fn publish(&self, part: &Path, target: &Path) -> Result<(), FetchError> {
        fs::rename(part, target).await.map_err(disk("rename", part))?;
        if self.durable {
            let dir = fs::File::open(&self.blobs).await.map_err(disk("open", &self.blobs))?;
            dir.sync_all().await.map_err(disk("sync", &self.blobs))?;
        }
        Ok(())
    }
}

fn rate_seconds(wanted: &Wanted<'_>, bytes_per_second: u64) -> u64 {
    wanted.size_bytes.checked_div(bytes_per_second).unwrap_or(0).saturating_mul(2)
}

pub(crate) fn disk(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> FetchError {
    let path = path.to_owned();
    move |source| FetchError::Disk { what, path, source }
}

fn room(dir: &Path, more: u64) -> Result<(), FetchError> {
    let space = rustix::fs::statvfs(dir).map_err(|e| disk("look at", dir)(e.into()))?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let needed = more.saturating_add(SPARE_BYTES);
    if free < needed { Err(FetchError::DiskFull { needed, free }) } else { Ok(()) }
}
