//! The local API: the Open Inference Protocol (version 2) over HTTP, and ground truth.

mod tensors;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path as UrlPath, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use modelfleet_agent_core::recorder::key;
use modelfleet_protocol::ids::ModelName;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::config::Listen;
use crate::mqtt::chain;
use crate::serve::{Answer, Model, Models, PredictError};
use crate::tensor::NamedTensor;
use tensors::InferRequest;

/// Most bytes of a request.
const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Predictions that run at once; others wait, within their time.
const AT_ONCE_MAX: usize = 4;
/// Longest id of a prediction.
const ID_LEN_MAX: usize = 128;

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
    /// The address could not be written for others to find.
    #[error("write the API's address to {path}")]
    Announce {
        /// The file.
        path: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It stopped.
    #[error("serve the local API")]
    Serve(#[source] std::io::Error),
}

#[derive(Clone)]
struct Api {
    models: Arc<Models>,
    patience: Duration,
    room: Arc<Semaphore>,
}

/// Serves the models of a device until `stop`. The address is logged and written to `api-address` in `dir`.
///
/// # Errors
/// When it cannot listen there.
pub async fn serve(
    listen: &Listen,
    dir: &Path,
    models: Arc<Models>,
    patience: Duration,
    stop: CancellationToken,
) -> Result<(), ApiError> {
    let router = router(Api { models, patience, room: Arc::new(Semaphore::new(AT_ONCE_MAX)) });
    let stopped = async move { stop.cancelled().await };
    match listen {
        Listen::Tcp(address) => {
            let failed = |source| ApiError::Listen { address: address.to_string(), source };
            let listener = TcpListener::bind(address).await.map_err(failed)?;
            let bound = listener.local_addr().map_err(failed)?;
            announce(dir, &format!("http://{bound}"))?;
            axum::serve(listener, router).with_graceful_shutdown(stopped).await.map_err(ApiError::Serve)
        }
        Listen::Unix(path) => {
            let failed = |source| ApiError::Listen { address: path.display().to_string(), source };
            // The folder's lock says that no other agent of this device listens here.
            let _ = std::fs::remove_file(path);
            let listener = UnixListener::bind(path).map_err(failed)?;
            announce(dir, &format!("unix:{}", path.display()))?;
            axum::serve(listener, router).with_graceful_shutdown(stopped).await.map_err(ApiError::Serve)
        }
    }
}

fn announce(dir: &Path, address: &str) -> Result<(), ApiError> {
    info!(address, "local API listens");
    let (path, fresh) = (dir.join("api-address"), dir.join("api-address.new"));
    std::fs::write(&fresh, format!("{address}\n"))
        .and_then(|()| std::fs::rename(&fresh, &path))
        .map_err(|source| ApiError::Announce { path: path.display().to_string(), source })
}

fn router(api: Api) -> Router {
    Router::new()
        .route("/v2", get(about))
        .route("/v2/health/live", get(|| async { Json(json!({"live": true})) }))
        .route("/v2/health/ready", get(ready))
        .route("/v2/models/{name}", get(model_about))
        .route("/v2/models/{name}/ready", get(model_ready))
        .route("/v2/models/{name}/infer", post(infer))
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
            PredictError::Run { source: crate::engine::RunError::Input { .. }, .. } => {
                StatusCode::BAD_REQUEST
            }
            PredictError::Run { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Refusal(status, chain(&error))
    }
}

impl Api {
    fn model(&self, name: &str) -> Result<Arc<Model>, Refusal> {
        let unknown = || Refusal(StatusCode::NOT_FOUND, format!("model {name:?} is not on this device"));
        name.parse::<ModelName>().ok().and_then(|name| self.models.get(&name)).ok_or_else(unknown)
    }
}

async fn about() -> Json<Value> {
    Json(
        json!({"name": "modelfleet-agent", "version": env!("CARGO_PKG_VERSION"), "extensions": ["feedback"]}),
    )
}

async fn ready(State(api): State<Api>) -> Response {
    let ready = api.models.all().iter().any(|model| model.live().is_some());
    readiness(ready)
}

async fn model_ready(State(api): State<Api>, UrlPath(name): UrlPath<String>) -> Result<Response, Refusal> {
    Ok(readiness(api.model(&name)?.live().is_some()))
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

async fn infer(
    State(api): State<Api>,
    UrlPath(name): UrlPath<String>,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    let model = api.model(&name)?;
    let bad = |reason: String| Refusal(StatusCode::BAD_REQUEST, reason);
    let request: InferRequest =
        serde_json::from_slice(&body).map_err(|e| bad(format!("request is not readable: {e}")))?;
    let id = match request.id {
        Some(id) if id.is_empty() || id.len() > ID_LEN_MAX => {
            return Err(bad(format!("an id has 1 to {ID_LEN_MAX} bytes")));
        }
        Some(id) => id,
        None => format!("{:016x}", rand::random::<u64>()),
    };
    let inputs: Result<Vec<NamedTensor>, String> =
        request.inputs.into_iter().map(TryInto::try_into).collect();
    let answer = predict(&api, &model, key(&id), inputs.map_err(bad)?).await?;
    let mut body = json!({
        "model_name": name,
        "model_version": answer.version,
        "id": id,
        "outputs": answer.outputs.iter().map(tensors::output).collect::<Vec<_>>(),
    });
    if answer.fallback {
        body["parameters"] = json!({"fallback": true, "filtered_by": answer.filtered_by});
    }
    Ok(Json(body))
}

/// Predicts off the runtime's threads, and gives up in time. The engine cannot be stopped: a prediction that
/// never ends keeps its place, and when all places are taken nothing is predicted any more.
async fn predict(
    api: &Api,
    model: &Arc<Model>,
    key: u64,
    inputs: Vec<NamedTensor>,
) -> Result<Answer, Refusal> {
    let (patience, counted) = (api.patience, Arc::new(AtomicBool::new(false)));
    let work = async {
        let place = api.room.clone().acquire_owned().await;
        let (model, counted) = (model.clone(), counted.clone());
        let (sender, receiver) = tokio::sync::oneshot::channel();
        tokio::task::spawn_blocking(move || {
            let _place = place;
            let answer = model.answer(key, &inputs, patience, &counted);
            // The caller may have given up.
            let _ = sender.send(answer);
            model.shadow_too(key, &inputs, patience);
        });
        receiver.await
    };
    match tokio::time::timeout(patience, work).await {
        Ok(Ok(answer)) => Ok(answer?),
        Ok(Err(_)) => Err(Refusal(StatusCode::INTERNAL_SERVER_ERROR, "the prediction was dropped".into())),
        Err(_) => Ok(model.gave_up(key, patience, &counted)?),
    }
}

#[derive(Deserialize)]
struct Feedback {
    id: String,
    truth: bool,
}

async fn feedback(
    State(api): State<Api>,
    UrlPath(name): UrlPath<String>,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    let model = api.model(&name)?;
    let feedback: Feedback = serde_json::from_slice(&body)
        .map_err(|e| Refusal(StatusCode::BAD_REQUEST, format!("feedback is {{\"id\", \"truth\"}}: {e}")))?;
    if model.truth(key(&feedback.id), feedback.truth) {
        Ok(Json(json!({"id": feedback.id})))
    } else {
        Err(Refusal(StatusCode::NOT_FOUND, "no prediction of this id is known (any more)".into()))
    }
}
