//! The local API: the Open Inference Protocol (version 2) over HTTP, and ground truth.

mod access;
mod address;
mod answer;
mod bodies;
mod connection_limit;
mod connections;
mod elements;
mod infer;
mod metadata;
mod python;
pub mod request;
mod stuck;
mod tracked_stream;
mod truth;
mod versions;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use modelfleet_protocol::ids::ModelName;
use serde_json::json;
use tokio::net::UnixListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::config::Listen;
use crate::engine::RunError;
use crate::log::chain;
use crate::serve::{Model, Models, PredictError};
pub use access::AccessRules;
use connections::Service;

/// Predictions are taken to be stuck when for so many times the time_limit none of a build has ended.
const STUCK_PATIENCES: u32 = 30;
/// They are stuck after this time at the earliest.
const STUCK_LEAST: Duration = Duration::from_secs(1);

/// Why the local API does not run.
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
    #[error("predictions of {model} {version} have been hanging for {} ms; a new process is needed", after.as_millis())]
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
    time_limit: Duration,
    /// Requests that found no place are read one at a time.
    late: Arc<Semaphore>,
}

/// Serves the models of a device until `stop`, and some seconds longer to those who have asked. The address is
/// logged and written to `api-address` in `dir`. A prediction may take `time_limit`; `access` may ask.
///
/// # Errors
/// When it cannot listen there, or when the predictions of a build that answers are stuck for good.
pub async fn serve(
    listen: &Listen,
    dir: &Path,
    models: Arc<Models>,
    time_limit: Duration,
    access: AccessRules,
    stop: CancellationToken,
) -> Result<(), ApiError> {
    let after = time_limit.saturating_mul(STUCK_PATIENCES).max(STUCK_LEAST);
    let watched = models.clone();
    let router = router(Api { models, time_limit, late: Arc::new(Semaphore::new(1)) });
    let service = Service { router, access: Arc::new(access) };
    let served = async {
        match listen {
            Listen::Tcp(address) => {
                let failed = |source| ApiError::Listen { address: address.to_string(), source };
                let listener = address::bind(*address, dir).await.map_err(failed)?;
                let bound = listener.local_addr().map_err(failed)?;
                address::announce(dir, &format!("http://{bound}"));
                connections::serve(listener, service, stop).await;
            }
            Listen::Unix(path) => {
                let failed = |source| ApiError::Listen { address: path.display().to_string(), source };
                // The folder's lock says that no other agent of this device listens here. What cannot be removed is
                // told by the bind.
                let _ = std::fs::remove_file(path);
                if path.is_dir() {
                    return Err(failed(std::io::Error::other(
                        "a folder is there; remove it, or name another path",
                    )));
                }
                let listener = UnixListener::bind(path).map_err(failed)?;
                // For programs of the agent's group, and no others.
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(failed)?;
                address::announce(dir, &format!("unix:{}", path.display()));
                connections::serve(listener, service, stop).await;
            }
        }
        Ok(())
    };
    tokio::select! {
        outcome = served => outcome,
        stuck = stuck::found(&watched, after) => Err(stuck),
    }
}

fn router(api: Api) -> Router {
    Router::new()
        .route("/v2", get(metadata::agent))
        .route("/v2/health/live", get(metadata::live))
        .route("/v2/health/ready", get(metadata::ready))
        .route("/v2/models/{name}", get(metadata::model))
        .route("/v2/models/{name}/ready", get(metadata::model_ready))
        .route("/v2/models/{name}/infer", post(infer::infer))
        .route("/v2/models/{name}/versions", get(versions::all))
        .route("/v2/models/{name}/versions/", get(versions::all))
        .route("/v2/models/{name}/versions/{version}", get(versions::about))
        .route("/v2/models/{name}/versions/{version}/ready", get(versions::ready))
        .route("/v2/models/{name}/versions/{version}/infer", post(versions::infer))
        .route("/v2/models/{name}/truth", post(truth::tell).get(truth::quality))
        .route("/v2/models/{name}/feedback", post(truth::feedback))
        .fallback(metadata::nothing_there)
        .method_not_allowed_fallback(metadata::wrong_method)
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
            PredictError::NotReady { .. } => StatusCode::SERVICE_UNAVAILABLE,
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
        let unknown = || Refusal(StatusCode::NOT_FOUND, format!("this device has no model {name:?}"));
        name.parse::<ModelName>().ok().and_then(|name| self.models.get(&name)).ok_or_else(unknown)
    }
}
