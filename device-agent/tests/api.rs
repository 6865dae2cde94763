//! The local API of a real agent.

#![allow(clippy::unwrap_used)]

mod support;

use modelfleet_protocol::bins::Bins;
use modelfleet_protocol::model::{Comparison, Fallback, FeatureProfile, ModelBuild, PreFilter, Profile};
use modelfleet_test_support::broker::Broker;
use modelfleet_test_support::console::Console;
use modelfleet_test_support::pump_plan::*;
use modelfleet_test_support::wait::wait;
use serde_json::{Value, json};
use support::*;

struct Bench {
    agent: Agent,
    console: Console,
    _broker: Broker,
    _dir: tempfile::TempDir,
}

impl Bench {
    /// An agent whose stable build is the pumps' 1.0.0, changed by `change`.
    fn with(change: impl FnOnce(&mut ModelBuild), more: &[&str]) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let broker = broker(dir.path());
        let runtime = onnxruntime();
        let console = Console::connect(&broker);
        let more: Vec<&str> =
            ["--onnxruntime", runtime.to_str().unwrap()].iter().chain(more).copied().collect();
        let agent = Agent::start("pump-001", &dir.path().join("a"), &broker, &more);
        let path = examples().join("pumps/models/pump-anomaly-1.0.0.onnx").canonicalize().unwrap();
        let mut build = pump_build("1.0.0", &pump_model("1.0.0"), format!("file://{}", path.display()));
        change(&mut build);
        console.publish_plan(&plan(1, Some(build), None));
        wait("it to be ready", || (agent.ask("GET", "/v2/health/ready", "").0 == 200).then_some(()));
        Bench { agent, console, _broker: broker, _dir: dir }
    }

    fn infer(&self, body: &Value) -> (u16, Value) {
        self.agent.ask("POST", &format!("/v2/models/{MODEL}/infer"), &body.to_string())
    }
}

fn row(rms: f64) -> Value {
    json!({"name": "features", "shape": [1, 7], "datatype": "FP32", "data": [rms, 0.39, 3.5, -0.06, 58782.0, 13805.0, 339.0]})
}

fn filtered(build: &mut ModelBuild) {
    let names = ["rms", "peak", "crest", "kurtosis", "low", "high", "bpfo"];
    let feature = |name: &&str| FeatureProfile {
        name: (*name).into(),
        expected_min: -1e9,
        expected_max: 1e9,
        edges: vec![0.0],
        counts: Bins(vec![1, 1]),
    };
    build.profile = Some(Profile { features: names.iter().map(feature).collect(), confidence: None });
    let filter =
        PreFilter { name: "running".into(), feature: "rms".into(), op: Comparison::AtLeast, value: 0.05 };
    build.pre_filters = vec![filter];
    build.fallback = Fallback::Constant(vec![1.0]);
}

