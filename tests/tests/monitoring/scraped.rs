//! Every panel's query against a real Prometheus that has scraped every documented metric.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::names::{documented, queries};
use crate::{files, folder};

/// Prometheus has to answer each query with something in this time.
const WAIT: Duration = Duration::from_secs(90);

/// What a controller shows, with every documented metric; counters grow with each scrape.
fn exposition(scrapes: u64) -> String {
    let mut text = String::new();
    let all = r#"namespace="plant",rollout="r",model="m",version="1.1.0",arm="canary""#;
    let histograms: Vec<String> = documented().into_iter().filter(|name| is_histogram(name)).collect();
    for name in documented() {
        if histograms.contains(&name) {
            writeln!(text, "# TYPE {name} histogram").unwrap();
            for (le, part) in [("0.1", 1), ("1.0", 2), ("+Inf", 3)] {
                writeln!(text, "{name}_bucket{{{all},le=\"{le}\"}} {}", scrapes * part).unwrap();
            }
            writeln!(text, "{name}_sum{{{all}}} {scrapes}\n{name}_count{{{all}}} {}", scrapes * 3).unwrap();
            continue;
        }
        let counts = name.ends_with("_total");
        let labels = match name.as_str() {
            "modelfleet_predictions_total" => vec![r#"outcome="answered""#, r#"outcome="error""#],
            "modelfleet_rollout_phase" => vec![r#"phase="Stalled""#],
            "modelfleet_rollout_devices" => vec![r#"denominator="silent""#, r#"denominator="activated""#],
            _ => vec![r#"kind="x",channel="report",variant="Conflict",result="Verified""#],
        };
        writeln!(text, "# TYPE {name} {}", if counts { "counter" } else { "gauge" }).unwrap();
        for labels in labels {
            let value = if counts { scrapes * 10 } else { 1 };
            writeln!(text, "{name}{{{all},{labels}}} {value}").unwrap();
        }
    }
    text
}

fn is_histogram(name: &str) -> bool {
    [
        "modelfleet_prediction_latency_seconds",
        "modelfleet_reconcile_duration_seconds",
        "modelfleet_evidence_to_plan_seconds",
        "modelfleet_event_age_seconds",
    ]
    .contains(&name)
}

/// Serves the exposition until the test ends.
fn serve() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for (scrapes, stream) in (1..).zip(listener.incoming()) {
            let Ok(mut stream) = stream else { continue };
            let mut request = [0; 4096];
            if stream.read(&mut request).is_ok() {
                let body = exposition(scrapes);
                let head =
                    "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\n";
                let answer = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
                // A scrape that was given up is repeated.
                let _ = stream.write_all(answer.as_bytes());
            }
        }
    });
    port
}

struct Prometheus {
    child: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    fn start(target: u16) -> Prometheus {
        let dir = tempfile::tempdir().unwrap();
        let rules = files(&folder(), "-rules.yaml");
        for path in &rules {
            // Groups are evaluated every second, so that the test need not wait for minutes.
            let text = std::fs::read_to_string(path).unwrap();
            let fast = text.replace("interval: 1m", "interval: 1s").replace("interval: 5m", "interval: 1s");
            std::fs::write(dir.path().join(path.file_name().unwrap()), fast).unwrap();
        }
        let config = format!(
            "global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }}\nrule_files: ['{}/*-rules.yaml']\n\
             scrape_configs:\n  - job_name: modelfleet\n    static_configs: [{{ targets: ['127.0.0.1:{target}'] }}]\n",
            dir.path().display()
        );
        std::fs::write(dir.path().join("prometheus.yaml"), config).unwrap();
        let port = free_port();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", dir.path().join("prometheus.yaml").display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("prometheus: {error}; install Debian's package prometheus"));
        Prometheus { child, port, _dir: dir }
    }

    /// The result of a query now; `None` while it does not answer.
    fn query(&self, query: &str) -> Option<Value> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        let request = format!("GET /api/v1/query?query={encoded} HTTP/1.0\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        let body: Value = serde_json::from_str(body).ok()?;
        // What is no query stays none.
        assert_ne!(body["status"], "error", "{query}: {body}");
        Some(body["data"]["result"].clone())
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A query as Grafana sends it.
fn with_variables(query: &str) -> String {
    let query = query.replace("$__rate_interval", "10s");
    ["$namespace", "$rollout", "$model"].iter().fold(query, |query, variable| query.replace(variable, ".*"))
}

#[test]
fn every_panel_shows_something() {
    let prometheus = Prometheus::start(serve());
    let began = Instant::now();
    let mut waiting = queries();
    assert!(waiting.len() > 50, "{waiting:?}");
    while !waiting.is_empty() {
        assert!(began.elapsed() < WAIT, "panels without an answer after {WAIT:?}: {waiting:#?}");
        waiting.retain(|(_, query)| {
            let result = prometheus.query(&with_variables(query));
            result.is_none_or(|result| result.as_array().is_none_or(Vec::is_empty))
        });
        // Prometheus scrapes once a second.
        std::thread::sleep(Duration::from_secs(1));
    }
}
