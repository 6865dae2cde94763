//! Both engines over the same small models: rten answers as ONNX Runtime does, or refuses the file.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::{Arc, OnceLock};

use modelfleet_agent::admit::Loader;
use modelfleet_agent::engine::onnxruntime::OnnxRuntime;
use modelfleet_agent::engine::rten::Rten;
use modelfleet_agent::engine::{Engine, Engines, LoadError, Loaded, Port, Ports, RunError, Session};
use modelfleet_agent::fetch::Keys;
use modelfleet_agent::tensor::{Elements, NamedTensor, elements_of};
use modelfleet_protocol::model::{ModelBuild, SelfTest, Tensor, Values};
use modelfleet_protocol::state::{EngineInfo, FailureCode};
use support::{onnxruntime, pump_build, small_model};

fn rten() -> Engines {
    Engines::new(vec![Arc::new(Rten::default())])
}

/// ONNX Runtime, which a process opens once; `None` where it cannot be had.
fn reference() -> Option<Engines> {
    Some(Engines::new(vec![opened()?]))
}

fn opened() -> Option<Arc<OnnxRuntime>> {
    static OPENED: OnceLock<Option<Arc<OnnxRuntime>>> = OnceLock::new();
    let open = || Some(Arc::new(OnnxRuntime::open(&onnxruntime()?, 1).unwrap()));
    OPENED.get_or_init(open).clone()
}

fn build(bytes: &[u8]) -> ModelBuild {
    pump_build("1.0.0", bytes, String::new())
}

fn load(engines: &Engines, name: &str) -> Result<Loaded, LoadError> {
    let bytes = small_model(name);
    engines.load(&bytes, &build(&bytes))
}

/// Numbers between -40 and 40, the same in every run; each fourth one is zero.
fn numbers(count: usize) -> Vec<f64> {
    let mut state = 12345_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 8) / f64::from(1 << 24) * 80.0 - 40.0
    };
    (0..count).map(|i| if i % 4 == 3 { 0.0 } else { next() }).collect()
}

/// Inputs of a model, its open sizes being `rows`.
fn inputs(loaded: &Loaded, rows: usize) -> Vec<NamedTensor> {
    let ports = loaded.ports.inputs.iter();
    let tensor = |port: &Port| {
        let size = |&dim: &i64| usize::try_from(dim).unwrap_or(rows);
        let shape: Vec<usize> = port.shape.as_ref().unwrap().iter().map(size).collect();
        let data = Elements::of_datatype(port.datatype, &numbers(elements_of(&shape).unwrap())).unwrap();
        NamedTensor { name: port.name.clone(), shape, data }
    };
    ports.map(tensor).collect()
}

fn same(name: &str, expected: &NamedTensor, found: &NamedTensor) {
    assert_eq!(
        (&expected.name, expected.data.datatype(), &expected.shape),
        (&found.name, found.data.datatype(), &found.shape),
        "{name}"
    );
    let (mut a, mut b) = (Vec::new(), Vec::new());
    expected.data.numbers(&mut a);
    found.data.numbers(&mut b);
    for (index, (a, b)) in a.iter().zip(&b).enumerate() {
        let equal = (a - b).abs() <= 1e-5 * a.abs().max(1.0) || (a.is_nan() && b.is_nan());
        assert!(equal, "{name} element {index}: {b} for {a}");
    }
}

