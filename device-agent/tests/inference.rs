//! The local API over models that hang, panic or change under a request.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use modelfleet_agent::admit::Ready;
use modelfleet_agent::api::{self, ApiError};
use modelfleet_agent::config::Listen;
use modelfleet_agent::engine::{Port, Ports, RunError, Session};
use modelfleet_agent::serve::{Instance, Keeping, Model, Models, Reading};
use modelfleet_agent::tensor::{Elements, NamedTensor};
use modelfleet_agent_core::build::Build;
use modelfleet_agent_core::interface::{Input, RecordingTarget, Role};
use modelfleet_protocol::bins::Bins;
use modelfleet_protocol::generated::Counters;
use modelfleet_protocol::model::{FeatureProfile, Profile};
use modelfleet_protocol::time::Time;
use modelfleet_test_support::pump_plan::{MODEL, infer_body, pump_build};
use modelfleet_test_support::wait::{LIMIT, wait};
use support::server;
use tokio_util::sync::CancellationToken;

/// Time of a prediction: little where one hangs, much where it must answer on a busy machine.
const SHORT: Duration = Duration::from_millis(100);
const MEDIUM: Duration = Duration::from_millis(500);
const LONG: Duration = Duration::from_secs(20);

/// Holds predictions until it is opened.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
    /// Predictions that have come to it.
    came: Mutex<usize>,
}

impl Gate {
    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    fn pass(&self) {
        *self.came.lock().unwrap() += 1;
        let open = self.open.lock().unwrap();
        drop(self.opened.wait_while(open, |open| !*open).unwrap());
    }
}

enum Manner {
    Answers,
    /// With nothing, or with something else than its signature says.
    Forgets,
    /// As an engine does that cannot look up an index.
    Cannot,
    Hangs(Arc<Gate>),
    Panics,
}

impl Session for Manner {
    fn run(&self, _: &[NamedTensor]) -> Result<Vec<NamedTensor>, RunError> {
        match self {
            Manner::Answers => {}
            Manner::Forgets => return Ok(Vec::new()),
            Manner::Cannot => {
                return Err(RunError::Values { engine: "made-up", detail: "index 7 of 3".into() });
            }
            Manner::Hangs(gate) => gate.pass(),
            Manner::Panics => panic!("as a broken engine does"),
        }
        Ok(vec![NamedTensor { name: "label".into(), shape: vec![1, 1], data: Elements::I64(vec![1]) }])
    }
}

fn ports() -> Ports {
    let port = |name: &str, datatype, size| Port { name: name.into(), datatype, shape: Some(vec![-1, size]) };
    Ports {
        inputs: vec![port("features", "FP32", 7)],
        outputs: vec![port("label", "INT64", 1)],
        open_max: None,
    }
}

/// A served model whose builds are made up.
struct Bench {
    runtime: Option<tokio::runtime::Runtime>,
    served: Option<tokio::task::JoinHandle<Result<(), ApiError>>>,
    stop: CancellationToken,
    dir: tempfile::TempDir,
    gate: Arc<Gate>,
    model: Arc<Model>,
}

impl Bench {
    fn patient(time_limit: Duration) -> Bench {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (dir, stop) = (tempfile::tempdir().unwrap(), CancellationToken::new());
        let models = Arc::new(Models::keeping(Keeping::default()));
        let model = models.entry(&MODEL.parse().unwrap());
        let (path, over) = (dir.path().to_owned(), stop.clone());
        let served = runtime.spawn(async move {
            let listen = Listen::Tcp("127.0.0.1:0".parse().unwrap());
            api::serve(&listen, &path, models, time_limit, api::AccessRules::default(), over).await
        });
        let (runtime, served) = (Some(runtime), Some(served));
        Bench { runtime, served, stop, dir, gate: Arc::default(), model }
    }

    /// A build of this version, with seven features.
    fn build(version: &str) -> Build {
        let mut build = pump_build(version, version.as_bytes(), String::new());
        let feature = |index: usize| FeatureProfile {
            name: format!("f{index}"),
            expected_min: -1e9,
            expected_max: 1e9,
            edges: vec![0.0],
            counts: Bins(vec![1, 1]),
        };
        build.profile = Some(Profile { features: (0..7).map(feature).collect(), confidence: None });
        build.into()
    }

