//! Serves the pages on loopback, to the user who started it and to no other.
//!
//! A client that connects to a loopback address need not be the user: other users of the machine can, and so can any web page that
//! the user's browser shows. So the first request has to carry the key of the address that the command prints, which becomes a cookie;
//! and the header `Host` has to name this machine, against names that a stranger lets point here.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::Stream;
use jiff::Timestamp;
use maud::Markup;
use modelfleet_crds::device_api::{DeviceDetail, DevicePage, FailureList};
use tokio::net::TcpListener;

use super::html::{self, Frame};
use super::objects::Objects;
use super::page;
use super::store::Store;
use crate::device_client::{DeviceApiError, DeviceClient};
use crate::printing::with_causes;

/// Changes that follow each other sooner are told as one.
const CALM: Duration = Duration::from_millis(700);

/// Nothing from elsewhere, nothing inline, and no page of ours within another.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; \
                      form-action 'self'; frame-ancestors 'none'";

/// What pages are made of.
pub struct Dashboard {
    /// The objects.
    pub store: Store,
    /// The way to the controller, or why there is none.
    pub devices: Result<DeviceClient, String>,
    /// What a first request has to carry.
    pub key: String,
}

/// Serves for ever.
///
/// # Errors
/// When the listener breaks.
pub async fn serve(listener: TcpListener, dashboard: Dashboard) -> std::io::Result<()> {
    let address = listener.local_addr()?;
    axum::serve(listener, router(dashboard, address)).await
}

