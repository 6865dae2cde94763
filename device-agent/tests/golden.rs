//! Golden inputs of several kinds on ONNX Runtime: texts in and out, several inputs, missing readings.

#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::sync::{Arc, OnceLock};

use modelfleet_agent::admit::Loader;
use modelfleet_agent::engine::Engines;
use modelfleet_agent::engine::onnxruntime::OnnxRuntime;
use modelfleet_agent::fetch::Keys;
use modelfleet_protocol::model::{ModelBuild, SelfTest, Tensor, Values};
use modelfleet_protocol::state::FailureCode;
use modelfleet_test_support::pump_plan::pump_build;
use support::onnxruntime;

fn engines() -> Engines {
    static OPENED: OnceLock<Arc<OnnxRuntime>> = OnceLock::new();
    let open = || Arc::new(OnnxRuntime::open(&onnxruntime(), 1).unwrap());
    Engines::new(vec![OPENED.get_or_init(open).clone()])
}

fn tensor(name: &str, datatype: &str, shape: &[i64]) -> Tensor {
    Tensor { name: name.into(), datatype: datatype.into(), shape: shape.into() }
}

fn numbers(name: &str, values: &[f64]) -> Values {
    Values { name: name.into(), values: values.into(), texts: Vec::new() }
}

fn text(name: &str, text: &str) -> Values {
    Values { name: name.into(), values: Vec::new(), texts: vec![text.into()] }
}

/// A build of a test file of the reader of model files.
fn build(name: &str, interface: (Vec<Tensor>, Vec<Tensor>), self_test: SelfTest) -> (Vec<u8>, ModelBuild) {
    let file = format!("../model-file/testdata/{name}.onnx");
    let bytes = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let mut build = pump_build("1.0.0", &bytes, String::new());
    build.decision = None;
    (build.inputs, build.outputs) = interface;
    // As it comes in a plan.
    build.self_test = vec![serde_json::from_str(&serde_json::to_string(&self_test).unwrap()).unwrap()];
    (bytes, build)
}

fn admitted(engines: &Engines, (bytes, build): (Vec<u8>, ModelBuild)) -> Result<(), FailureCode> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model");
    std::fs::write(&path, &bytes).unwrap();
    let ready = Loader::new(engines.clone(), Keys::default()).ready(&path, &build.into());
    ready.map(drop).map_err(|error| error.failure().code)
}

#[test]
fn texts_go_in_and_come_out() {
    let engines = engines();
    let columns = |label: &str| {
        let one = |name: &str, datatype| tensor(name, datatype, &[-1, 1]);
        let inputs = vec![one("rms", "FP32"), one("kind", "BYTES"), one("peak", "FP32")];
        let outputs = vec![one("label", "BYTES"), one("total", "FP32")];
        let given = vec![numbers("rms", &[1.5]), text("kind", "centrifugal"), numbers("peak", &[3.0])];
        let expected = vec![text("label", label), numbers("total", &[6.5])];
        let test = SelfTest { inputs: given, outputs: expected, tolerance: 1e-4 };
        build("columns", (inputs, outputs), test)
    };
    assert_eq!(admitted(&engines, columns("alarm")), Ok(()));
    assert_eq!(admitted(&engines, columns("normal")), Err(FailureCode::SelfTestMismatch));
}

#[test]
fn a_missing_reading_goes_in_as_one() {
    let engines = engines();
    let mean = |model, expected| {
        let interface = (vec![tensor("features", "FP32", &[-1, 3])], vec![tensor("mean", "FP32", &[-1])]);
        let given = vec![numbers("features", &[1.0, f64::NAN, 3.0])];
        let test = SelfTest { inputs: given, outputs: vec![numbers("mean", &[expected])], tolerance: 1e-4 };
        build(model, interface, test)
    };
    assert_eq!(admitted(&engines, mean("mean-of-gaps", 8.0)), Ok(()), "a gap is 20 to this model");
    assert_eq!(admitted(&engines, mean("mean-of-gaps", 2.0)), Err(FailureCode::SelfTestMismatch));
    assert_eq!(admitted(&engines, mean("mean", 2.0)), Err(FailureCode::SelfTestMismatch), "it answers NaN");
}
