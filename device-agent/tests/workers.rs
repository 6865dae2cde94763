//! ONNX Runtime in worker processes: the answers are those of the engine in the agent's own process, and whatever happens to
//! a worker happens to its model alone.

#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use modelfleet_agent::engine::onnxruntime::OnnxRuntime;
use modelfleet_agent::engine::worker::{Settings, WorkerArgs, WorkerEngine};
use modelfleet_agent::engine::{Engines, Loaded, Port, RunError};
use modelfleet_agent::tensor::{Elements, NamedTensor};
use modelfleet_test_support::endless_model::endless;
use modelfleet_test_support::pump_plan::pump_model;
use rustix::process::Signal;
use support::onnxruntime;
use support::processes::{WorkerProcess, workers_of};
use support::small_models::{build, load};

const SOON: Duration = Duration::from_secs(5);

/// Workers of this process are told apart by when they started; so tests that look at them take turns.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn engines(memory_limit_bytes: u64) -> Engines {
    let worker = WorkerArgs { library: onnxruntime(), memory_limit_bytes };
    let program = support::program();
    let engine = WorkerEngine::open(Settings { program, worker }).unwrap();
    assert_eq!(engine.unconfined(), None, "this machine has filters of system calls");
    Engines::new(vec![Arc::new(engine)])
}

/// The engine in this process, which can have it once.
fn inside() -> Engines {
    static OPENED: OnceLock<Arc<OnnxRuntime>> = OnceLock::new();
    let open = || Arc::new(OnnxRuntime::open(&onnxruntime(), 1).unwrap());
    Engines::new(vec![OPENED.get_or_init(open).clone()])
}

fn loaded(engines: &Engines, bytes: &[u8]) -> (Loaded, WorkerProcess) {
    let before = workers_of(std::process::id());
    let loaded = engines.load(bytes, &build(bytes)).unwrap_or_else(|e| panic!("{e}"));
    let fresh: Vec<_> = workers_of(std::process::id()).into_iter().filter(|w| !before.contains(w)).collect();
    let [worker] = fresh[..] else { panic!("{fresh:?}") };
    (loaded, worker)
}

fn features(rows: usize) -> Vec<NamedTensor> {
    let row = [0.111_f32, 0.39, 3.51, -0.062, 58_782.0, 13_805.0, 339.8];
    let data = Elements::F32(row.iter().copied().cycle().take(7 * rows).collect());
    vec![NamedTensor { name: "features".into(), shape: vec![rows, 7], data }]
}

/// An input of ones, with one row where a size is open.
fn ones(port: &Port) -> Option<NamedTensor> {
    let dims = port.shape.as_ref()?.iter().map(|&dim| usize::try_from(dim).unwrap_or(1));
    let shape: Vec<usize> = dims.collect();
    let count = shape.iter().product();
    let data = match port.datatype {
        "BYTES" => Elements::Text(vec!["a".to_owned(); count]),
        datatype => Elements::of_datatype(datatype, &vec![1.0; count])?,
    };
    Some(NamedTensor { name: port.name.clone(), shape, data })
}

/// What a model comes to: how it loads, and how it answers.
fn outcome(engines: &Engines, name: &str) -> String {
    let loaded = match load(engines, name) {
        Ok(loaded) => loaded,
        Err(error) => return format!("{:?}", error.code()),
    };
    let inputs: Option<Vec<_>> = loaded.ports.inputs.iter().map(ones).collect();
    match inputs.map(|inputs| loaded.session.run(&inputs)) {
        None => "loaded".into(),
        Some(Ok(outputs)) => format!("{outputs:?}"),
        Some(Err(error)) => format!("{:?}", std::mem::discriminant(&error)),
    }
}

#[test]
fn every_small_model_comes_to_the_same_in_a_worker() {
    let _turn = turn();
    let inside = inside();
    let worker = engines(0);
    assert_eq!(worker.infos(), inside.infos());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let names = files.filter(|path| path.extension().is_some_and(|e| e == "onnx"));
    let mut compared = 0;
    for path in names {
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert_eq!(outcome(&worker, name), outcome(&inside, name), "{name}");
        compared += 1;
    }
    assert!(compared > 20, "{compared}");
}

#[test]
fn large_requests_and_answers_come_whole() {
    let _turn = turn();
    let bytes = pump_model("1.0.0");
    let (model, _) = loaded(&engines(0), &bytes);
    let inside = inside();
    let inside = inside.load(&bytes, &build(&bytes)).unwrap();
    for rows in [1, 3_000, 50_000] {
        assert_eq!(model.session.run(&features(rows)).unwrap(), inside.session.run(&features(rows)).unwrap());
    }
}

#[test]
fn a_worker_has_no_files_no_secrets_and_no_way_out() {
    let _turn = turn();
    let (_model, worker) = loaded(&engines(512 << 20), &pump_model("1.0.0"));
    // Cargo sets where libraries are for tests; a service has nothing there.
    let environment = worker.text("environ");
    let mut variables = environment.split('\0').filter(|variable| !variable.is_empty());
    assert!(
        variables.all(|v| v.starts_with("LD_LIBRARY_PATH=") || v == "ORT_DISABLE_TELEMETRY=1"),
        "{environment}"
    );
    let mut descriptors = worker.descriptors();
    // What the test was started with is not the agent's doing.
    let own = WorkerProcess(std::process::id()).descriptors();
    descriptors.retain(|descriptor| !own.contains(descriptor) || descriptor.0 == "2");
    assert!(
        descriptors.iter().all(|(number, to)| to.starts_with("socket:") || ["1", "2"].contains(&&**number)),
        "{descriptors:?}"
    );
    let status = worker.text("status");
    let says = |line: &str| assert!(status.lines().any(|l| l == line), "{line}: {status}");
    says("Seccomp:\t2");
    says("NoNewPrivs:\t1");
    let limits = worker.text("limits");
    let limit = limits.lines().find(|line| line.starts_with("Max data size")).unwrap();
    assert!(limit.contains("536870912"), "{limit}");
    assert!(worker.text("oom_score_adj").trim().parse::<i32>().unwrap() > 0);
}

