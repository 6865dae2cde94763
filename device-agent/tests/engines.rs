//! rten over small models: it answers exactly, or refuses the file. What ONNX Runtime says is in `reference.rs`.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use modelfleet_agent::admit::Loader;
use modelfleet_agent::engine::{Engine, Engines, LoadError, Ports, RunError, Session};
use modelfleet_agent::fetch::Keys;
use modelfleet_agent::tensor::{Elements, NamedTensor};
use modelfleet_protocol::model::{ModelBuild, SelfTest, Tensor, Values};
use modelfleet_protocol::state::{EngineInfo, FailureCode};
use modelfleet_protocol::statement::{BareSignatures, Statement};
use support::small_models::{build, load, ready, refuse_what_cannot_be_sent, rten, small_model};

#[test]
fn a_missing_value_stays_one_on_rten() {
    let data = Elements::F32(vec![f32::NAN, 1.0, f32::INFINITY, -3.0]);
    let inputs = [NamedTensor { name: "x".into(), shape: vec![2, 2], data }];
    let outputs = load(&rten(), "bounded").unwrap().session.run(&inputs).unwrap();
    let NamedTensor { data: Elements::F32(found), .. } = &outputs[0] else { panic!("{outputs:?}") };
    assert!(found[0].is_nan(), "{found:?}");
    assert_eq!(found[1..], [0.0, 6.0, -1.0]);
}

#[test]
fn what_rten_would_run_otherwise_than_the_file_says_it_refuses() {
    let cases = [
        ("quantised-convolution", "DynamicQuantizeLinear"),
        ("int64-product", "64 bits"),
        ("int64-same", "64 bits"),
        ("int64-inside", "64 bits"),
        ("int64-weight", "64 bits"),
        ("double-sum", "double precision"),
        ("double-inside", "double precision"),
        ("half-inside", "half floats"),
        ("truth-of-number", "BOOL"),
        ("sign", "Sign"),
        ("softplus", "Softplus"),
        ("softmax-of-set-11", "below 13"),
        ("same-lower", "SAME_LOWER"),
        ("lengths", "lengths of sequences"),
        ("cubic", "cubic"),
        ("next-above", "point above"),
        ("quantised", "QuantizeLinear"),
        ("every-type", "rten"),
    ];
    for (name, part) in cases {
        let Err(error) = load(&rten(), name) else { panic!("{name} is taken") };
        assert!(matches!(error, LoadError::Inexact { .. }), "{name}: {error:?}");
        assert!(error.to_string().contains(part), "{name}: {error}");
        assert!(error.code().is_incompatibility(), "{name}");
    }
}

#[test]
fn lists_and_what_cannot_be_sent_are_refused() {
    refuse_what_cannot_be_sent(&rten());
}

#[test]
fn a_size_that_a_request_chooses_is_no_end_of_the_process() {
    for name in ["expand", "expand-narrow", "expand-weight"] {
        let Err(error) = load(&rten(), name) else { panic!("{name} is taken") };
        assert!(error.code().is_incompatibility(), "{name}: {error}");
    }
    let loaded = load(&rten(), "pairs").unwrap();
    let row =
        |size| [NamedTensor { name: "x".into(), shape: vec![size], data: Elements::F32(vec![1.0; size]) }];
    assert!(loaded.ports.check(&row(100_000)).unwrap_err().contains("at most 8192"));
    assert!(loaded.ports.check(&row(8192)).is_ok());
}

/// An engine that answers every row with its sum, and a batch with the sum of the first row where it is flawed.
struct Summing {
    name: &'static str,
    flawed: bool,
}

impl Engine for Summing {
    fn info(&self) -> EngineInfo {
        EngineInfo { name: self.name.into(), ..EngineInfo::default() }
    }

    fn is_reference(&self) -> bool {
        !self.flawed
    }

    fn open_max(&self) -> Option<usize> {
        None
    }

    fn load(&self, _: &[u8], _: &Ports) -> Result<Box<dyn Session>, LoadError> {
        Ok(Box::new(Summing { ..*self }))
    }
}

