//! A server that does what it is told, and what tells it.

#![allow(dead_code, reason = "each test target uses a part of it")]

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

pub const KEY: &str = "a key that is long enough";
const SOON: Duration = Duration::from_secs(20);

/// What the server does with one request.
#[derive(Clone)]
pub enum Act {
    /// Answers this text, whatever it is.
    Say(String),
    /// Reads the request and answers nothing.
    Stall,
    /// Closes the connection in the middle of the request.
    HangUp,
}

pub fn status(code: u16) -> Act {
    Act::Say(format!("HTTP/1.1 {code} Word\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
}

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    pub at: Instant,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Value,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn reason(&self) -> String {
        self.body["data"]["reason"].as_str().unwrap_or_default().to_owned()
    }
}

/// A server that does what it is told, request by request; when the list ends it takes all.
pub struct Server {
    pub port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub async fn start(acts: Vec<Act>) -> Server {
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

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// Waits for so many requests.
    pub async fn wait(&self, count: usize) -> Vec<Request> {
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

pub struct Told {
    pub telling: Telling,
    pub metrics: Metrics,
    _stop: tokio_util::sync::DropGuard,
}

pub fn told(flags: &[String], dir: &tempfile::TempDir) -> Told {
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
pub fn rollout(name: &str, reasons: &[&str], telling: &Telling) -> Rollout {
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
