//! Event sinks as they are: a server that fails, stalls, lies, redirects and asks for a pause, on real connections.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test may end where it stands")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use modelfleet_controller::clock::Clock;
use modelfleet_controller::metrics::Metrics;
use modelfleet_controller::telling::Telling;
use modelfleet_controller::telling::settings::of_flags;
use modelfleet_controller::work::Work;
use modelfleet_crds::{Rollout, RolloutStatus};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

const KEY: &str = "a key that is long enough";
const SOON: Duration = Duration::from_secs(20);

/// What the server does with one request.
#[derive(Clone)]
enum Act {
    /// Answers this text, whatever it is.
    Say(String),
    /// Reads the request and answers nothing.
    Stall,
    /// Closes the connection in the middle of the request.
    HangUp,
}

fn status(code: u16) -> Act {
    Act::Say(format!("HTTP/1.1 {code} Word\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
}

/// One request as it came.
#[derive(Clone, Debug)]
struct Request {
    at: Instant,
    path: String,
    headers: Vec<(String, String)>,
    body: Value,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    fn reason(&self) -> String {
        self.body["data"]["reason"].as_str().unwrap_or_default().to_owned()
    }
}

/// A server that does what it is told, request by request; when the list ends it takes all.
struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    async fn start(acts: Vec<Act>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let seen = Arc::clone(&requests);
        let acts = Arc::new(Mutex::new(acts.into_iter()));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, Arc::clone(&seen), Arc::clone(&acts)));
            }
        });
        Server { port, requests }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// Waits for so many requests.
    async fn wait(&self, count: usize) -> Vec<Request> {
        let begun = Instant::now();
        loop {
            let requests = self.requests();
            if requests.len() >= count {
                return requests;
            }
            assert!(begun.elapsed() < SOON, "{} of {count} requests: {requests:?}", requests.len());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn serve(
    mut stream: TcpStream,
    seen: Arc<Mutex<Vec<Request>>>,
    acts: Arc<Mutex<std::vec::IntoIter<Act>>>,
) {
    while let Some(request) = read(&mut stream).await {
        let act = acts.lock().unwrap().next().unwrap_or_else(|| status(204));
        seen.lock().unwrap().push(request);
        match act {
            Act::Say(text) => {
                let _ = stream.write_all(text.as_bytes()).await;
                if text.contains("close") {
                    return;
                }
            }
            Act::Stall => std::future::pending::<()>().await,
            Act::HangUp => return,
        }
    }
}

async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8(bytes[..head].to_vec()).unwrap();
    let mut lines = text.lines();
    let path = lines.next().unwrap().split(' ').nth(1).unwrap().to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length =
        headers.iter().find(|(name, _)| name == "content-length").unwrap().1.parse::<usize>().unwrap();
    while bytes.len() < head + 4 + length {
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0);
    }
    let body = serde_json::from_slice(&bytes[head + 4..]).unwrap();
    Some(Request { at: Instant::now(), path, headers, body })
}

struct Told {
    telling: Telling,
    metrics: Metrics,
    _stop: tokio_util::sync::DropGuard,
}

fn told(flags: &[String], dir: &tempfile::TempDir) -> Told {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let path = dir.path().join("key");
    std::fs::write(&path, KEY).unwrap();
    let sinks = of_flags(flags, Some(&path), false).unwrap();
    let client = kube::Client::try_from(kube::Config::new("http://127.0.0.1:1".parse().unwrap())).unwrap();
    let (metrics, stop) = (Metrics::new(), CancellationToken::new());
    let (clock, work) = (Clock::system(), Work::default());
    let telling = Telling::new(sinks, false, client, work, clock, &metrics, stop.clone()).unwrap();
    Told { telling, metrics, _stop: stop.drop_guard() }
}

/// A rollout whose stored status has these decisions, of which none was told.
fn rollout(name: &str, reasons: &[&str], telling: &Telling) -> Rollout {
    let mut rollout = Rollout::new(name, modelfleet_crds::RolloutSpec::new("pumps", "1.2.0"));
    rollout.metadata.namespace = Some("plant".into());
    rollout.metadata.uid = Some(format!("uid-of-{name}"));
    let progress = telling.progress(&rollout);
    let decision = |(second, reason): (usize, &&str)| {
        json!({ "at": format!("2026-08-01T12:00:{second:02}Z"), "stage": "canary", "decision": "Hold",
                "reason": reason, "message": format!("{reason} now.") })
    };
    let decisions: Vec<Value> = reasons.iter().enumerate().map(decision).collect();
    let status = json!({ "decisions": decisions, "telling": progress });
    rollout.status = Some(serde_json::from_value::<RolloutStatus>(status).unwrap());
    rollout
}

const STORY: [&str; 4] = ["Started", "StageOpened", "RollbackStarted", "RolledBack"];