#[test]
fn what_rten_takes_it_answers_as_onnx_runtime_does_in_rows_and_in_batches() {
    let Some(reference) = reference() else { return };
    for name in [
        "int32-product",
        "truths",
        "flattened",
        "largest",
        "largest-flat",
        "smallest-flat",
        "bounded",
        "sizes",
    ] {
        let loaded = load(&rten(), name).unwrap_or_else(|e| panic!("{name}: {e}"));
        let reference = load(&reference, name).unwrap();
        for rows in [1, 2, 3, 8] {
            let inputs = inputs(&loaded, rows);
            let expected = reference.session.run(&inputs).unwrap();
            let found = loaded.session.run(&inputs).unwrap_or_else(|e| panic!("{name} {rows}: {e}"));
            assert_eq!(expected.len(), found.len(), "{name}");
            expected.iter().zip(&found).for_each(|(e, f)| same(name, e, f));
        }
    }
}

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
fn the_examples_models_for_small_devices_run_on_rten() {
    let Some(reference) = reference() else { return };
    for version in ["1.0.0", "1.1.0"] {
        let path = support::examples().join(format!("wearable/models/motion-{version}.onnx"));
        let bytes = std::fs::read(path).unwrap();
        let loaded = rten().load(&bytes, &build(&bytes)).unwrap_or_else(|e| panic!("{version}: {e}"));
        let reference = reference.load(&bytes, &build(&bytes)).unwrap();
        for rows in [1, 5] {
            let inputs = inputs(&loaded, rows);
            let expected = reference.session.run(&inputs).unwrap();
            let found = loaded.session.run(&inputs).unwrap();
            expected.iter().zip(&found).for_each(|(e, f)| same(version, e, f));
        }
    }
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
fn what_rten_refuses_goes_to_onnx_runtime_where_it_is_there() {
    let Some(runtime) = opened() else { return };
    let both = Engines::new(vec![Arc::new(Rten::default()), runtime]);
    let loaded = load(&both, "quantised-convolution").unwrap();
    assert_eq!(loaded.engine, "OnnxRuntime");
    let single = inputs(&loaded, 1);
    let row = loaded.session.run(&single).unwrap();
    let NamedTensor { data: Elements::F32(first), .. } = &row[0] else { panic!("{row:?}") };
    assert!(first.iter().any(|x| *x != 0.0));
}

#[test]
fn every_element_type_goes_in_and_comes_out_as_it_is() {
    let Some(engine) = reference() else { return };
    let loaded = load(&engine, "every-type").unwrap();
    let data = [
        Elements::of_datatype("FP16", &[0.5, -65504.0]).unwrap(),
        Elements::of_datatype("BF16", &[0.5, -3e38]).unwrap(),
        Elements::F32(vec![f32::MIN_POSITIVE, f32::NEG_INFINITY]),
        Elements::F64(vec![1e-300, f64::MAX]),
        Elements::I8(vec![i8::MIN, i8::MAX]),
        Elements::I16(vec![i16::MIN, i16::MAX]),
        Elements::I32(vec![i32::MIN, i32::MAX]),
        Elements::I64(vec![i64::MIN, i64::MAX]),
        Elements::U8(vec![0, u8::MAX]),
        Elements::U16(vec![0, u16::MAX]),
        Elements::U32(vec![0, u32::MAX]),
        Elements::U64(vec![0, u64::MAX]),
        Elements::Bool(vec![false, true]),
        Elements::Text(vec!["grün".into(), String::new()]),
    ];
    let names: Vec<&str> = data.iter().map(Elements::datatype).collect();
    let inputs: Vec<NamedTensor> = data
        .iter()
        .map(|data| NamedTensor {
            name: format!("in-{}", data.datatype()),
            shape: vec![2],
            data: data.clone(),
        })
        .collect();
    let outputs = loaded.session.run(&inputs).unwrap();
    assert_eq!(outputs.len(), data.len(), "{names:?}");
    for (output, expected) in outputs.iter().zip(&data) {
        assert_eq!((&output.name, &output.data), (&format!("out-{}", expected.datatype()), expected));
    }
}

#[test]
fn lists_and_what_cannot_be_sent_are_refused_on_any_engine() {
    let mut all = vec![rten()];
    all.extend(reference());
    for engines in all {
        for (name, part) in [("sequence", "is a list"), ("complex", "put a Cast to FLOAT there")] {
            let Err(error) = load(&engines, name) else { panic!("{name} is taken") };
            assert_eq!(error.code(), FailureCode::FormatUnknown, "{name}: {error}");
            assert!(error.to_string().contains(part), "{name}: {error}");
        }
    }
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
    let Some(reference) = reference() else { return };
    let loaded = load(&reference, "expand").unwrap();
    let some = NamedTensor { name: "shape".into(), shape: vec![2], data: Elements::I64(vec![3, 2_000_000]) };
    let error = loaded.session.run(&[some]).unwrap_err();
    assert!(matches!(error, RunError::Large { bytes: 24_000_000 }), "{error}");
    let shape =
        NamedTensor { name: "shape".into(), shape: vec![2], data: Elements::I64(vec![1 << 30, 1 << 30]) };
    let error = loaded.session.run(&[shape]).unwrap_err();
    assert!(matches!(error, RunError::Memory { .. }), "{error}");
    // A gigabyte, which the machine has and no prediction may take.
    let shape =
        NamedTensor { name: "shape".into(), shape: vec![2], data: Elements::I64(vec![1 << 14, 1 << 14]) };
    let error = loaded.session.run(&[shape]).unwrap_err();
    assert!(matches!(error, RunError::Memory { .. }), "{error}");
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
fn what_an_engine_loads_and_cannot_run_is_incompatible_before_anybody_asks() {
    let dir = tempfile::tempdir().unwrap();
    let ready = |name: &str, engines: Vec<Arc<dyn Engine>>| {
        let bytes = small_model(name);
        let path = dir.path().join(name);
        std::fs::write(&path, &bytes).unwrap();
        let build = ModelBuild { outputs: Vec::new(), ..build(&bytes) };
        Loader::new(Engines::new(engines), Keys::default()).ready(&path, &build.into())
    };
    let rten = || Arc::new(Rten::default());
    for (name, part) in [("uint8-sum", "unsupported input type"), ("reset-after", "linear_before_reset=0")] {
        let Err(error) = ready(name, vec![rten()]) else { panic!("{name} is taken") };
        let failure = error.failure();
        assert!(failure.code.is_incompatibility(), "{name}: {failure:?}");
        assert!(failure.detail.contains(part) && failure.detail.contains("Rten"), "{name}: {failure:?}");
    }
    // What only the made-up values are to blame for is taken.
    for name in ["lookup-narrow", "int32-product", "pairs", "sizes"] {
        assert!(ready(name, vec![rten()]).is_ok(), "{name}");
    }
    let Some(runtime) = opened() else { return };
    assert_eq!(ready("reset-after", vec![rten(), runtime]).unwrap().engine, "OnnxRuntime");
}
