//! Event sinks on real parts: a rollout is played, the controller is killed on the way, and a receiver that checks signatures
//! and drops repetitions has every transition in the end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::{Api, ResourceExt as _};
use modelfleet_telling::signature::HmacKey;
use modelfleet_telling::transition::between;
use serde_json::{Value, json};

use crate::plant::Plant;
use crate::{LONG, fleet};

const KEY: &str = "whsec_bW9kZWxmbGVldCB0ZXN0IGtleSBvZiB0aGUgcmVjZWl2ZXI=";

/// What the receiver does with what comes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    /// It takes it.
    Well,
    /// It has it, and does not answer.
    Stalls,
    /// It refuses every second one.
    Fails,
}

#[derive(Clone)]
struct Receiver {
    mood: Arc<Mutex<Mood>>,
    /// All that came and was signed, and whether it was taken.
    came: Arc<Mutex<Vec<(Value, bool)>>>,
    /// Spans of traces.
    spans: Arc<Mutex<Vec<Value>>>,
}

async fn receive(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let (id, seconds) = (header("webhook-id"), header("webhook-timestamp").parse::<u64>().unwrap_or(0));
    let key = HmacKey::read(KEY.as_bytes()).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    if key.sign(&id, seconds, &body) != header("webhook-signature") || now.abs_diff(seconds) > 300 {
        return StatusCode::UNAUTHORIZED;
    }
    let event: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(event["id"], id);
    let mood = *receiver.mood.lock().unwrap();
    let taken = {
        let mut came = receiver.came.lock().unwrap();
        let taken = mood == Mood::Well || (mood == Mood::Fails && came.len().is_multiple_of(2));
        came.push((event, taken));
        taken
    };
    if mood == Mood::Stalls {
        std::future::pending::<()>().await;
    }
    if taken { StatusCode::NO_CONTENT } else { StatusCode::BAD_GATEWAY }
}

async fn receive_spans(State(receiver): State<Receiver>, body: Bytes) {
    let body: Value = serde_json::from_slice(&body).unwrap();
    let spans = body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().clone();
    receiver.spans.lock().unwrap().extend(spans);
}

