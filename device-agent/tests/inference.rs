//! The local API over models that hang, panic or change under a request.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use modelfleet_agent::admit::Ready;
use modelfleet_agent::api::{self, ApiError};
use modelfleet_agent::config::Listen;
use modelfleet_agent::engine::{RunError, Session};
use modelfleet_agent::serve::{Instance, Model, Models, Reading};
use modelfleet_agent::tensor::NamedTensor;
use modelfleet_agent_core::build::Build;
use modelfleet_agent_core::words::{Input, Role, Watch};
use modelfleet_protocol::bins::Bins;
use modelfleet_protocol::generated::Counters;
use modelfleet_protocol::model::{FeatureProfile, Profile};
use modelfleet_protocol::time::Time;
use support::{LIMIT, MODEL, infer_body, pump_build, server, wait};
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
    Hangs(Arc<Gate>),
    Panics,
}

impl Session for Manner {
    fn run(&self, _: &[NamedTensor]) -> Result<Vec<NamedTensor>, RunError> {
        match self {
            Manner::Answers => {}
            Manner::Hangs(gate) => gate.pass(),
            Manner::Panics => panic!("as a broken engine does"),
        }
        Ok(Vec::new())
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
    fn patient(patience: Duration) -> Bench {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (dir, stop) = (tempfile::tempdir().unwrap(), CancellationToken::new());
        let models = Arc::new(Models::remembering(16));
        let model = models.entry(&MODEL.parse().unwrap());
        let (path, over) = (dir.path().to_owned(), stop.clone());
        let served = runtime.spawn(async move {
            let listen = Listen::Tcp("127.0.0.1:0".parse().unwrap());
            api::serve(&listen, &path, models, patience, over).await
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

    /// Places a build and observes it.
    fn place(&self, role: Role, version: &str, manner: Manner) {
        let build = Bench::build(version);
        let reading = Reading::of(&build).unwrap();
        let ready = Arc::new(Ready::new(Box::new(manner), "made-up".into(), None));
        self.model.place(role, Some(Arc::new(Instance { build: build.clone(), ready, reading })));
        let watch = Watch { model: MODEL.parse().unwrap(), build: Some(build), window_ms: 60_000, role };
        drop(self.model.watch(Time(0), &watch));
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
        let path = format!("/v2/models/{MODEL}/infer");
        server::request(&self.address(), "POST", &path, &infer_body()).0
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
        self.model.with_recorder(role, |recorder| recorder.tell_health(&mut inputs));
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
    let text = format!("POST /v2/models/{MODEL}/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{{");
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
        api::serve(&listen, &missing, Arc::new(Models::remembering(1)), LONG, over).await
    });
    wait("the socket", || std::os::unix::net::UnixStream::connect(&socket).ok());
    stop.cancel();
    runtime.block_on(served).unwrap().unwrap();
}
