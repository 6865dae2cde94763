//! The local API: the Open Inference Protocol (version 2) over HTTP, and ground truth.

mod answer;
mod binary;
mod connections;
mod elements;
mod infer;
mod request;
mod stuck;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest as _, Path as UrlPath, Request, State};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use modelfleet_agent_core::recorder::key;
use modelfleet_agent_core::words::Role;
use modelfleet_protocol::ids::ModelName;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::Listen;
use crate::engine::RunError;
use crate::mqtt::chain;
use crate::serve::{Model, Models, PredictError};

/// Most bytes of a request.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Longest that a request's body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Predictions are taken to be stuck when for so many times the patience none of a build has ended.
const STUCK_PATIENCES: u32 = 30;
/// They are stuck after this time at the earliest.
const STUCK_LEAST: Duration = Duration::from_secs(1);

/// Why the API does not run.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// It cannot listen.
    #[error("listen on {address}")]
    Listen {
        /// Where.
        address: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The build that answers has threads that do not come back; only a new process is rid of them.
    #[error("no prediction of {model} {version} has ended for {} ms; only a new process helps", after.as_millis())]
    Stuck {
        /// The model.
        model: ModelName,
        /// The version that answers.
        version: String,
        /// For how long.
        after: Duration,
    },
}

#[derive(Clone)]
struct Api {
    models: Arc<Models>,
    patience: Duration,
    /// Requests that found no place are read one at a time.
    late: Arc<Semaphore>,
    /// Room for the bodies of requests that are not read yet, KiB.
    room: Arc<Semaphore>,
}

/// Bytes of all requests together that wait to be read: a burst of large ones waits at the door, not in memory.
const ROOM_BYTES: usize = 8 * BODY_BYTES_MAX;

/// Serves the models of a device until `stop`, and some seconds longer to those who have asked. The address is
/// logged and written to `api-address` in `dir`. A prediction may take `patience`.
///
/// # Errors
/// When it cannot listen there, or when the predictions of a build that answers are stuck for good.
pub async fn serve(
    listen: &Listen,
    dir: &Path,
    models: Arc<Models>,
    patience: Duration,
    stop: CancellationToken,
) -> Result<(), ApiError> {
    let after = patience.saturating_mul(STUCK_PATIENCES).max(STUCK_LEAST);
    let watched = models.clone();
    let router = router(Api {
        models,
        patience,
        late: Arc::new(Semaphore::new(1)),
        room: Arc::new(Semaphore::new(ROOM_BYTES / 1024)),
    });
    let served = async {
        match listen {
            Listen::Tcp(address) => {
                let failed = |source| ApiError::Listen { address: address.to_string(), source };
                let listener = TcpListener::bind(address).await.map_err(failed)?;
                let bound = listener.local_addr().map_err(failed)?;
                announce(dir, &format!("http://{bound}"));
                connections::serve(listener, router, stop).await;
            }
            Listen::Unix(path) => {
                let failed = |source| ApiError::Listen { address: path.display().to_string(), source };
                // The folder's lock says that no other agent of this device listens here.
                let _ = std::fs::remove_file(path);
                let listener = UnixListener::bind(path).map_err(failed)?;
                announce(dir, &format!("unix:{}", path.display()));
                connections::serve(listener, router, stop).await;
            }
        }
        Ok(())
    };
    tokio::select! {
        outcome = served => outcome,
        stuck = stuck::found(&watched, after) => Err(stuck),
    }
}

/// Tells others where the API is. Those who know need no file.
fn announce(dir: &Path, address: &str) {
    info!(address, "local API listens");
    let (path, fresh) = (dir.join("api-address"), dir.join("api-address.new"));
    let written =
        std::fs::write(&fresh, format!("{address}\n")).and_then(|()| std::fs::rename(&fresh, &path));
    if let Err(error) = written {
        warn!(path = %path.display(), %error, "the API's address could not be written");
    }
}

fn router(api: Api) -> Router {
    Router::new()
        .route("/v2", get(about))
        .route("/v2/health/live", get(|| async { Json(json!({"live": true})) }))
        .route("/v2/health/ready", get(ready))
        .route("/v2/models/{name}", get(model_about))
        .route("/v2/models/{name}/ready", get(model_ready))
        .route("/v2/models/{name}/infer", post(infer::infer))
        .route("/v2/models/{name}/feedback", post(feedback))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(api)
}

/// A refusal: a status and `{"error": ...}`, as the protocol has it.
struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(json!({"error": self.1}))).into_response()
    }
}

