//! Metadata and health of the agent and its models, and the answer for unknown paths.

use axum::Json;
use axum::extract::{Path as UrlPath, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use modelfleet_agent_core::interface::Role;
use serde_json::{Value, json};

use super::{Api, Refusal};
use crate::serve::{Instance, Model};

/// Characters of a path that are repeated at most.
const SHOWN_MAX: usize = 200;

pub(super) async fn agent() -> Json<Value> {
    Json(
        json!({"name": "modelfleet-agent", "version": env!("CARGO_PKG_VERSION"), "extensions": ["feedback", "binary_tensor_data"]}),
    )
}

pub(super) async fn live() -> Json<Value> {
    Json(json!({"live": true}))
}

pub(super) async fn ready(State(api): State<Api>) -> Response {
    let ready = api.models.all().iter().any(|model| model.can_answer(Role::Live));
    match api.models.problem() {
        None => readiness(ready),
        Some(trouble) => response(ready, json!({"ready": ready, "trouble": trouble})),
    }
}

pub(super) async fn model_ready(
    State(api): State<Api>,
    UrlPath(name): UrlPath<String>,
) -> Result<Response, Refusal> {
    Ok(readiness(api.model(&name)?.can_answer(Role::Live)))
}

pub(super) fn readiness(ready: bool) -> Response {
    response(ready, json!({"ready": ready}))
}

fn response(ready: bool, answer: Value) -> Response {
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(answer)).into_response()
}

pub(super) async fn model(
    State(api): State<Api>,
    UrlPath(name): UrlPath<String>,
) -> Result<Json<Value>, Refusal> {
    let model = api.model(&name)?;
    let live = model.live().ok_or_else(|| model.not_ready())?;
    Ok(Json(described(&model, &live)))
}

/// A build that answers, as the protocol describes it.
pub(super) fn described(model: &Model, live: &Instance) -> Value {
    let platform = format!("onnx_{}", live.ready.engine.to_ascii_lowercase());
    let build = &live.build;
    json!({
        "name": model.name(),
        "versions": [build.version.to_string()],
        "platform": platform,
        "inputs": build.inputs,
        "outputs": build.outputs,
    })
}

/// Nothing is at this path: what is.
pub(super) async fn nothing_there(State(api): State<Api>, uri: Uri) -> Refusal {
    let path: String = uri.path().chars().take(SHOWN_MAX).collect();
    let models: Vec<String> = api.models.all().iter().map(|model| model.name().to_string()).collect();
    let models = if models.is_empty() { "none yet".to_owned() } else { models.join(", ") };
    let reason = format!(
        "there is nothing at {path}; try /v2, /v2/health/ready, /v2/models/NAME or /v2/models/NAME/infer; models on this \
         device: {models}"
    );
    Refusal(StatusCode::NOT_FOUND, reason)
}

/// Something is at this path, for another method.
pub(super) async fn wrong_method(method: Method, uri: Uri) -> Refusal {
    let path: String = uri.path().chars().take(SHOWN_MAX).collect();
    let other = if method == Method::POST { "GET" } else { "POST" };
    Refusal(StatusCode::METHOD_NOT_ALLOWED, format!("{path} does not support {method}; use {other}"))
}
