//! One prediction over HTTP: a place, the inputs, the answer, all within the caller's time_limit.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use axum::extract::{Path as UrlPath, Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use modelfleet_agent_core::recorder::{Outcome, key};
use tokio::time::{Instant, timeout, timeout_at};

use super::bodies::body;
use super::request::{self, Asked, BINARY_HEADER};
use super::versions::Wanted;
use super::{Api, Refusal, answer, bad};
use crate::serve::{Answer, Instance, Model, PredictError, PredictionCall, RunPermit, Said};
use crate::tensor::NamedTensor;

/// What is asked, on its way through one build. The engine's thread may need it longer than the caller.
struct Task {
    instance: Arc<Instance>,
    key: u64,
    inputs: Arc<[NamedTensor]>,
    time_limit: Duration,
    counted: AtomicBool,
}

impl Task {
    fn case(&self) -> PredictionCall<'_> {
        let Task { instance, key, inputs, time_limit, counted } = self;
        PredictionCall { instance, key: *key, inputs, time_limit: *time_limit, counted }
    }

    /// The same for another build.
    fn with(&self, instance: Arc<Instance>) -> Task {
        let Task { key, time_limit, .. } = *self;
        Task { instance, key, inputs: self.inputs.clone(), time_limit, counted: AtomicBool::new(false) }
    }
}

pub(super) async fn infer(
    State(api): State<Api>,
    UrlPath(name): UrlPath<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let model = api.model(&name)?;
    let json_len = json_len(request.headers())?;
    let version = request.extensions().get::<Wanted>().cloned();
    let body = body(request).await?;
    // From here on the request is this build's, whatever is switched to meanwhile.
    let instance = model.live();
    if let Some(version) = version {
        version.check(&model, instance.as_deref())?;
    }
    let until = Instant::now() + api.time_limit;
    let place = match &instance {
        Some(instance) => timeout_at(until, instance.ready.permits.take()).await.ok().flatten(),
        None => None,
    };
    // Inputs take more memory than their text. Those that found no place are looked at for the books only, one after
    // the other.
    let late = if place.is_none() { api.late.acquire().await.ok() } else { None };
    let asked = request::read(&body, json_len).and_then(|asked| {
        let Some(ports) = instance.as_ref().and_then(|i| i.ready.ports.as_ref()) else { return Ok(asked) };
        ports.check(&asked.inputs)?;
        ports.check_wanted(asked.wanted.names())?;
        Ok(asked)
    });
    drop(body);
    let asked = asked.map_err(|reason| {
        model.refused(instance.as_deref());
        bad(reason)
    })?;
    let Asked { id, inputs, wanted } = asked;
    let answer = match instance {
        None => model.absent(key(&id))?,
        Some(instance) => {
            let (key, time_limit, counted) = (key(&id), api.time_limit, AtomicBool::new(false));
            let task = Task { instance, key, inputs: inputs.into(), time_limit, counted };
            match place {
                Some(place) => predict(&model, task, place, until).await?,
                None => model.gave_up(&task.case())?,
            }
        }
    };
    drop(late);
    answer::write(&name, &id, &answer, &wanted)
}

/// The length of the JSON before the tensors that are sent as bytes; `None` where all is JSON.
fn json_len(headers: &HeaderMap) -> Result<Option<usize>, Refusal> {
    let Some(value) = headers.get(BINARY_HEADER) else { return Ok(None) };
    let length = value.to_str().ok().and_then(|text| text.parse().ok());
    length.map(Some).ok_or_else(|| bad(format!("{} must be a number of bytes", BINARY_HEADER)))
}

/// Predicts off the runtime's threads, and gives up in time. The engine cannot be stopped: a prediction that
/// never ends keeps its place, which is one of the build's own.
async fn predict(
    model: &Arc<Model>,
    task: Task,
    place: RunPermit,
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
        let said = task.instance.beside(&task.inputs, &answer);
        // The caller does not wait for it.
        tokio::spawn(beside(model.clone(), Arc::new(task.with(shadow)), said));
    }
    answer
}

/// Runs the shadow on inputs that were answered, unless it is still at others. Where those are overdue, these
/// are so as well.
async fn beside(model: Arc<Model>, task: Arc<Task>, said: Vec<Said>) {
    let time_limit = task.time_limit;
    let Some(place) = task.instance.ready.shadow_permits.try_take() else {
        if task.instance.ready.shadow_permits.full_for() > time_limit {
            model.shadow_lost(&task.case(), Outcome::Timeout);
        }
        return;
    };
    let (engine, asked) = (model.clone(), task.clone());
    let work = tokio::task::spawn_blocking(move || {
        let _place = place;
        engine.run_shadow(&asked.case(), &said);
    });
    match timeout(time_limit, work).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => model.shadow_lost(&task.case(), Outcome::Error),
        Err(_) => model.shadow_lost(&task.case(), Outcome::Timeout),
    }
}
