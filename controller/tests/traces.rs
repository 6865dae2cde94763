//! Traces at a receiver of OTLP over HTTP, and the ids of traces in the log.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test may end where it stands")]

#[path = "event_sinks/server.rs"]
mod server;

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use modelfleet_controller::clock::Clock;
use modelfleet_controller::metrics::Metrics;
use modelfleet_controller::traces::export::Exporter;
use modelfleet_controller::traces::layer::{SpanLayer, WAITING_MAX};
use modelfleet_controller::traces::{TARGET, new_trace_id};
use serde_json::Value;
use server::{Server, status};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn exporter(server: &Server, metrics: &Metrics) -> Exporter {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let endpoint = format!("http://127.0.0.1:{}/", server.port);
    Exporter::new(&endpoint, "pod-1".into(), Clock::system(), metrics.traces.clone()).unwrap()
}

/// A span as it came, by its name.
fn span<'a>(body: &'a Value, name: &str) -> &'a Value {
    let spans = body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap();
    spans.iter().find(|span| span["name"] == name).unwrap_or_else(|| panic!("no {name} in {body}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_arrives_with_its_steps_and_the_log_has_its_id() {
    let server = Server::start(Vec::new()).await;
    let (metrics, stop, lines) = (Metrics::new(), CancellationToken::new(), Lines::default());
    let (layer, receiver) = SpanLayer::new(Clock::system(), metrics.traces.clone());
    let written = lines.clone();
    let log =
        fmt::layer().json().flatten_event(true).with_current_span(false).with_writer(move || written.clone());
    let subscriber = tracing_subscriber::registry().with(log).with(layer.filtered());
    let sending = tokio::spawn(exporter(&server, &metrics).run(receiver, stop.clone()));
    let trace_id = new_trace_id();
    {
        let _default = tracing::subscriber::set_default(subscriber);
        let root = tracing::error_span!(
            target: TARGET, "reconcile", trace_id, model = "pumps", error = tracing::field::Empty
        );
        let step = async {
            tracing::info_span!("no trace").in_scope(|| tracing::info!("plan published"));
        };
        step.instrument(
            tracing::error_span!(target: TARGET, parent: &root, "publish", devices = 7, sent = true),
        )
        .await;
        root.record("error", "the API server is away");
    }
    let request = server.wait(1).await.remove(0);
    assert_eq!(
        (request.path.as_str(), request.header("content-type")),
        ("/v1/traces", Some("application/json"))
    );
    let (root, step) = (span(&request.body, "reconcile"), span(&request.body, "publish"));
    assert_eq!((&root["traceId"], &step["traceId"]), (&trace_id.clone().into(), &trace_id.clone().into()));
    assert_eq!(step["parentSpanId"], root["spanId"]);
    assert!(root["parentSpanId"].is_null());
    assert_eq!(root["status"]["message"], "the API server is away");
    assert_eq!(step["attributes"][0]["value"]["intValue"], "7");
    let times = ["startTimeUnixNano", "endTimeUnixNano"]
        .map(|name| root[name].as_str().unwrap().parse::<u64>().unwrap());
    assert!(times[0] > 1_600_000_000_000_000_000 && times[1] > times[0], "{times:?}");
    assert_eq!(request.body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().len(), 2);
    let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let line: Value = serde_json::from_str(log.trim()).unwrap();
    assert_eq!(
        (&line["message"], &line["spans"][0]["trace_id"]),
        (&"plan published".into(), &trace_id.into())
    );
    stop.cancel();
    sending.await.unwrap();
    assert!(metrics.text().unwrap().contains("modelfleet_trace_spans_total{result=\"sent\"} 2"));
}

/// What happened elsewhere has the ids and the moments that are told of it.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_elsewhere_has_its_own_ids_and_moments() {
    let server = Server::start(Vec::new()).await;
    let (metrics, stop) = (Metrics::new(), CancellationToken::new());
    assert!(!metrics.traces.is_on());
    let (layer, receiver) = SpanLayer::new(Clock::system(), metrics.traces.clone());
    assert!(metrics.traces.is_on());
    let subscriber = tracing_subscriber::registry().with(layer.filtered());
    let sending = tokio::spawn(exporter(&server, &metrics).run(receiver, stop.clone()));
    {
        let _default = tracing::subscriber::set_default(subscriber);
        let error: Option<String> = None;
        drop(tracing::error_span!(
            target: TARGET, parent: None, "activate", trace_id = "a".repeat(32), span_id = 7_u64, parent_id = 6_u64,
            start_ms = 1_000_u64, end_ms = 2_500_u64, device = "pump-1", error
        ));
    }
    let request = server.wait(1).await.remove(0);
    let span = span(&request.body, "activate");
    let told = ["traceId", "spanId", "parentSpanId", "startTimeUnixNano", "endTimeUnixNano"]
        .map(|name| span[name].clone());
    let expected = [&*"a".repeat(32), "0000000000000007", "0000000000000006", "1000000000", "2500000000"];
    assert_eq!(told, expected.map(Value::from));
    assert!(span["status"].is_null());
    stop.cancel();
    sending.await.unwrap();
}

/// The last spans go out when the process ends, and a collector that takes nothing costs spans alone.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_waits_for_a_collector_and_the_last_spans_go_out() {
    let server = Server::start(vec![status(503)]).await;
    let (metrics, stop) = (Metrics::new(), CancellationToken::new());
    let (layer, receiver) = SpanLayer::new(Clock::system(), metrics.traces.clone());
    let subscriber = tracing_subscriber::registry().with(layer.filtered());
    let made = || drop(tracing::error_span!(target: TARGET, "check artifact"));
    {
        let _default = tracing::subscriber::set_default(subscriber);
        let begun = std::time::Instant::now();
        (0..WAITING_MAX + 10).for_each(|_| made());
        assert!(begun.elapsed() < Duration::from_secs(5), "no span waits");
    }
    let text = metrics.text().unwrap();
    assert!(text.contains("modelfleet_trace_spans_total{result=\"dropped\"} 10"), "{text}");
    let sending = tokio::spawn(exporter(&server, &metrics).run(receiver, stop.clone()));
    // The first batch is refused; the end comes while the collector counts as away, or is tried again.
    server.wait(1).await;
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(5), sending).await.expect("it ends").unwrap();
    let text = metrics.text().unwrap();
    let count = |result: &str| {
        let line = format!("modelfleet_trace_spans_total{{result=\"{result}\"}} ");
        text.lines().find_map(|l| l.strip_prefix(&line)?.parse::<usize>().ok()).unwrap_or(0)
    };
    assert_eq!(count("sent") + count("dropped"), WAITING_MAX + 10, "{text}");
}