impl From<PredictError> for Refusal {
    fn from(error: PredictError) -> Refusal {
        let status = match &error {
            PredictError::NotReady(_) => StatusCode::SERVICE_UNAVAILABLE,
            PredictError::Timeout { .. } => StatusCode::GATEWAY_TIMEOUT,
            PredictError::Refused { .. }
            | PredictError::Run {
                source: RunError::Values { .. } | RunError::Large { .. } | RunError::Memory { .. },
                ..
            } => StatusCode::BAD_REQUEST,
            PredictError::Run { .. } | PredictError::Dropped { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Refusal(status, chain(&error))
    }
}

fn bad(reason: String) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, reason)
}

impl Api {
    fn model(&self, name: &str) -> Result<Arc<Model>, Refusal> {
        let unknown = || Refusal(StatusCode::NOT_FOUND, format!("model {name:?} is not on this device"));
        name.parse::<ModelName>().ok().and_then(|name| self.models.get(&name)).ok_or_else(unknown)
    }
}

impl Api {
    /// Room for the body of a request; given back when it is dropped.
    async fn room(&self, headers: &HeaderMap) -> Result<OwnedSemaphorePermit, Refusal> {
        let told = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        // One that does not say may have as much as any; one with more is refused when it is read.
        let kib = told.unwrap_or(BODY_BYTES_MAX).min(BODY_BYTES_MAX) / 1024 + 1;
        let kib = u32::try_from(kib).unwrap_or(u32::MAX);
        match tokio::time::timeout(self.patience, self.room.clone().acquire_many_owned(kib)).await {
            Ok(Ok(room)) => Ok(room),
            _ => Err(Refusal(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("{ROOM_BYTES} bytes of requests wait already; ask again later"),
            )),
        }
    }
}

/// The bytes of a request, if there are not too many and they do not take too long.
async fn body(request: Request) -> Result<Bytes, Refusal> {
    match tokio::time::timeout(BODY_TIMEOUT, Bytes::from_request(request, &())).await {
        Ok(read) => read.map_err(|refused| Refusal(refused.status(), refused.body_text())),
        Err(_) => {
            let seconds = BODY_TIMEOUT.as_secs();
            Err(Refusal(StatusCode::REQUEST_TIMEOUT, format!("the body took more than {seconds} s")))
        }
    }
}

async fn about() -> Json<Value> {
    Json(
        json!({"name": "modelfleet-agent", "version": env!("CARGO_PKG_VERSION"), "extensions": ["feedback", "binary_tensor_data"]}),
    )
}

async fn ready(State(api): State<Api>) -> Response {
    let ready = api.models.all().iter().any(|model| model.can_answer(Role::Live));
    readiness(ready)
}

async fn model_ready(State(api): State<Api>, UrlPath(name): UrlPath<String>) -> Result<Response, Refusal> {
    Ok(readiness(api.model(&name)?.can_answer(Role::Live)))
}

fn readiness(ready: bool) -> Response {
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({"ready": ready}))).into_response()
}

async fn model_about(State(api): State<Api>, UrlPath(name): UrlPath<String>) -> Result<Json<Value>, Refusal> {
    let model = api.model(&name)?;
    let live = model.live().ok_or_else(|| PredictError::NotReady(model.name().clone()))?;
    let platform = format!("onnx_{}", live.ready.engine.to_ascii_lowercase());
    let build = &live.build;
    Ok(Json(json!({
        "name": name,
        "versions": [build.version.to_string()],
        "platform": platform,
        "inputs": build.inputs,
        "outputs": build.outputs,
    })))
}

#[derive(Deserialize)]
struct Feedback {
    id: String,
    truth: bool,
}

async fn feedback(
    State(api): State<Api>,
    UrlPath(name): UrlPath<String>,
    request: Request,
) -> Result<Json<Value>, Refusal> {
    let model = api.model(&name)?;
    let feedback: Feedback = serde_json::from_slice(&body(request).await?)
        .map_err(|e| bad(format!("feedback is {{\"id\", \"truth\"}}: {e}")))?;
    if model.truth(key(&feedback.id), feedback.truth) {
        Ok(Json(json!({"id": feedback.id})))
    } else {
        Err(Refusal(StatusCode::NOT_FOUND, "no prediction of this id is known (any more)".into()))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use axum::body::Body;
    use hyper::body::Frame;

    use super::*;

    /// A body of which nothing ever comes.
    struct Silence;

    impl hyper::body::Body for Silence {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_comes_is_not_waited_for() {
        let start = tokio::time::Instant::now();
        let refused = body(Request::new(Body::new(Silence))).await.err().unwrap();
        assert_eq!((refused.0, start.elapsed()), (StatusCode::REQUEST_TIMEOUT, BODY_TIMEOUT));
    }
}
