//! The devices of a namespace over HTTPS: a list, one device, and why devices failed. Nothing here changes anything.
//!
//! The lock of a fleet is held to copy out a few hundred pointers; what is answered is worked out by the copy. Only the leader
//! hears devices: other replicas answer 503 and say who leads.

mod answers;
mod openapi;
mod query;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};
use modelfleet_crds::device_api::{self, Refusal};
use modelfleet_fleet::Fleet;
use modelfleet_protocol::ids::{DeviceId, ModelName, Namespace};
use tokio::sync::Semaphore;

use super::Shown;
use super::rights::{Refused, Rights, Wanted};
use crate::context::{Context, compute};
use crate::lease;
use answers::{Names, Told};
use query::{FailureQuery, ListQuery};

/// Questions that are worked out at the same time; each may look at a quarter of a million devices.
const ANSWERS_MAX: usize = 4;
/// Longest that a standby waits for the API server to say who leads.
const LEADER_WAIT: Duration = Duration::from_secs(2);

/// What the API answers by.
#[derive(Clone)]
pub struct DeviceApi {
    shown: Shown,
    rights: Rights,
    client: Client,
    lease_namespace: String,
    answers: Arc<Semaphore>,
}

impl DeviceApi {
    /// Answers by what this process has heard, once it leads.
    #[must_use]
    pub fn new(shown: Shown, rights: Rights, client: Client, lease_namespace: String) -> DeviceApi {
        DeviceApi { shown, rights, client, lease_namespace, answers: Arc::new(Semaphore::new(ANSWERS_MAX)) }
    }

    /// The fleet, once the request may read it.
    async fn admit(
        &self,
        headers: &HeaderMap,
        namespace: &str,
        verb: &'static str,
    ) -> Result<(Arc<Context>, Namespace), Problem> {
        let parsed: Namespace = namespace.parse().map_err(|error| bad(format!("namespace: {error}")))?;
        let wanted = Wanted::Devices { namespace: namespace.to_owned(), verb };
        self.rights.admit(headers, &wanted).await?;
        match self.shown.context() {
            Some(ctx) => Ok((ctx, parsed)),
            None => Err(self.not_leading().await),
        }
    }

    async fn not_leading(&self) -> Problem {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), &self.lease_namespace);
        let lease = tokio::time::timeout(LEADER_WAIT, leases.get(lease::NAME)).await;
        let leader = lease.ok().and_then(Result::ok).and_then(|lease| lease.spec?.holder_identity);
        let message = match &leader {
            Some(leader) => {
                format!("this replica does not lead and hears no devices; ask {leader}, or try again")
            }
            None => "this replica does not lead and hears no devices, and none is known to lead; try again"
                .to_owned(),
        };
        Problem { status: StatusCode::SERVICE_UNAVAILABLE, refusal: Refusal { message, leader } }
    }
}

/// Why there is no answer.
struct Problem {
    status: StatusCode,
    refusal: Refusal,
}

impl From<Refused> for Problem {
    fn from(Refused { status, message }: Refused) -> Problem {
        Problem { status, refusal: Refusal { message, leader: None } }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.refusal)).into_response();
        let told = match self.status {
            StatusCode::UNAUTHORIZED => Some((header::WWW_AUTHENTICATE, "Bearer")),
            StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, "1")),
            _ => None,
        };
        if let Some((name, value)) = told {
            response.headers_mut().insert(name, axum::http::HeaderValue::from_static(value));
        }
        response
    }
}

fn problem(status: StatusCode, message: impl Into<String>) -> Problem {
    Problem { status, refusal: Refusal { message: message.into(), leader: None } }
}

fn bad(message: impl Into<String>) -> Problem {
    problem(StatusCode::BAD_REQUEST, message)
}