impl Session for Summing {
    fn run(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, RunError> {
        let Elements::F32(values) = &inputs[0].data else { panic!("{inputs:?}") };
        let sums: Vec<f32> = values.chunks(2).map(|row| row.iter().sum()).collect();
        let told = |index: usize| if self.flawed { sums[0] } else { sums[index] };
        let data = Elements::F32((0..sums.len()).map(told).collect());
        Ok(vec![NamedTensor { name: "y".into(), shape: vec![sums.len(), 1], data }])
    }
}

#[test]
fn an_engine_that_is_right_for_rows_and_wrong_for_batches_is_found_on_the_device() {
    let bytes = small_model("double-inside");
    let mut build = build(&bytes);
    let tensor =
        |name: &str, size| Tensor { name: name.into(), datatype: "FP32".into(), shape: vec![-1, size] };
    (build.inputs, build.outputs) = (vec![tensor("x", 2)], vec![tensor("y", 1)]);
    let row = |x: [f64; 2]| SelfTest {
        inputs: vec![Values { name: "x".into(), values: x.to_vec(), texts: Vec::new() }],
        outputs: vec![Values { name: "y".into(), values: vec![x[0] + x[1]], texts: Vec::new() }],
        tolerance: 1e-5,
    };
    build.self_test = vec![row([1.0, 2.0]), row([3.0, 4.0])];
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model");
    std::fs::write(&path, &bytes).unwrap();
    let ready = |engines: Vec<Arc<dyn Engine>>| {
        Loader::new(Engines::new(engines), Keys::default()).ready(&path, &build.clone().into())
    };
    let flawed = || Arc::new(Summing { name: "Flawed", flawed: true });
    let Err(error) = ready(vec![flawed()]) else { panic!("it is taken") };
    let failure = error.failure();
    assert!(failure.code.is_incompatibility(), "{failure:?}");
    assert!(failure.detail.contains("batch of 2") && failure.detail.contains("Flawed"), "{failure:?}");
    let right = Arc::new(Summing { name: "Right", flawed: false });
    assert_eq!(ready(vec![flawed(), right]).unwrap().engine, "Right");
}

#[test]
fn bytes_that_are_loaded_already_do_not_answer_as_what_they_were_not_signed_as() {
    let bytes = small_model("bounded");
    let dir = tempfile::tempdir().unwrap();
    let (path, key) = (dir.path().join("model"), dir.path().join("key.pub"));
    std::fs::write(&path, &bytes).unwrap();
    let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
    std::fs::write(&key, pair.pk.to_box().unwrap().into_string()).unwrap();
    let mut pump = ModelBuild { outputs: Vec::new(), ..build(&bytes) };
    let comment = Statement::of(&pump).to_string();
    let signature = minisign::sign(Some(&pair.pk), &pair.sk, &bytes[..], Some(&comment), None).unwrap();
    pump.signatures = vec![signature.into_string()];
    let keys = Keys::read(&[key], BareSignatures::Refused).unwrap();
    let loader = Loader::new(rten(), keys);
    let answers = loader.ready(&path, &pump.clone().into()).unwrap();
    let again = loader.ready(&path, &pump.clone().into()).unwrap();
    assert!(Arc::ptr_eq(&answers, &again), "it is loaded once");
    let valve = ModelBuild { model: "valve".parse().unwrap(), ..pump };
    let Err(error) = loader.ready(&path, &valve.into()) else { panic!("it is taken") };
    assert_eq!(error.failure().code, FailureCode::SignatureInvalid);
    assert!(error.failure().detail.contains("not as valve 1.0.0"), "{:?}", error.failure());
}

#[test]
fn what_an_engine_loads_and_cannot_run_is_incompatible_before_anybody_asks() {
    let dir = tempfile::tempdir().unwrap();
    for (name, part) in [("uint8-sum", "unsupported input type"), ("reset-after", "linear_before_reset=0")] {
        let Err(error) = ready(dir.path(), name, &rten()) else { panic!("{name} is taken") };
        let failure = error.failure();
        assert!(failure.code.is_incompatibility(), "{name}: {failure:?}");
        assert!(failure.detail.contains(part) && failure.detail.contains("Rten"), "{name}: {failure:?}");
    }
    // What only the made-up values are to blame for is taken.
    for name in ["lookup-narrow", "int32-product", "pairs", "sizes"] {
        assert!(ready(dir.path(), name, &rten()).is_ok(), "{name}");
    }
}