#[tokio::test(flavor = "multi_thread")]
async fn every_event_comes_in_order_whatever_a_sink_does_and_a_repetition_has_the_same_id() {
    let dir = tempfile::tempdir().unwrap();
    let half = "HTTP/1.1 503 Word\r\nContent-Length: 100000\r\n\r\nhalf a body, close".to_owned();
    let server = Server::start(vec![status(500), status(204), Act::HangUp, Act::Say(half)]).await;
    let told = told(&[server.url()], &dir);
    told.telling.offer(&rollout("r", &STORY, &told.telling));
    let requests = server.wait(7).await;
    let reasons: Vec<String> = requests.iter().map(Request::reason).collect();
    assert_eq!(
        reasons,
        ["Started", "Started", "StageOpened", "StageOpened", "StageOpened", "RollbackStarted", "RolledBack"]
    );
    for pair in requests.windows(2).filter(|pair| pair[0].reason() == pair[1].reason()) {
        assert_eq!(pair[0].body, pair[1].body, "a repetition says the same");
        assert_eq!(pair[0].header("webhook-id"), pair[1].header("webhook-id"));
    }
    let ids: std::collections::BTreeSet<&str> =
        requests.iter().map(|r| r.body["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), STORY.len());
    for request in &requests {
        assert_eq!(request.header("content-type"), Some("application/cloudevents+json"));
        assert_eq!(request.header("webhook-id"), request.body["id"].as_str());
        let signature = request.header("webhook-signature").unwrap();
        let key = modelfleet_telling::signature::HmacKey::read(KEY.as_bytes()).unwrap();
        let seconds: u64 = request.header("webhook-timestamp").unwrap().parse().unwrap();
        let expected =
            key.sign(request.body["id"].as_str().unwrap(), seconds, request.body.to_string().as_bytes());
        assert_eq!(signature, expected);
    }
    // Nothing is told twice once it was taken.
    told.telling.offer(&rollout("r", &STORY, &told.telling));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(server.requests().len(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_stalls_keeps_no_other_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let (dead, well) = (Server::start(vec![Act::Stall; 100]).await, Server::start(Vec::new()).await);
    let told = told(&[dead.url(), well.url()], &dir);
    let begun = Instant::now();
    for name in ["a", "b", "c"] {
        told.telling.offer(&rollout(name, &STORY, &told.telling));
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "an offer never waits");
    let requests = well.wait(12).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    for name in ["a", "b", "c"] {
        let of = requests.iter().filter(|r| r.body["data"]["rollout"] == name);
        assert_eq!(of.map(Request::reason).collect::<Vec<_>>(), STORY);
    }
    assert_eq!(dead.requests().len(), 1, "one at a time");
    let text = told.metrics.text().unwrap();
    let waiting = format!(
        "modelfleet_events_waiting{{namespace=\"\",sink=\"CloudEvents at 127.0.0.1:{}\"}} 12",
        dead.port
    );
    assert!(text.contains(&waiting), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_redirect_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = Server::start(Vec::new()).await;
    let moved = format!(
        "HTTP/1.1 307 Moved\r\nLocation: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        elsewhere.url()
    );
    let server = Server::start(vec![Act::Say(moved)]).await;
    let told = told(&[server.url()], &dir);
    told.telling.offer(&rollout("r", &STORY[..1], &told.telling));
    let requests = server.wait(2).await;
    assert_eq!(requests[0].body, requests[1].body, "it counts as a failure");
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_a_sink_asks_for_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let busy =
        "HTTP/1.1 429 Busy\r\nRetry-After: 3\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned();
    let server = Server::start(vec![Act::Say(busy)]).await;
    let told = told(&[server.url()], &dir);
    told.telling.offer(&rollout("r", &STORY[..1], &told.telling));
    let requests = server.wait(2).await;
    let pause = requests[1].at.duration_since(requests[0].at);
    assert!(pause >= Duration::from_millis(2_990), "{pause:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_sink_refuses_is_passed_over_and_one_that_is_gone_is_told_nothing_more() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(vec![status(400), status(204), status(410)]).await;
    let told = told(&[server.url()], &dir);
    told.telling.offer(&rollout("r", &STORY, &told.telling));
    let requests = server.wait(3).await;
    assert_eq!(requests.iter().map(Request::reason).collect::<Vec<_>>(), STORY[..3]);
    told.telling.offer(&rollout("s", &STORY, &told.telling));
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(server.requests().len(), 3);
    let text = told.metrics.text().unwrap();
    let line = |name: &str, result: &str, value: u32| {
        format!(
            "modelfleet_{name}{{namespace=\"\",sink=\"CloudEvents at 127.0.0.1:{}\"{result}}} {value}",
            server.port
        )
    };
    for line in [
        line("event_deliveries_total", ",result=\"refused\"", 1),
        line("event_deliveries_total", ",result=\"delivered\"", 1),
        line("event_deliveries_total", ",result=\"gone\"", 1),
        line("events_dropped_total", "", 6),
        line("event_sinks_open", "", 1),
    ] {
        assert!(text.contains(&line), "{line}\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slack_and_alertmanager_get_their_own_forms() {
    let dir = tempfile::tempdir().unwrap();
    let (slack, alertmanager) = (Server::start(Vec::new()).await, Server::start(Vec::new()).await);
    let told = told(
        &[
            format!("slack={}", slack.url()),
            format!("alertmanager=http://127.0.0.1:{}/am/", alertmanager.port),
        ],
        &dir,
    );
    told.telling.offer(&rollout("r", &["Paused"], &told.telling));
    let text = slack.wait(1).await[0].body["text"].as_str().unwrap().to_owned();
    assert!(text.contains("*Paused* plant/r (pumps 1.2.0, stage canary)\nPaused now."), "{text}");
    let request = alertmanager.wait(1).await.remove(0);
    assert_eq!(request.path, "/am/api/v2/alerts");
    assert_eq!(request.body[1]["labels"]["alertname"], "ModelfleetRolloutPaused");
}
