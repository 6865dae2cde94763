//! One prediction over HTTP: a place, the inputs, the answer, all within the caller's patience.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path as UrlPath, Request, State};
use modelfleet_agent_core::recorder::{Outcome, key};
use serde_json::json;
use tokio::time::{Instant, timeout, timeout_at};

use super::bodies::{Told, body};
use super::tensors::{self, InferRequest};
use super::versions::Wanted;
use super::{Api, Refusal, bad};
use crate::serve::{Answer, Case, Instance, Model, Place, PredictError};
use crate::tensor::NamedTensor;

/// Longest id of a prediction.
const ID_LEN_MAX: usize = 128;

/// What is asked, on its way through one build. The engine's thread may need it longer than the caller.
struct Task {
    instance: Arc<Instance>,
    key: u64,
    inputs: Arc<[NamedTensor]>,
    patience: Duration,
    booked: AtomicBool,
}

impl Task {
    fn case(&self) -> Case<'_> {
        let Task { instance, key, inputs, patience, booked } = self;
        Case { instance, key: *key, inputs, patience: *patience, booked }
    }

    /// The same for another build.
    fn with(&self, instance: Arc<Instance>) -> Task {
        let Task { key, patience, .. } = *self;
        Task { instance, key, inputs: self.inputs.clone(), patience, booked: AtomicBool::new(false) }
    }
}

pub(super) async fn infer(
    State(api): State<Api>,
    UrlPath(name): UrlPath<String>,
    request: Request,
) -> Result<Told, Refusal> {
    let model = api.model(&name)?;
    let wanted = request.extensions().get::<Wanted>().cloned();
    let body = body(request).await?;
    // From here on the request is this build's, whatever is switched to meanwhile.
    let instance = model.live();
    if let Some(wanted) = wanted {
        wanted.check(&model, instance.as_deref())?;
    }
    let until = Instant::now() + api.patience;
    let place = match &instance {
        Some(instance) => timeout_at(until, instance.ready.places.take()).await.ok().flatten(),
        None => None,
    };
    // Inputs take many times the memory of their text. Those that found no place are looked at for the books
    // only, one after the other.
    let late = if place.is_none() { api.late.acquire().await.ok() } else { None };
    let (id, inputs) = unpack(body)?;
    let answer = match instance {
        None => model.absent(key(&id))?,
        Some(instance) => {
            let (key, patience, booked) = (key(&id), api.patience, AtomicBool::new(false));
            let task = Task { instance, key, inputs, patience, booked };
            match place {
                Some(place) => predict(&model, task, place, until).await?,
                None => model.gave_up(&task.case())?,
            }
        }
    };
    drop(late);
    let mut told = json!({
        "model_name": name,
        "model_version": answer.version,
        "id": id,
        "outputs": answer.outputs.iter().map(tensors::output).collect::<Vec<_>>(),
    });
    if answer.fallback {
        told["parameters"] = json!({"fallback": true, "filtered_by": answer.filtered_by});
    }
    Ok(Told(told))
}

fn unpack(body: Bytes) -> Result<(String, Arc<[NamedTensor]>), Refusal> {
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
    Ok((id, inputs.map_err(bad)?.into()))
}

/// Predicts off the runtime's threads, and gives up in time. The engine cannot be stopped: a prediction that
/// never ends keeps its place, which is one of the build's own.
async fn predict(
    model: &Arc<Model>,
    task: Task,
    place: Place,
    until: Instant,
) -> Result<Answer, PredictError> {
    let task = Arc::new(task);
    let (engine, asked) = (model.clone(), task.clone());
    let work = tokio::task::spawn_blocking(move || {
        let _place = place;
        engine.answer(&asked.case())
    });
    let answer = match timeout_at(until, work).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => model.dropped(&task.case()),
        Err(_) => return model.gave_up(&task.case()),
    };
    if let Some(shadow) = model.shadow() {
        // The caller does not wait for it.
        tokio::spawn(beside(model.clone(), Arc::new(task.with(shadow))));
    }
    answer
}

/// Runs the shadow on inputs that were answered, unless it is still at others. Where those are overdue, these
/// are so as well.
async fn beside(model: Arc<Model>, task: Arc<Task>) {
    let patience = task.patience;
    let Some(place) = task.instance.ready.beside.try_take() else {
        if task.instance.ready.beside.full_for() > patience {
            model.lost_beside(&task.case(), Outcome::Timeout);
        }
        return;
    };
    let (engine, asked) = (model.clone(), task.clone());
    let work = tokio::task::spawn_blocking(move || {
        let _place = place;
        engine.run_beside(&asked.case());
    });
    match timeout(patience, work).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => model.lost_beside(&task.case(), Outcome::Error),
        Err(_) => model.lost_beside(&task.case(), Outcome::Timeout),
    }
}