    /// RunPermits a build and observes it.
    fn place(&self, role: Role, version: &str, manner: Manner) {
        let build = Bench::build(version);
        let reading = Reading::of(&build).unwrap();
        let ready = Arc::new(Ready::new(Box::new(manner), "made-up".into(), Some(ports())));
        self.model.place(role, Some(Arc::new(Instance { build: build.clone(), ready, reading })));
        let watch =
            RecordingTarget { model: MODEL.parse().unwrap(), build: Some(build), window_ms: 60_000, role };
        drop(self.model.record_for(Time(0), &watch));
    }

    fn hanging(&self) -> Manner {
        Manner::Hangs(self.gate.clone())
    }

    fn address(&self) -> String {
        let path = self.dir.path().join("api-address");
        wait("the address", || {
            Some(std::fs::read_to_string(&path).ok()?.trim().strip_prefix("http://")?.to_owned())
        })
    }

    fn infer(&self) -> u16 {
        self.ask(&infer_body()).0
    }

    fn ask(&self, body: &str) -> (u16, serde_json::Value) {
        server::request(&self.address(), "POST", &format!("/v2/models/{MODEL}/infer"), body)
    }

    /// What was counted of a role until now.
    fn counted(&self, role: Role) -> Counters {
        let inputs = self.model.with_recorder(role, |recorder| recorder.tick(Time(60_000)));
        let window = inputs.into_iter().find_map(|input| match input {
            Input::WindowClosed { window, .. } => Some(window.counters),
            _ => None,
        });
        window.unwrap_or_default()
    }

    /// How many of a role have failed, when that has changed.
    fn failed(&self, role: Role) -> u64 {
        let mut inputs = Vec::new();
        self.model.with_recorder(role, |recorder| recorder.report_health(&mut inputs));
        let errors = inputs.iter().map(|i| if let Input::Health { errors, .. } = i { *errors } else { 0 });
        errors.sum()
    }

    /// How serving ended.
    fn end(&mut self) -> Result<(), ApiError> {
        let served = self.served.take().unwrap();
        let ended = async { tokio::time::timeout(LIMIT, served).await };
        self.runtime.as_ref().unwrap().block_on(ended).expect("serving ends in time").unwrap()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.gate.open();
        self.stop.cancel();
        self.runtime.take().unwrap().shutdown_background();
    }
}

#[test]
fn a_build_that_hangs_leaves_the_one_before_free() {
    let bench = Bench::patient(MEDIUM);
    bench.place(Role::Live, "2.0.0", bench.hanging());
    for _ in 0..6 {
        assert_eq!(bench.infer(), 504);
    }
    assert_eq!(*bench.gate.came.lock().unwrap(), 4, "its places");
    let counted = bench.counted(Role::Live);
    assert_eq!((counted.requests, counted.timeouts, counted.missing), (6, 6, 0));
    bench.place(Role::Live, "1.0.0", Manner::Answers);
    for _ in 0..10 {
        assert_eq!(bench.infer(), 200);
    }
}

#[test]
fn a_shadow_that_hangs_is_counted_and_takes_nothing_from_what_answers() {
    let bench = Bench::patient(MEDIUM);
    bench.place(Role::Live, "1.0.0", Manner::Answers);
    bench.place(Role::Shadow, "2.0.0", bench.hanging());
    for _ in 0..20 {
        assert_eq!(bench.infer(), 200);
    }
    wait("timeouts of the shadow", || {
        assert_eq!(bench.infer(), 200);
        (bench.failed(Role::Shadow) > 1).then_some(())
    });
    assert_eq!(*bench.gate.came.lock().unwrap(), 1, "one run at a time");
}

