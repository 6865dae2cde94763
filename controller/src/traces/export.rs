//! Sends spans to a collector, some at a time. One that is away costs spans and nothing else.

use std::time::Duration;

use modelfleet_protocol::causes::with_causes;
use modelfleet_protocol::time::Time;
use modelfleet_telling::breaker::Breaker;
use reqwest::header::CONTENT_TYPE;
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::otlp::{PATH, SpanRecord, request};
use crate::clock::Clock;
use crate::metrics::traces::TraceMetrics;

/// Most spans of one request.
const BATCH_MAX: usize = 256;
/// Spans wait so long for others.
const GATHER: Duration = Duration::from_secs(1);
/// Longest time of one request.
const REQUEST_MAX: Duration = Duration::from_secs(5);
/// Longest time for the last spans when the process ends.
const LAST_MAX: Duration = Duration::from_secs(2);

/// Why spans cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The address is none.
    #[error("--otlp-endpoint {endpoint}: it must be a URL such as http://collector:4318")]
    Endpoint {
        /// As it was given.
        endpoint: String,
    },
    /// No client.
    #[error("make the client for the collector")]
    Client(#[source] reqwest::Error),
}

/// Sends spans to one collector.
pub struct Exporter {
    http: reqwest::Client,
    url: Url,
    instance: String,
    clock: Clock,
    metrics: TraceMetrics,
}

impl Exporter {
    /// For the collector at this address, of the process with this name.
    ///
    /// # Errors
    /// When the address is none, or no client can be made.
    pub fn new(
        endpoint: &str,
        instance: String,
        clock: Clock,
        metrics: TraceMetrics,
    ) -> Result<Exporter, ExportError> {
        let wrong = || ExportError::Endpoint { endpoint: endpoint.to_owned() };
        let url = Url::parse(&format!("{}/{PATH}", endpoint.trim_end_matches('/'))).map_err(|_| wrong())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong());
        }
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(REQUEST_MAX)
            .build()
            .map_err(ExportError::Client)?;
        Ok(Exporter { http, url, instance, clock, metrics })
    }

    /// Sends what comes until `stop`, and then what is left.
    pub async fn run(self, mut spans: Receiver<SpanRecord>, stop: CancellationToken) {
        let (mut batch, mut breaker) = (Vec::with_capacity(BATCH_MAX), Breaker::default());
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = spans.recv_many(&mut batch, BATCH_MAX) => {}
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(GATHER) => {}
            }
            while batch.len() < BATCH_MAX
                && let Ok(span) = spans.try_recv()
            {
                batch.push(span);
            }
            self.flush(&mut batch, &mut breaker).await;
        }
        spans.close();
        while let Some(span) = spans.recv().await {
            batch.push(span);
        }
        let _ = tokio::time::timeout(LAST_MAX, self.flush(&mut batch, &mut breaker)).await;
    }

    async fn flush(&self, batch: &mut Vec<SpanRecord>, breaker: &mut Breaker) {
        if batch.is_empty() {
            return;
        }
        let now = Time(u64::try_from(self.clock.elapsed().as_millis()).unwrap_or(u64::MAX));
        let result = match breaker.closed_until(now) {
            Some(_) => "dropped",
            None if self.send(batch, breaker.failures() == 0).await => {
                breaker.note_success();
                "sent"
            }
            None => {
                breaker.note_failure(None, now, rand::random());
                "dropped"
            }
        };
        self.metrics.count(result, batch.len());
        batch.clear();
    }

    async fn send(&self, batch: &[SpanRecord], told: bool) -> bool {
        let body = request(&self.instance, batch).to_string();
        let sent =
            self.http.post(self.url.clone()).header(CONTENT_TYPE, "application/json").body(body).send().await;
        let why = match sent {
            Ok(response) if response.status().is_success() => return true,
            Ok(response) => response.status().to_string(),
            Err(error) => with_causes(&error.without_url()),
        };
        if told {
            tracing::warn!(why, "the collector of traces takes no spans; they are given up until it does");
        }
        false
    }
}
