//! Where bytes come from: an HTTP server or a file.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::header;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use url::Url;

use super::{FetchError, Fetcher, disk};
use crate::http::{Client, range_start};

/// Bytes read from a file at once.
const FILE_CHUNK_BYTES: usize = 64 * 1024;

/// Characters of an address that are shown at most.
const SHOWN_MAX: usize = 80;

/// An address of bytes.
pub(super) enum Source {
    File(PathBuf),
    Http(Url),
}

/// A source that gives bytes.
pub(super) struct Opened {
    /// The offset at which they begin.
    pub(super) start: u64,
    stream: Stream,
}

enum Stream {
    Nothing,
    File(File),
    Http { body: Incoming, sized: bool },
}

type ChunkError = Box<dyn std::error::Error + Send + Sync>;

impl Source {
    pub(super) fn parse(uri: &str) -> Result<Source, FetchError> {
        let refuse = || FetchError::Address { uri: bare(uri) };
        let url = Url::parse(uri).map_err(|_| refuse())?;
        match url.scheme() {
            "http" | "https" => Ok(Source::Http(url)),
            "file" => url.to_file_path().map(Source::File).map_err(|()| refuse()),
            _ => Err(refuse()),
        }
    }

    /// Opens the source at `offset`, or at its beginning where it cannot do that.
    pub(super) async fn open(&self, fetcher: &Fetcher, offset: u64, size: u64) -> Result<Opened, FetchError> {
        match self {
            Source::File(path) => {
                let path = &below(fetcher.files.as_deref(), path)?;
                let mut file = File::open(path).await.map_err(disk("open", path))?;
                file.seek(std::io::SeekFrom::Start(offset)).await.map_err(disk("seek", path))?;
                Ok(Opened { start: offset, stream: Stream::File(file) })
            }
            Source::Http(url) => open_http(&fetcher.client, url, offset, size).await,
        }
    }
}

/// The file itself, if it lies below the folder for such files, wherever links lead.
fn below(folder: Option<&Path>, path: &Path) -> Result<PathBuf, FetchError> {
    let outside = || FetchError::Outside { path: path.to_owned(), folder: folder.map(Path::to_owned) };
    let root = folder.ok_or_else(outside)?;
    let root = root.canonicalize().map_err(disk("open", root))?;
    let file = path.canonicalize().map_err(disk("open", path))?;
    if file.starts_with(&root) { Ok(file) } else { Err(outside()) }
}

async fn open_http(client: &Client, url: &Url, offset: u64, size: u64) -> Result<Opened, FetchError> {
    let host = url.host_str().unwrap_or_default().to_owned();
    let mut answer = client.get(url, offset).await?;
    let odd = answer.status() == 416 || (answer.status() == 206 && range_start(&answer) != Some(offset));
    if odd && offset > 0 {
        // A server that misreads the range gets the plain question.
        answer = client.get(url, 0).await?;
    }
    let start = match answer.status().as_u16() {
        200 => 0,
        206 => offset,
        status => return Err(FetchError::Status { host, status }),
    };
    let kind = answer.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let length = answer.body().size_hint().exact();
    // A model is never a web page; a page of the right length would still have to hash to the digest.
    if kind.starts_with("text/html") && length != Some(size - start) {
        return Err(FetchError::WebPage { host });
    }
    Ok(Opened { start, stream: Stream::Http { body: answer.into_body(), sized: length.is_some() } })
}

/// An address, whatever it is, without its query, its fragment and its password: signatures in there are as
/// good as keys.
fn bare(uri: &str) -> String {
    let end = uri.find(['?', '#']).unwrap_or(uri.len());
    let (scheme, rest) = uri[..end].split_once("://").unwrap_or(("", &uri[..end]));
    let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let join = if scheme.is_empty() { "" } else { "://" };
    format!("{scheme}{join}{rest}").chars().take(SHOWN_MAX).collect()
}

impl Opened {
    /// Nothing more to come.
    pub(super) fn nothing(start: u64) -> Opened {
        Opened { start, stream: Stream::Nothing }
    }

    /// The next bytes; `None` at the end.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, ChunkError> {
        match &mut self.stream {
            Stream::Nothing => Ok(None),
            Stream::File(file) => {
                let mut buffer = vec![0; FILE_CHUNK_BYTES];
                let read = file.read(&mut buffer).await?;
                buffer.truncate(read);
                Ok((read > 0).then(|| buffer.into()))
            }
            Stream::Http { body, .. } => loop {
                match body.frame().await {
                    None => return Ok(None),
                    // Frames without data are trailers.
                    Some(frame) => {
                        if let Ok(data) = frame?.into_data() {
                            return Ok(Some(data));
                        }
                    }
                }
            },
        }
    }

    /// Whether an early end may be a broken connection: an answer without a stated length just ends.
    pub(super) fn cut_short(&self) -> bool {
        matches!(self.stream, Stream::Http { sized: false, .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(uri: &str, shown: &str) {
        match Source::parse(uri) {
            Err(FetchError::Address { uri }) => assert_eq!(uri, shown),
            Err(other) => panic!("{uri}: {other}"),
            Ok(_) => panic!("{uri} is taken"),
        }
    }

    #[test]
    fn secrets_of_an_address_are_not_shown() {
        check("s3://bucket/model?X-Amz-Signature=s3cret", "s3://bucket/model");
        check("ftp://user:s3cret@host/model#s3cret", "ftp://host/model");
        check("user:s3cret@host/model", "host/model");
        check("model.onnx?sig=s3cret", "model.onnx");
        check(&format!("ftp://{}", "x".repeat(200)), &format!("ftp://{}", "x".repeat(74)));
    }
}