#[test]
fn a_late_request_is_not_booked_to_the_build_after_it() {
    let bench = Bench::patient(MEDIUM);
    bench.place(Role::Live, "1.0.0", bench.hanging());
    std::thread::scope(|scope| {
        let late = scope.spawn(|| bench.infer());
        wait("the request to come", || (*bench.gate.came.lock().unwrap() == 1).then_some(()));
        bench.place(Role::Live, "2.0.0", Manner::Answers);
        assert_eq!(late.join().unwrap(), 504);
    });
    assert_eq!(bench.counted(Role::Live).requests, 0);
    assert_eq!(bench.infer(), 200);
}

#[test]
fn a_panic_is_an_error_of_the_model() {
    let bench = Bench::patient(LONG);
    bench.place(Role::Live, "2.0.0", Manner::Panics);
    assert_eq!(bench.infer(), 500);
    let counted = bench.counted(Role::Live);
    assert_eq!((counted.requests, counted.errors, counted.missing), (1, 1, 0));
}

#[test]
fn an_answer_without_an_output_of_the_signature_is_an_error() {
    let bench = Bench::patient(LONG);
    bench.place(Role::Live, "2.0.0", Manner::Forgets);
    let (status, answer) = bench.ask(&infer_body());
    assert_eq!(status, 500, "{answer}");
    assert!(answer["error"].as_str().unwrap().contains("\"label\": is missing"), "{answer}");
    let counted = bench.counted(Role::Live);
    assert_eq!((counted.requests, counted.errors), (1, 1));
}