#[test]
fn a_worker_that_is_killed_in_the_middle_of_a_prediction_is_an_error_of_that_prediction() {
    let _turn = turn();
    let engines = engines(0);
    let (other, _) = loaded(&engines, &pump_model("1.0.0"));
    let (model, worker) = loaded(&engines, &endless());
    let session = &model.session;
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| session.run_within(&features(1), Duration::from_secs(60)));
        // The loop takes processor time: the prediction has begun.
        modelfleet_test_support::wait::wait("the model to run", || {
            let stat = worker.text("stat");
            stat.rsplit_once(')').filter(|(_, fields)| fields.trim_start().starts_with('R')).map(|_| ())
        });
        worker.signal(Signal::KILL);
        let error = answer.join().unwrap().unwrap_err();
        assert!(matches!(error, RunError::Ended { .. }) && error.to_string().contains("SIGKILL"), "{error}");
    });
    assert!(session.ended().unwrap().contains("SIGKILL"));
    assert!(matches!(session.run(&features(1)), Err(RunError::Ended { .. })));
    assert_eq!(other.session.run(&features(1)).unwrap().len(), 2, "another model goes on");
    assert_eq!(other.session.ended(), None);
}

#[test]
fn a_worker_that_does_not_answer_is_ended() {
    let _turn = turn();
    let engines = engines(0);
    let (stopped, worker) = loaded(&engines, &pump_model("1.0.0"));
    worker.signal(Signal::STOP);
    let (hanging, hangs) = loaded(&engines, &endless());
    for (model, worker) in [(&stopped, worker), (&hanging, hangs)] {
        let start = Instant::now();
        let error = model.session.run_within(&features(1), Duration::from_millis(200)).unwrap_err();
        assert!(error.to_string().contains("no answer within 200 ms"), "{error}");
        assert!(start.elapsed() < SOON);
        worker.wait_gone();
    }
}

#[test]
fn an_idle_worker_that_ends_is_noticed_without_a_request() {
    let _turn = turn();
    let (model, worker) = loaded(&engines(0), &pump_model("1.0.0"));
    assert_eq!(model.session.ended(), None);
    worker.signal(Signal::ABORT);
    worker.wait_gone();
    assert!(model.session.ended().unwrap().contains("SIGABRT"));
}

#[test]
fn a_model_that_takes_too_much_memory_costs_only_its_own_prediction() {
    let _turn = turn();
    let engines = engines(256 << 20);
    let (pumps, _) = loaded(&engines, &pump_model("1.0.0"));
    let bytes = support::small_models::small_model("pairs");
    let (greedy, worker) = loaded(&engines, &bytes);
    let size = 20_000;
    let input =
        |size| [NamedTensor { name: "x".into(), shape: vec![size], data: Elements::F32(vec![1.0; size]) }];
    // Each element with each: 1.6 GB.
    let error = greedy.session.run(&input(size)).unwrap_err();
    assert!(matches!(error, RunError::Memory { .. } | RunError::Ended { .. }), "{error}");
    assert!(!worker.runs() || greedy.session.run(&input(3)).is_ok());
    assert!(pumps.session.run(&features(1)).is_ok());
}

#[test]
fn a_worker_that_is_asked_to_end_leaves_that_to_the_agent() {
    let _turn = turn();
    let (model, worker) = loaded(&engines(0), &pump_model("1.0.0"));
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        worker.signal(signal);
        assert!(model.session.run(&features(1)).is_ok(), "{signal:?}");
    }
    drop(model);
    worker.wait_gone();
}

#[test]
fn workers_end_with_their_sessions() {
    let _turn = turn();
    let (model, worker) = loaded(&engines(0), &pump_model("1.0.0"));
    assert!(worker.runs());
    drop(model);
    worker.wait_gone();
}

#[test]
fn sessions_of_many_threads_take_turns() {
    let _turn = turn();
    let (model, _) = loaded(&engines(0), &pump_model("1.0.0"));
    let expected = model.session.run(&features(2)).unwrap();
    let answered = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    assert_eq!(model.session.run(&features(2)).unwrap(), expected);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(answered.load(Ordering::Relaxed), 200);
}

#[test]
fn a_library_that_is_none_is_told() {
    let _turn = turn();
    let worker = WorkerArgs { library: "/dev/null".into(), memory_limit_bytes: 0 };
    let program = support::program();
    let Err(error) = WorkerEngine::open(Settings { program, worker }) else { panic!("it is opened") };
    assert!(error.to_string().contains("/dev/null"), "{error}");
    let worker = WorkerArgs { library: onnxruntime(), memory_limit_bytes: 0 };
    let Err(error) = WorkerEngine::open(Settings { program: "/nowhere".into(), worker }) else {
        panic!("it starts")
    };
    assert!(error.to_string().contains("could not be started"), "{error}");
}
