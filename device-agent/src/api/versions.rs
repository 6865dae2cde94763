//! The versions of a model by name. One answers at a time: the one that the rollout has brought.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path as UrlPath, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::metadata::{described, readiness};
use super::{Api, Refusal};
use crate::serve::{Instance, Model};

/// The version that a request is for; without one it is for whichever answers.
#[derive(Clone, Debug)]
pub(super) struct Wanted(String);

impl Wanted {
    /// Whether the request may go to what answers now.
    ///
    /// # Errors
    /// When another version answers, or none.
    pub(super) fn check(&self, model: &Model, live: Option<&Instance>) -> Result<(), Refusal> {
        let Wanted(wanted) = self;
        match live {
            Some(live) if live.build.version.to_string() == *wanted => Ok(()),
            Some(live) => {
                let (name, version) = (model.name(), &live.build.version);
                let reason =
                    format!("version {wanted:?} of {name} is not running on this device; {version} is");
                Err(Refusal(StatusCode::NOT_FOUND, reason))
            }
            None => Err(model.not_ready().into()),
        }
    }
}

fn found(api: &Api, name: &str, version: String) -> Result<(Arc<Model>, Option<Arc<Instance>>), Refusal> {
    let model = api.model(name)?;
    let live = model.live();
    Wanted(version).check(&model, live.as_deref())?;
    Ok((model, live))
}

pub(super) async fn all(
    State(api): State<Api>,
    UrlPath(name): UrlPath<String>,
) -> Result<Json<Value>, Refusal> {
    let versions: Vec<String> =
        api.model(&name)?.live().iter().map(|live| live.build.version.to_string()).collect();
    Ok(Json(json!({"name": name, "versions": versions})))
}

pub(super) async fn about(
    State(api): State<Api>,
    UrlPath((name, version)): UrlPath<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    let (model, live) = found(&api, &name, version)?;
    let live = live.ok_or_else(|| model.not_ready())?;
    Ok(Json(described(&model, &live)))
}

pub(super) async fn ready(
    State(api): State<Api>,
    UrlPath((name, version)): UrlPath<(String, String)>,
) -> Result<Response, Refusal> {
    let model = api.model(&name)?;
    let answers = Wanted(version).check(&model, model.live().as_deref());
    match answers {
        Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, _)) => Ok(readiness(false)),
        answers => answers.map(|()| readiness(true)),
    }
}

pub(super) async fn infer(
    State(api): State<Api>,
    UrlPath((name, version)): UrlPath<(String, String)>,
    mut request: Request,
) -> Result<Response, Refusal> {
    request.extensions_mut().insert(Wanted(version));
    super::infer::infer(State(api), UrlPath(name), request).await.map(|told| told.into_response())
}