#[test]
fn what_the_caller_does_wrong_is_told_and_held_against_no_build() {
    let bench = Bench::patient(LONG);
    bench.place(Role::Live, "2.0.0", Manner::Answers);
    let input = |name: &str, shape: &str, datatype: &str, data: &str| {
        format!(r#"{{"inputs":[{{"name":"{name}","shape":{shape},"datatype":"{datatype}","data":{data}}}]}}"#)
    };
    let row = "[1,2,3,4,5,6,7]";
    let good = input("features", "[1,7]", "FP32", row);
    let cases = [
        (input("other", "[1,7]", "FP32", row), "expected features: FP32 [-1, 7]"),
        (r#"{"inputs":[]}"#.to_owned(), "input features: FP32 [-1, 7] is missing"),
        (input("features", "[1,7]", "FP64", row), "expected input features: FP32 [-1, 7], got FP64 [1, 7]"),
        (input("features", "[7]", "FP32", row), "got FP32 [7]"),
        (input("features", "[7,1]", "FP32", row), "got FP32 [7, 1]"),
        (input("features", "[1,8]", "FP32", row), "shape [1, 8] has 8 elements, data has 7"),
        (input("features", "[1,7]", "INT64", "[0.5]"), "whole numbers"),
        (input("features", "[1,7]", "FP8", row), "FP8"),
        ("not json".to_owned(), "cannot be read"),
        (
            good.replacen('{', r#"{"outputs":[{"name":"scores"}],"#, 1),
            "there is no output \"scores\"; there are label: INT64 [-1, 1]",
        ),
    ];
    for (body, part) in &cases {
        let (status, answer) = bench.ask(body);
        assert_eq!(status, 400, "{body} {answer}");
        assert!(answer["error"].as_str().unwrap().contains(part), "{part}: {answer}");
    }
    assert_eq!(bench.ask(&good).0, 200);
    let counted = bench.counted(Role::Live);
    assert_eq!((counted.requests, counted.errors, counted.readings), (1, 0, 7));
    assert_eq!(counted.refused, cases.len() as u64);
    assert_eq!(bench.failed(Role::Live), 0);
}

#[test]
fn values_that_cannot_be_answered_are_the_callers_while_most_are_answered() {
    let bench = Bench::patient(LONG);
    bench.place(Role::Live, "2.0.0", Manner::Cannot);
    // It has answered nothing yet: there is no sign that another build would be like it.
    let (status, answer) = bench.ask(&infer_body());
    assert_eq!(status, 400, "{answer}");
    assert!(answer["error"].as_str().unwrap().contains("index 7 of 3"), "{answer}");
    let live = bench.model.live().unwrap();
    for _ in 0..5 {
        live.ready.has_answered();
    }
    for _ in 0..7 {
        assert_eq!(bench.infer(), 400);
    }
    let counted = bench.counted(Role::Live);
    assert_eq!((counted.errors, counted.refused), (4, 4));
}

#[test]
fn only_the_outputs_that_are_wanted_come_back() {
    let bench = Bench::patient(LONG);
    bench.place(Role::Live, "2.0.0", Manner::Answers);
    let wanted = infer_body().replacen('{', r#"{"outputs":[{"name":"label"}],"#, 1);
    let (status, answer) = bench.ask(&wanted);
    assert_eq!((status, answer["outputs"].as_array().unwrap().len()), (200, 1), "{answer}");
    assert_eq!(answer["outputs"][0]["data"], serde_json::json!([1]));
}

#[test]
fn tensors_go_in_and_come_out_as_bytes() {
    let bench = Bench::patient(LONG);
    bench.place(Role::Live, "2.0.0", Manner::Answers);
    let json = r#"{"id":"9","inputs":[{"name":"features","shape":[1,7],"datatype":"FP32",
        "parameters":{"binary_data_size":28}}],"outputs":[{"name":"label","parameters":{"binary_data":true}}]}"#;
    let row: Vec<u8> = [1.0_f32; 7].iter().flat_map(|x| x.to_le_bytes()).collect();
    let address = bench.address();
    let mut stream = TcpStream::connect(&address).unwrap();
    let head = format!(
        "POST /v2/models/{MODEL}/infer HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n\
         Inference-Header-Content-Length: {}\r\n\r\n{json}",
        json.len() + row.len(),
        json.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&row).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let split = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let (head, body) = (String::from_utf8_lossy(&answer[..split]).to_lowercase(), &answer[split + 4..]);
    assert!(head.starts_with("http/1.1 200") && head.contains("application/octet-stream"), "{head}");
    let length = head.split("inference-header-content-length: ").nth(1).unwrap();
    let length: usize = length.lines().next().unwrap().trim().parse().unwrap();
    let told: serde_json::Value = serde_json::from_slice(&body[..length]).unwrap();
    assert_eq!((&told["id"], &told["outputs"][0]["data"]), (&"9".into(), &serde_json::Value::Null));
    assert_eq!(told["outputs"][0]["parameters"]["binary_data_size"], 8);
    assert_eq!(body[length..], 1_i64.to_le_bytes());
}

#[test]
fn a_build_that_answers_no_more_ends_the_process() {
    let mut bench = Bench::patient(SHORT);
    bench.place(Role::Live, "1.0.0", bench.hanging());
    for _ in 0..4 {
        assert_eq!(bench.infer(), 504);
    }
    let ended = bench.end().unwrap_err();
    assert!(matches!(&ended, ApiError::Stuck { version, .. } if version == "1.0.0"), "{ended}");
}

#[test]
fn unfinished_requests_do_not_keep_it_from_ending() {
    let mut bench = Bench::patient(LONG);
    let mut head = TcpStream::connect(bench.address()).unwrap();
    head.write_all(b"GET /v2 HTTP/1.1\r\nHost:").unwrap();
    let mut body = TcpStream::connect(bench.address()).unwrap();
    let text =
        format!("POST /v2/models/{MODEL}/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{{");
    body.write_all(text.as_bytes()).unwrap();
    // An answer on a third one shows that the others were accepted.
    assert_eq!(server::request(&bench.address(), "GET", "/v2", "").0, 200);
    bench.stop.cancel();
    bench.end().unwrap();
}

#[test]
fn a_folder_that_cannot_be_written_takes_no_answers_away() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (socket, stop) = (dir.path().join("socket"), CancellationToken::new());
    let (listen, over) = (Listen::Unix(socket.clone()), stop.clone());
    let missing = dir.path().join("missing");
    let served = runtime.spawn(async move {
        api::serve(
            &listen,
            &missing,
            Arc::new(Models::keeping(Keeping::default())),
            LONG,
            api::AccessRules::default(),
            over,
        )
        .await
    });
    wait("the socket", || std::os::unix::net::UnixStream::connect(&socket).ok());
    stop.cancel();
    runtime.block_on(served).unwrap().unwrap();
}
