//! ONNX Runtime over the same small models, and beside it rten, which answers as it does.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::{Arc, OnceLock};

use modelfleet_agent::engine::onnxruntime::OnnxRuntime;
use modelfleet_agent::engine::rten::Rten;
use modelfleet_agent::engine::{Engines, Loaded, Port, RunError};
use modelfleet_agent::tensor::{Elements, NamedTensor, elements_of};
use modelfleet_test_support::pump_plan::examples;
use support::onnxruntime;
use support::small_models::{build, load, ready, refuse_what_cannot_be_sent, rten};

/// ONNX Runtime, which a process opens once.
fn opened() -> Arc<OnnxRuntime> {
    static OPENED: OnceLock<Arc<OnnxRuntime>> = OnceLock::new();
    OPENED.get_or_init(|| Arc::new(OnnxRuntime::open(&onnxruntime(), 1).unwrap())).clone()
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
    let reference = Engines::new(vec![opened()]);
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
fn the_examples_models_for_small_devices_run_on_rten() {
    let reference = Engines::new(vec![opened()]);
    for version in ["1.0.0", "1.1.0"] {
        let path = examples().join(format!("wearable/models/motion-{version}.onnx"));
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
fn what_rten_refuses_goes_to_onnx_runtime_where_it_is_there() {
    let runtime = opened();
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
    let engine = Engines::new(vec![opened()]);
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
fn lists_and_what_cannot_be_sent_are_refused_by_onnx_runtime_too() {
    refuse_what_cannot_be_sent(&Engines::new(vec![opened()]));
}

#[test]
fn a_size_that_a_request_chooses_takes_no_more_memory_than_a_prediction_may() {
    let reference = Engines::new(vec![opened()]);
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

#[test]
fn what_rten_loads_and_cannot_run_goes_to_onnx_runtime() {
    let dir = tempfile::tempdir().unwrap();
    let both = Engines::new(vec![Arc::new(Rten::default()), opened()]);
    assert_eq!(ready(dir.path(), "reset-after", &both).unwrap().engine, "OnnxRuntime");
}