impl Receiver {
    async fn start() -> (Receiver, u16) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let receiver =
            Receiver { mood: Arc::new(Mutex::new(Mood::Well)), came: Arc::default(), spans: Arc::default() };
        let router = Router::new()
            .route("/events", post(receive))
            .route("/v1/traces", post(receive_spans))
            .with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (receiver, port)
    }

    fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// Waits until something has come that this holds for.
    async fn wait(&self, what: &str, holds: impl Fn(&[(Value, bool)]) -> bool) {
        let begun = Instant::now();
        while !holds(&self.came.lock().unwrap()) {
            assert!(begun.elapsed() < LONG, "{what} did not come: {:?}", self.came.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ids that were taken, in the order of their first arrival, by rollout.
    fn taken(&self) -> BTreeMap<String, Vec<String>> {
        let mut taken: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (event, _) in self.came.lock().unwrap().iter().filter(|(_, taken)| *taken) {
            let ids = taken.entry(event["data"]["rollout"].as_str().unwrap().to_owned()).or_default();
            let id = event["id"].as_str().unwrap().to_owned();
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        taken
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_transition_is_told_though_the_controller_is_killed() {
    let (receiver, port) = Receiver::start().await;
    let mut plant = Plant::start_with("telling", |dir, _| {
        std::fs::write(dir.join("sink.key"), KEY).unwrap();
        let key = format!("--event-sink-key-file={}", dir.join("sink.key").display());
        let traces = format!("--otlp-endpoint=http://127.0.0.1:{port}");
        vec![format!("--event-sink=http://127.0.0.1:{port}/events"), key, traces]
    })
    .await;
    let (badness, _) = fleet(&plant, 20).await;
    badness.lock().unwrap().insert("1.1.0".into(), 101);
    plant.register("1.0.0").await;
    plant.register("1.1.0").await;
    // The status is stored, the event is on its way and not taken: now the controller is killed.
    receiver.set(Mood::Stalls);
    plant.roll_out("1.0.0").await;
    receiver.wait("the first event", |came| !came.is_empty()).await;
    plant.wait_for("1.0.0", LONG, |_, what| what.contains("canary")).await;
    plant.restart_controller();
    receiver.wait("the same event again", |came| came.len() > 1 && came[0].0 == came[1].0).await;
    receiver.set(Mood::Fails);
    plant.restart_controller();
    plant.wait_for("1.0.0", LONG, |_, what| what.contains("broad")).await;
    plant.restart_controller();
    plant.wait("1.0.0", "Succeeded", LONG).await;
    receiver.set(Mood::Well);
    plant.roll_out("1.1.0").await;
    plant.wait_for("1.1.0", LONG, |_, what| what.contains("canary")).await;
    plant.restart_controller();
    plant.wait("1.1.0", "RolledBack", LONG).await;
    for name in ["r-1.0.0", "r-1.1.0"] {
        let rollout = plant.rollouts().get(name).await.unwrap();
        let status = rollout.status.as_ref().unwrap();
        let expected: Vec<String> =
            between(&rollout.uid().unwrap(), None, status).into_iter().map(|t| t.id).collect();
        assert_eq!(expected.len(), status.decisions.len(), "the decisions explain every phase");
        let begun = Instant::now();
        loop {
            let taken = receiver.taken().remove(name).unwrap_or_default();
            if taken == expected {
                break;
            }
            assert!(begun.elapsed() < LONG, "{name}: {taken:?} instead of {expected:?}\n{}", plant.log());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        // And it is noted, so that the next process tells nothing of it.
        let noted = async || {
            let status = plant.rollouts().get(name).await.unwrap().status.unwrap();
            status.telling.first().filter(|told| Some(&told.last) == expected.last()).map(|_| ())
        };
        plant.eventually(&format!("{name} to be noted"), LONG, noted).await;
    }
    let told = receiver.came.lock().unwrap().len();
    plant.restart_controller();
    plant.wait_for("1.1.0", LONG, |phase, _| phase == "RolledBack").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(receiver.came.lock().unwrap().len(), told, "nothing is told again");
    let kinds: Vec<Value> =
        receiver.came.lock().unwrap().iter().map(|(event, _)| event["type"].clone()).collect();
    for kind in ["started", "stage-opened", "succeeded", "rollback-started", "rolled-back"] {
        assert!(kinds.contains(&format!("io.modelfleet.rollout.{kind}.v1").into()), "{kind}: {kinds:?}");
    }
    traces(&receiver);
}

/// Reconciles with their steps, checks of artifacts, and attempts from the plan to the devices.
fn traces(receiver: &Receiver) {
    let spans = receiver.spans.lock().unwrap().clone();
    let named =
        |name: &str| spans.iter().filter(|span| span["name"] == name).cloned().collect::<Vec<Value>>();
    let reconciles = named("reconcile");
    let parents: Vec<&Value> = reconciles.iter().map(|span| &span["spanId"]).collect();
    for step in ["observe", "decide", "apply", "publish", "report"] {
        let steps = named(step);
        assert!(steps.iter().any(|span| parents.contains(&&span["parentSpanId"])), "{step}");
    }
    assert!(!named("check artifact").is_empty());
    let plans: Vec<Value> = named("plan").into_iter().map(|span| span["traceId"].clone()).collect();
    let activations = named("activate");
    assert!(!activations.is_empty() && !plans.is_empty());
    assert!(activations.iter().all(|span| plans.contains(&span["traceId"])), "plan and device are one trace");
    assert!(activations.iter().any(|span| span["status"]["code"] == 2), "1.1.0 fails on devices");
    assert!(activations.iter().any(|span| span["status"].is_null()), "1.0.0 does not");
}

/// A rollout names its own receivers: one in a Secret, whose events are signed, and one that is dead, which a condition names.
#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_tells_the_receivers_that_it_names() {
    let (receiver, port) = Receiver::start().await;
    let plant = Plant::start("notify").await;
    let _fleet = fleet(&plant, 20).await;
    let secrets: Api<Secret> = Api::namespaced(plant.client.clone(), &plant.namespace);
    let secret = json!({
        "metadata": { "name": "events" },
        "stringData": { "url": format!("http://127.0.0.1:{port}/events"), "hmacKey": KEY },
    });
    secrets.create(&PostParams::default(), &serde_json::from_value(secret).unwrap()).await.unwrap();
    plant.register("1.0.0").await;
    plant.roll_out("1.0.0").await;
    plant.wait_for("1.0.0", LONG, |_, what| what.contains("canary")).await;
    let both = json!([{ "secretName": "events" }, { "kind": "Slack", "url": "http://127.0.0.1:1/" }]);
    plant.patch("1.0.0", json!({ "notify": both })).await;
    plant.wait("1.0.0", "Succeeded", LONG).await;
    let succeeded =
        |came: &[(Value, bool)]| came.iter().any(|(event, _)| event["data"]["reason"] == "Succeeded");
    receiver.wait("the success", succeeded).await;
    let first = receiver.came.lock().unwrap()[0].0["data"]["reason"].clone();
    assert_ne!(first, "Started", "what was before the receiver is not told to it");
    let condition = async || plant.condition("1.0.0", "EventsNotDelivered").await;
    let told = plant.eventually("the dead receiver to be named", LONG, condition).await;
    assert!(told.starts_with("Slack of spec.notify took no event"), "{told}");
}