#[test]
fn the_protocol_is_spoken() {
    let bench = Bench::with(|_| {}, &[]);
    let agent = &bench.agent;
    assert_eq!(agent.ask("GET", "/v2/health/live", "").0, 200);
    assert_eq!(agent.ask("GET", "/v2", "").1["name"], "modelfleet-agent");
    let (status, about) = agent.ask("GET", &format!("/v2/models/{MODEL}"), "");
    assert_eq!((status, &about["versions"]), (200, &json!(["1.0.0"])));
    assert_eq!(about["inputs"][0]["shape"], json!([-1, 7]));
    assert_eq!(agent.ask("GET", &format!("/v2/models/{MODEL}/ready"), "").0, 200);
    assert_eq!(agent.ask("GET", "/v2/models/other/ready", "").0, 404);

    let (status, answer) = bench.infer(&json!({"id": "reading-7", "inputs": [row(0.1)]}));
    assert_eq!(status, 200, "{answer}");
    assert_eq!((&answer["id"], &answer["model_version"]), (&json!("reading-7"), &json!("1.0.0")));
    let label = answer["outputs"].as_array().unwrap().iter().find(|o| o["name"] == "label").unwrap();
    assert_eq!((&label["datatype"], &label["shape"]), (&json!("INT64"), &json!([1, 1])));
    assert!(!bench.infer(&json!({"inputs": [row(0.1)]})).1["id"].as_str().unwrap().is_empty());

    let feedback = format!("/v2/models/{MODEL}/feedback");
    wait("the truth to be taken", || {
        // What came before the build was observed is not counted.
        bench.infer(&json!({"id": "reading-8", "inputs": [row(0.1)]}));
        (agent.ask("POST", &feedback, r#"{"id":"reading-8","truth":false}"#).0 == 200).then_some(())
    });
    assert_eq!(agent.ask("POST", &feedback, r#"{"id":"never-seen","truth":false}"#).0, 404);
    assert_eq!(agent.ask("POST", &feedback, r#"{"truth":1}"#).0, 400);
    wait("the truth in a report", || {
        let report = bench.console.report(&agent.id)?;
        let told =
            report.windows.iter().filter_map(|w| w.counters).any(|c| c.true_negative + c.false_positive > 0);
        told.then_some(())
    });
}

#[test]
fn bad_requests_are_told_what_is_wrong() {
    let bench = Bench::with(|_| {}, &[]);
    let long = "x".repeat(200);
    let cases = [
        (json!({}), "inputs"),
        (
            json!({"inputs": [{"name": "features", "shape": [1, 7], "datatype": "FP32", "data": [1]}]}),
            "elements",
        ),
        (
            json!({"inputs": [{"name": "features", "shape": [1], "datatype": "FP16", "data": [1]}]}),
            "FP32 [-1, 7], got FP16 [1]",
        ),
        (json!({"inputs": [{"name": "other", "shape": [1], "datatype": "FP32", "data": [1]}]}), "other"),
        (json!({"inputs": []}), "features"),
        (json!({"id": long, "inputs": [row(0.1)]}), "id"),
    ];
    for (body, part) in cases {
        let (status, answer) = bench.infer(&body);
        assert_eq!(status, 400, "{body} {answer}");
        assert!(answer["error"].as_str().unwrap().contains(part), "{part}: {answer}");
    }
    let path = format!("/v2/models/{MODEL}/infer");
    assert_eq!(bench.agent.ask("POST", &path, "not json").0, 400);
    let huge = "1".repeat(2 * 1024 * 1024);
    // The server may close while the body is still on its way.
    assert!(matches!(bench.agent.ask("POST", &path, &huge).0, 413 | 0));
    let nested = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    let body =
        format!(r#"{{"inputs":[{{"name":"features","shape":[1],"datatype":"FP32","data":{nested}}}]}}"#);
    assert_eq!(bench.agent.ask("POST", &path, &body).0, 400);
    assert_eq!(bench.infer(&json!({"inputs": [row(0.1)]})).0, 200, "it still answers");
}

#[test]
fn a_filter_answers_before_the_model() {
    let bench = Bench::with(filtered, &[]);
    let (status, answer) = bench.infer(&json!({"inputs": [row(0.1)]}));
    assert_eq!((status, answer.get("parameters")), (200, None));
    let (status, answer) = bench.infer(&json!({"inputs": [row(0.01)]}));
    assert_eq!((status, &answer["parameters"]["filtered_by"]), (200, &json!("running")));
    assert_eq!(answer["outputs"][0]["data"], json!([1]));
}

#[test]
fn a_model_that_is_too_slow_times_out() {
    let bench = Bench::with(|_| {}, &["--prediction-timeout-ms", "0"]);
    let (status, answer) = bench.infer(&json!({"id": "late", "inputs": [row(0.1)]}));
    assert_eq!(status, 504, "{answer}");
    wait("a report with a timeout", || {
        bench.infer(&json!({"inputs": [row(0.1)]}));
        let report = bench.console.report(&bench.agent.id)?;
        report.windows.iter().filter_map(|w| w.counters).any(|c| c.timeouts > 0).then_some(())
    });
}

#[test]
fn an_unfinished_request_does_not_keep_the_process() {
    let mut bench = Bench::with(|_| {}, &[]);
    let mut stream = std::net::TcpStream::connect(bench.agent.api()).unwrap();
    let head =
        format!("POST /v2/models/{MODEL}/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{{");
    std::io::Write::write_all(&mut stream, head.as_bytes()).unwrap();
    // An answer on another connection shows that this one was accepted.
    assert_eq!(bench.agent.ask("GET", "/v2", "").0, 200);
    assert!(bench.agent.stop(), "an orderly stop");
    let presence = wait("it to be offline", || bench.console.presence(&bench.agent.id).filter(|p| !p.online));
    assert!(!presence.online);
}

#[test]
fn slow_clients_keep_nobody_else_waiting() {
    let bench = Bench::with(|_| {}, &[]);
    let post =
        format!("POST /v2/models/{MODEL}/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{{");
    for opening in ["", "GET /v2 HTTP/1.1\r\nHo", &post] {
        let crowd: Vec<_> = (0..200)
            .map(|_| {
                let mut stream = std::net::TcpStream::connect(bench.agent.api()).unwrap();
                // One that was sent away hears of it now.
                let _ = std::io::Write::write_all(&mut stream, opening.as_bytes());
                stream
            })
            .collect();
        let start = std::time::Instant::now();
        assert_eq!(bench.agent.ask("GET", "/v2/health/live", "").0, 200, "{opening:?}");
        assert_eq!(bench.infer(&json!({"inputs": [row(0.1)]})).0, 200, "{opening:?}");
        assert!(start.elapsed() < std::time::Duration::from_secs(1), "{opening:?}: {:?}", start.elapsed());
        drop(crowd);
    }
}

#[test]
fn versions_are_told_and_asked_by_name() {
    let bench = Bench::with(|_| {}, &[]);
    let agent = &bench.agent;
    for path in ["versions", "versions/"] {
        let (status, answer) = agent.ask("GET", &format!("/v2/models/{MODEL}/{path}"), "");
        assert_eq!((status, &answer["versions"]), (200, &json!(["1.0.0"])));
    }
    let version = |version: &str, rest: &str| format!("/v2/models/{MODEL}/versions/{version}{rest}");
    assert_eq!(agent.ask("GET", &version("1.0.0", ""), "").1["name"], MODEL);
    assert_eq!(agent.ask("GET", &version("1.0.0", "/ready"), "").0, 200);
    let body = json!({"inputs": [row(0.1)]}).to_string();
    assert_eq!(agent.ask("POST", &version("1.0.0", "/infer"), &body).0, 200);
    for (method, path) in [("GET", ""), ("GET", "/ready"), ("POST", "/infer")] {
        let (status, answer) = agent.ask(method, &version("2.0.0", path), &body);
        assert_eq!(status, 404);
        assert!(answer["error"].as_str().unwrap().contains("1.0.0 is"), "{answer}");
    }
    let (status, answer) = agent.ask("GET", "/v2/nowhere", "");
    assert!(status == 404 && answer["error"].as_str().unwrap().contains(MODEL), "{answer}");
    let (status, answer) = agent.ask("GET", &version("1.0.0", "/infer"), "");
    assert!(status == 405 && answer["error"].as_str().unwrap().contains("POST"), "{answer}");
}

#[test]
fn the_truth_about_a_model_that_decides_nothing_is_refused_with_the_reason() {
    let bench = Bench::with(|build| build.decision = None, &[]);
    let mut request = json!({"id": "17", "inputs": [row(0.1)]});
    assert_eq!(bench.infer(&request).0, 200);
    request = json!({"id": "17", "truth": false});
    let (status, told) =
        bench.agent.ask("POST", &format!("/v2/models/{MODEL}/feedback"), &request.to_string());
    assert_eq!(status, 404);
    assert!(told["error"].as_str().unwrap().contains("registered without a decision"), "{told}");
}