/// The routes.
pub fn router(api: DeviceApi) -> Router {
    let of = |what: &str| device_api::path("{namespace}", what);
    Router::new()
        .route(&of("devices"), get(list))
        .route(&of("devices/{device}"), get(one))
        .route(&of("failures"), get(failures))
        .route(openapi::PATH, get(described))
        .fallback(async || {
            problem(StatusCode::NOT_FOUND, format!("there is no such path; {} lists them", openapi::PATH))
        })
        .method_not_allowed_fallback(async || problem(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered"))
        .with_state(api)
}

async fn described(State(api): State<DeviceApi>, headers: HeaderMap) -> Result<Response, Problem> {
    api.rights.admit(&headers, &Wanted::Public).await?;
    Ok(Json(openapi::description()).into_response())
}

/// A copy of a fleet.
fn copied(ctx: &Context, namespace: &Namespace) -> Result<Fleet, Problem> {
    let fleet = ctx.fleets.get(namespace);
    let missing = || {
        let what = format!(
            "the controller manages no model in namespace {namespace}: it has no ModelVersion and no Rollout"
        );
        problem(StatusCode::NOT_FOUND, what)
    };
    fleet.map(|fleet| fleet.locked().index.fleet()).ok_or_else(missing)
}

/// Works an answer out beside the tasks of the runtime.
async fn worked_out<T: Send>(api: &DeviceApi, work: impl FnOnce() -> T + Send) -> Result<T, Problem> {
    let Ok(_place) = api.answers.try_acquire() else {
        return Err(problem(StatusCode::SERVICE_UNAVAILABLE, "too many questions at once; try again"));
    };
    Ok(compute(work))
}

/// A query that cannot be read is told in the same form as everything else.
type Asked<T> = Result<Query<T>, axum::extract::rejection::QueryRejection>;

/// The parts of a path; one that is no UTF-8 is told in the same form as everything else.
type Parts<T> = Result<Path<T>, axum::extract::rejection::PathRejection>;

async fn list(
    State(api): State<DeviceApi>,
    path: Parts<String>,
    headers: HeaderMap,
    asked: Asked<ListQuery>,
) -> Result<Response, Problem> {
    let Path(namespace) = path.map_err(|error| bad(error.body_text()))?;
    let (ctx, namespace) = api.admit(&headers, &namespace, "list").await?;
    let Query(asked) = asked.map_err(|error| bad(error.body_text()))?;
    let names = Names::of(&ctx, &namespace);
    let now = ctx.now();
    let (filter, after, limit) = asked.read(&names, now).map_err(bad)?;
    let fleet = copied(&ctx, &namespace)?;
    let page = worked_out(&api, || fleet.device_page(&filter, after, limit)).await?;
    Ok(Json(Told { names: &names, now }.page(page, &fleet)).into_response())
}

async fn one(
    State(api): State<DeviceApi>,
    path: Parts<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Path((namespace, device)) = path.map_err(|error| bad(error.body_text()))?;
    let (ctx, namespace) = api.admit(&headers, &namespace, "get").await?;
    let device: DeviceId = device.parse().map_err(|error| bad(format!("device: {error}")))?;
    let fleet = copied(&ctx, &namespace)?;
    let Some(seen) = fleet.device(&device) else {
        let what = format!("device {device} was never heard in namespace {namespace}");
        return Err(problem(StatusCode::NOT_FOUND, what));
    };
    let names = Names::of(&ctx, &namespace);
    let told = Told { names: &names, now: ctx.now() };
    Ok(Json(told.detail(&ctx, &namespace, seen)).into_response())
}

async fn failures(
    State(api): State<DeviceApi>,
    path: Parts<String>,
    headers: HeaderMap,
    asked: Asked<FailureQuery>,
) -> Result<Response, Problem> {
    let Path(namespace) = path.map_err(|error| bad(error.body_text()))?;
    let (ctx, namespace) = api.admit(&headers, &namespace, "list").await?;
    let Query(FailureQuery { model }) = asked.map_err(|error| bad(error.body_text()))?;
    let model: Option<ModelName> =
        model.map(|model| model.parse()).transpose().map_err(|error| bad(format!("model: {error}")))?;
    let fleet = copied(&ctx, &namespace)?;
    let groups = worked_out(&api, || fleet.failure_groups(model.as_ref())).await?;
    let names = Names::of(&ctx, &namespace);
    Ok(Json(Told { names: &names, now: ctx.now() }.failures(groups, &fleet)).into_response())
}
