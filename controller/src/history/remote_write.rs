//! Closed windows to a store of time series, by Prometheus' remote write, each once and with its own time.
//!
//! Version 2 of the protocol is tried first. A receiver that knows version 1 alone refuses it, or takes a message in which it
//! finds nothing and does not say that it has written samples: then the same rows go out again in version 1.

use std::path::PathBuf;
use std::time::Duration;

use modelfleet_history::row::Row;
use modelfleet_history::series::series;
use modelfleet_protocol::causes::with_causes;
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use tokio_util::sync::CancellationToken;

use super::Queues;
use super::wire::{Version, body};
use crate::context::{Context, compute};

/// The longest that one request may take.
const REQUEST_MAX: Duration = Duration::from_secs(30);
/// Most rows of a request: some thousand samples.
const ROWS_MAX: usize = 100;
/// After a failure the next try waits so long, and after each further one twice as long.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(120);
/// A receiver of version 2 says here what it has written.
const WRITTEN: &str = "x-prometheus-remote-write-samples-written";
const VERSION: &str = "x-prometheus-remote-write-version";

/// Why rows were not sent. It changes nothing for any rollout.
#[derive(Debug, thiserror::Error)]
pub enum RemoteWriteError {
    /// There is no client for the address.
    #[error("make a client for remote write to {url}")]
    Client {
        /// The address.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// The file with the token cannot be read.
    #[error("read the token for remote write in {path}")]
    Token {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The rows cannot be compressed.
    #[error("compress a request of remote write")]
    Compress(#[from] snap::Error),
    /// The receiver is away, or breaks the connection.
    #[error("send windows by remote write")]
    Send(#[source] reqwest::Error),
    /// The receiver asks to try again later.
    #[error("the receiver of remote write answers {0}")]
    Later(StatusCode),
    /// The receiver refuses these samples for good.
    #[error("the receiver of remote write refuses samples with {status}: {why}")]
    Refused {
        /// What it answers.
        status: StatusCode,
        /// The beginning of its answer.
        why: String,
    },
    /// It has not said that it has written anything.
    #[error("the receiver of remote write does not speak version 2")]
    NotTwo,
}

/// A receiver of remote write.
pub struct RemoteWrite {
    client: reqwest::Client,
    url: String,
    token_file: Option<PathBuf>,
}

impl RemoteWrite {
    /// A receiver at an address. The token is read again for each request.
    ///
    /// # Errors
    /// When there is no client for it.
    pub fn new(url: &str, token_file: Option<PathBuf>) -> Result<RemoteWrite, RemoteWriteError> {
        let client = reqwest::Client::builder().timeout(REQUEST_MAX).build();
        let client = client.map_err(|source| RemoteWriteError::Client { url: url.to_owned(), source })?;
        Ok(RemoteWrite { client, url: url.to_owned(), token_file })
    }

    /// Sends what waits until `stop`.
    pub(super) async fn run(&self, ctx: &Context, queues: &Queues, stop: &CancellationToken) {
        let (mut version, mut backoff) = (Version::Two, BACKOFF_MIN);
        loop {
            let rows = queues.outgoing().next(ROWS_MAX);
            if rows.is_empty() {
                queues.outgoing().forget(ctx.now().0);
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = queues.news.notified() => continue,
                }
            }
            let sent = tokio::select! {
                () = stop.cancelled() => return,
                sent = self.send(&rows, version) => sent,
            };
            match sent {
                Ok(samples) => {
                    ctx.metrics.remote_write.samples.inc_by(samples as u64);
                    backoff = BACKOFF_MIN;
                }
                Err(RemoteWriteError::NotTwo) => {
                    tracing::info!("remote write goes on in version 1");
                    version = Version::One;
                    continue;
                }
                Err(error @ RemoteWriteError::Refused { .. }) => {
                    ctx.metrics.remote_write.failures.inc();
                    tracing::warn!(
                        error = with_causes(&error),
                        rows = rows.len(),
                        "windows are not sent again"
                    );
                }
                Err(error) => {
                    ctx.metrics.remote_write.failures.inc();
                    let seconds = backoff.as_secs();
                    tracing::warn!(
                        error = with_causes(&error),
                        "windows were not sent; trying again in {seconds} s"
                    );
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(backoff) => {}
                    }
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                    continue;
                }
            }
            queues.outgoing().done(&rows);
            ctx.metrics.remote_write.waiting(queues.of_remote_write());
        }
    }

    /// Sends rows. Returns how many samples they are.
    async fn send(&self, rows: &[Row], version: Version) -> Result<usize, RemoteWriteError> {
        let (samples, body) = compute(|| {
            let series = series(rows);
            (series.values().map(Vec::len).sum::<usize>(), body(version, &series))
        });
        let request = self.client.post(&self.url).body(body?);
        let request = request
            .header(CONTENT_TYPE, version.content_type())
            .header(CONTENT_ENCODING, "snappy")
            .header(VERSION, version.number());
        let request = match &self.token_file {
            Some(path) => {
                let text = tokio::fs::read_to_string(path).await;
                let text = text.map_err(|source| RemoteWriteError::Token { path: path.clone(), source })?;
                request.header(AUTHORIZATION, format!("Bearer {}", text.trim()))
            }
            None => request,
        };
        let answer = request.send().await.map_err(RemoteWriteError::Send)?;
        let (status, has_written) = (answer.status(), answer.headers().contains_key(WRITTEN));
        if version == Version::Two && ((status.is_success() && !has_written) || is_unknown(status)) {
            return Err(RemoteWriteError::NotTwo);
        }
        if status.is_success() {
            return Ok(samples);
        }
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(RemoteWriteError::Later(status));
        }
        if [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::NOT_FOUND].contains(&status) {
            // A person can repair these while the windows wait.
            return Err(RemoteWriteError::Later(status));
        }
        let why = answer.text().await.unwrap_or_default();
        Err(RemoteWriteError::Refused { status, why: why.chars().take(200).collect() })
    }
}

/// What a receiver answers that cannot read the message.
fn is_unknown(status: StatusCode) -> bool {
    [StatusCode::BAD_REQUEST, StatusCode::UNSUPPORTED_MEDIA_TYPE].contains(&status)
}

#[cfg(test)]
mod tests;