/// The routes.
pub fn router(dashboard: Dashboard, address: SocketAddr) -> Router {
    let dashboard = Arc::new(dashboard);
    let gate = Gate { key: dashboard.key.clone(), port: address.port() };
    Router::new()
        .route("/", get(first))
        .route("/fleets/{namespace}", get(fleet))
        .route("/rollouts/{namespace}/{name}", get(rollout))
        .route("/models/{namespace}/{name}", get(model))
        .route("/alarms", get(all_alarms))
        .route("/alarms/{namespace}", get(alarms))
        .route("/devices/{namespace}", get(devices))
        .route("/devices/{namespace}/{device}", get(device))
        .route("/events", get(events))
        .route("/style.css", get(async || asset("text/css; charset=utf-8", include_str!("style.css"))))
        .route("/script.js", get(async || asset("text/javascript; charset=utf-8", include_str!("script.js"))))
        .fallback(async |State(dashboard): State<Arc<Dashboard>>| {
            missing(&dashboard.store.objects(), None, "page")
        })
        .with_state(dashboard)
        .layer(middleware::from_fn_with_state(gate, guard))
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

/// Who is let in.
#[derive(Clone)]
struct Gate {
    key: String,
    port: u16,
}

impl Gate {
    fn cookie(&self) -> String {
        // Cookies know no ports: two dashboards must not take each other's.
        format!("modelfleet-{}={}", self.port, self.key)
    }

    fn is_here(&self, headers: &HeaderMap) -> bool {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        ["127.0.0.1", "localhost", "[::1]"].iter().any(|name| host == format!("{name}:{}", self.port))
    }

    fn has_cookie(&self, headers: &HeaderMap) -> bool {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
        let wanted = self.cookie();
        cookies.flat_map(|cookies| cookies.split(';')).any(|cookie| same(cookie.trim(), &wanted))
    }
}

/// Compares without telling by the time how much is alike.
fn same(given: &str, wanted: &str) -> bool {
    let differ = given.bytes().zip(wanted.bytes()).fold(0, |differ, (a, b)| differ | (a ^ b));
    given.len() == wanted.len() && differ == 0
}

async fn guard(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let mut response = if !gate.is_here(request.headers()) {
        (
            StatusCode::MISDIRECTED_REQUEST,
            "this is a dashboard of Modelfleet on loopback; open it by 127.0.0.1\n",
        )
            .into_response()
    } else if request
        .uri()
        .query()
        .and_then(|query| query.strip_prefix("key="))
        .is_some_and(|key| same(key, &gate.key))
    {
        let cookie = format!("{}; HttpOnly; SameSite=Strict; Path=/", gate.cookie());
        let here = request.uri().path().to_owned();
        (StatusCode::SEE_OTHER, [(header::SET_COOKIE, cookie), (header::LOCATION, here)]).into_response()
    } else if gate.has_cookie(request.headers()) {
        next.run(request).await
    } else {
        (StatusCode::FORBIDDEN, "open the whole address that kubectl modelfleet dashboard printed\n")
            .into_response()
    };
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn framed(
    objects: &Objects,
    fleet: Option<&str>,
    title: &str,
    status: StatusCode,
    content: &Markup,
) -> Response {
    let frame = Frame { fleet, title, stale: &objects.stale, now: Timestamp::now() };
    let page = frame.page(content).into_string();
    (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response()
}

fn shown(objects: &Objects, fleet: Option<&str>, title: &str, content: &Markup) -> Response {
    framed(objects, fleet, title, StatusCode::OK, content)
}

fn missing(objects: &Objects, fleet: Option<&str>, what: &str) -> Response {
    let text = format!("There is no such {what}, or you may not see it.");
    framed(objects, fleet, "Not found", StatusCode::NOT_FOUND, &html::message(&text))
}

type Pages = Query<BTreeMap<String, String>>;

fn number(query: &Pages) -> usize {
    query.get("page").and_then(|page| page.parse().ok()).unwrap_or(1)
}

/// Whether all kinds of objects were read once.
fn is_read(objects: &Objects) -> bool {
    objects.stale.iter().all(|stale| stale.since.is_some())
}

async fn first(State(dashboard): State<Arc<Dashboard>>, query: Pages) -> Response {
    let objects = dashboard.store.objects();
    let page = page::overview::overview(&objects, None, number(&query), Timestamp::now());
    shown(&objects, None, "Fleets and rollouts", &html::overview(&page, None, is_read(&objects)))
}

async fn fleet(
    State(dashboard): State<Arc<Dashboard>>,
    Path(namespace): Path<String>,
    query: Pages,
) -> Response {
    let objects = dashboard.store.objects();
    let fleet = Some(namespace.as_str());
    let page = page::overview::overview(&objects, fleet, number(&query), Timestamp::now());
    shown(&objects, fleet, &format!("Fleet {namespace}"), &html::overview(&page, fleet, is_read(&objects)))
}

async fn rollout(
    State(dashboard): State<Arc<Dashboard>>,
    Path((namespace, name)): Path<(String, String)>,
) -> Response {
    let objects = dashboard.store.objects();
    match page::rollout::rollout(&objects, &namespace, &name, Timestamp::now()) {
        Some(page) => shown(&objects, Some(&namespace), &format!("Rollout {name}"), &html::rollout(&page)),
        None => missing(&objects, Some(&namespace), "rollout"),
    }
}

async fn model(
    State(dashboard): State<Arc<Dashboard>>,
    Path((namespace, name)): Path<(String, String)>,
) -> Response {
    let objects = dashboard.store.objects();
    match page::model::model(&objects, &namespace, &name, Timestamp::now()) {
        Some(page) => shown(&objects, Some(&namespace), &format!("Model {name}"), &html::model(&page)),
        None => missing(&objects, Some(&namespace), "model"),
    }
}

async fn all_alarms(State(dashboard): State<Arc<Dashboard>>) -> Response {
    let objects = dashboard.store.objects();
    let alarms = page::alarms::alarms(&objects, None);
    shown(&objects, None, "Alarms", &html::alarms(&alarms, None))
}

async fn alarms(State(dashboard): State<Arc<Dashboard>>, Path(namespace): Path<String>) -> Response {
    let (objects, fleet) = (dashboard.store.objects(), Some(namespace.as_str()));
    let alarms = page::alarms::alarms(&objects, fleet);
    shown(&objects, fleet, &format!("Alarms of {namespace}"), &html::alarms(&alarms, fleet))
}

/// The controller's answer about devices of a namespace, or what to do.
async fn asked<T: serde::de::DeserializeOwned>(
    dashboard: &Dashboard,
    namespace: &str,
    what: &[&str],
    query: &[(&str, String)],
) -> Result<T, (StatusCode, Markup)> {
    let unreachable = |why: &str| (StatusCode::BAD_GATEWAY, html::unreachable(why, namespace));
    let client = dashboard.devices.as_ref().map_err(|why| unreachable(why))?;
    client.of_namespace(namespace).get(what, query).await.map_err(|error| match error {
        DeviceApiError::Refused { status: status @ (400 | 404), message } => {
            (StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST), html::message(&message))
        }
        error => unreachable(&with_causes(&error)),
    })
}

async fn devices(
    State(dashboard): State<Arc<Dashboard>>,
    Path(namespace): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
) -> Response {
    let objects = dashboard.store.objects();
    // An empty field of a form asks for nothing.
    let query: Vec<_> = query.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    let given: Vec<(&str, String)> =
        query.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    let title = format!("Devices of {namespace}");
    match asked::<DevicePage>(&dashboard, &namespace, &["devices"], &given).await {
        Err((status, why)) => framed(&objects, Some(&namespace), &title, status, &why),
        Ok(page) => {
            // They are told above the whole list alone.
            let failures = match query.is_empty() {
                true => asked::<FailureList>(&dashboard, &namespace, &["failures"], &[]).await.ok(),
                false => None,
            };
            let content = html::devices(&page, failures.as_ref(), &namespace, &query, Timestamp::now());
            shown(&objects, Some(&namespace), &title, &content)
        }
    }
}

async fn device(
    State(dashboard): State<Arc<Dashboard>>,
    Path((namespace, device)): Path<(String, String)>,
) -> Response {
    let objects = dashboard.store.objects();
    let title = format!("Device {device}");
    match asked::<DeviceDetail>(&dashboard, &namespace, &["devices", &device], &[]).await {
        Ok(detail) => shown(&objects, Some(&namespace), &title, &html::device(&detail, &namespace)),
        Err((status, why)) => framed(&objects, Some(&namespace), &title, status, &why),
    }
}

/// Word of every change. What changed is read from the page again.
async fn events(
    State(dashboard): State<Arc<Dashboard>>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let changes = dashboard.store.changes();
    let stream = futures::stream::unfold(changes, async |mut changes| {
        changes.changed().await.ok()?;
        tokio::time::sleep(CALM).await;
        let count = *changes.borrow_and_update();
        Some((Ok(Event::default().data(count.to_string())), changes))
    });
    Sse::new(stream).keep_alive(KeepAlive::default())
}
