//! Health and numbers over HTTP: `/healthz`, `/readyz`, `/metrics`, and `/malformed` with the sample of unreadable
//! messages; over TLS the devices too. Nothing here changes anything.

mod devices;
pub mod reviewed;
mod rights;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::metrics::Metrics;

/// So long a client of the broker may take over its first message that comes back, before the process is better begun
/// anew.
const STUCK_MAX: Duration = Duration::from_secs(600);

/// A watch that is broken for so long is told.
const WATCH_BROKEN_MAX: Duration = Duration::from_secs(15);

/// Why the server could not start or went away.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address is taken or not ours.
    #[error("listen on {address}")]
    Bind {
        /// Which address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The certificate cannot be used.
    #[error("serve metrics and devices over TLS")]
    Certificate(#[from] reviewed::CertificateError),
    /// The listener broke.
    #[error("serve http")]
    Serve(#[source] std::io::Error),
}

/// What the server shows.
#[derive(Clone)]
pub struct Shown {
    /// Numbers.
    pub metrics: Metrics,
    /// How far this process is.
    pub stand: Arc<Mutex<Stand>>,
}

/// How far this process is.
#[derive(Default)]
pub enum Stand {
    /// It has not reached the API server yet.
    #[default]
    Starting,
    /// Another process leads; this one could take over.
    Standby,
    /// It leads.
    Leading(Arc<Context>),
}

impl Shown {
    /// Moves on.
    pub fn set(&self, stand: Stand) {
        *self.stand.lock().unwrap_or_else(PoisonError::into_inner) = stand;
    }

    fn context(&self) -> Option<Arc<Context>> {
        match &*self.stand.lock().unwrap_or_else(PoisonError::into_inner) {
            Stand::Leading(ctx) => Some(Arc::clone(ctx)),
            Stand::Starting | Stand::Standby => None,
        }
    }
}

/// What says how many and which: of no interest to those who only ask whether the process is well.
fn numbers() -> Router<Shown> {
    Router::new().route("/metrics", get(metrics)).route("/malformed", get(malformed))
}

/// Serves until `stop`; `open`: the numbers as well, and not health alone.
///
/// # Errors
/// When the address cannot be listened on, or the listener breaks.
pub async fn serve(
    address: SocketAddr,
    shown: Shown,
    open: bool,
    stop: CancellationToken,
) -> Result<(), HttpError> {
    let listener = tokio::net::TcpListener::bind(address).await;
    let listener = listener.map_err(|source| HttpError::Bind { address, source })?;
    let health = Router::new().route("/healthz", get(health)).route("/readyz", get(ready));
    let router = if open { health.merge(numbers()) } else { health };
    let router = router.with_state(shown);
    let stopped = async move { stop.cancelled().await };
    axum::serve(listener, router).with_graceful_shutdown(stopped).await.map_err(HttpError::Serve)
}

/// 503 when a new process would be better: the broker accepts connections, and for so long nothing that was sent on them
/// has come back. A broker that is away is no reason: a new process would not find it either.
async fn health(State(shown): State<Shown>) -> Response {
    let stuck = shown.metrics.broker_stuck_for(Instant::now());
    if stuck < STUCK_MAX {
        return "ok\n".into_response();
    }
    let seconds = stuck.as_secs();
    let why = format!(
        "the broker accepts connections, but for {seconds} s no message of the controller has come back\n"
    );
    (StatusCode::SERVICE_UNAVAILABLE, why).into_response()
}

/// A standby is ready: it could take over. A leader is ready while it sees its objects and the whole fleet.
async fn ready(State(shown): State<Shown>) -> Response {
    let starting = matches!(*shown.stand.lock().unwrap_or_else(PoisonError::into_inner), Stand::Starting);
    let (connected, settled) = shown.metrics.last_link();
    let not_yet = |why: &'static str| (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    let broken = shown.metrics.broken_watch(Instant::now()).filter(|(_, time, _)| *time >= WATCH_BROKEN_MAX);
    match shown.context() {
        _ if starting => not_yet("the API server has not answered yet\n"),
        Some(_) if broken.is_some() => {
            let (kind, time, why) = broken.unwrap_or_default();
            let seconds = time.as_secs();
            let text = format!(
                "cannot watch {kind} for {seconds} s: {why}; check that the CustomResourceDefinitions are installed and that the \
                 controller may read these objects\n"
            );
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
        Some(_) if !connected => not_yet("no connection to the broker\n"),
        Some(_) if !settled => not_yet("reading the retained messages of the broker\n"),
        Some(_) => "leading\n".into_response(),
        None => "on standby\n".into_response(),
    }
}

async fn metrics(State(shown): State<Shown>) -> Response {
    match shown.metrics.text() {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn malformed(State(shown): State<Shown>) -> Response {
    let Some(ctx) = shown.context() else { return StatusCode::NOT_FOUND.into_response() };
    axum::Json(ctx.fleets.malformed()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_of_the_broker_that_makes_no_progress_is_no_good_health() {
        let shown = Shown { metrics: Metrics::new(), stand: Arc::default() };
        let ask = || async { health(State(shown.clone())).await.status() };
        assert_eq!(ask().await, StatusCode::OK);
        let long_ago = Instant::now() - STUCK_MAX - Duration::from_secs(1);
        shown.metrics.broker_accepts(long_ago);
        shown.metrics.broker_accepts(Instant::now());
        assert_eq!(ask().await, StatusCode::SERVICE_UNAVAILABLE, "another connection is no progress");
        shown.metrics.broker_moves();
        shown.metrics.broker_accepts(Instant::now());
        assert_eq!(ask().await, StatusCode::OK);
    }
}
