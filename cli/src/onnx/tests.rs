use std::path::Path;

use modelfleet_crds::model_version::Datatype;
use proptest::prelude::*;

use super::*;

fn example(path: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(path)).unwrap()
}

/// A field with a message, text or bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut all = vec![number << 3 | 2];
    assert!(number < 16 && bytes.len() < 128);
    all.push(u8::try_from(bytes.len()).unwrap());
    all.extend(bytes);
    all
}

fn value(name: &str, element: u8) -> Vec<u8> {
    let tensor = [vec![8, element], field(2, &field(1, &[8, 3]))].concat();
    [field(1, name.as_bytes()), field(2, &field(1, &tensor))].concat()
}

fn model(graph: &[Vec<u8>]) -> Vec<u8> {
    [vec![8, 8], field(7, &graph.concat()), field(8, &[16, 17])].concat()
}

#[test]
fn the_pump_models_say_what_they_take_and_give() {
    let pump = header(&example("pumps/models/pump-anomaly-1.1.0.onnx")).unwrap();
    let tensor =
        |name: &str, datatype, shape: &[i64]| Tensor { name: name.into(), datatype, shape: shape.into() };
    assert_eq!(pump.inputs, [tensor("features", Datatype::Fp32, &[-1, 7])]);
    let outputs = [tensor("label", Datatype::Int64, &[-1, 1]), tensor("scores", Datatype::Fp32, &[-1, 1])];
    assert_eq!(pump.outputs, outputs);
    assert!(pump.opsets.contains_key("ai.onnx") && pump.opsets.contains_key("ai.onnx.ml"));
    assert!(pump.operators.contains("ai.onnx.ml:TreeEnsembleRegressor"), "{:?}", pump.operators);
    assert!(pump.unusual_operators().is_empty());

    let odd = header(&example("pumps/models/pump-anomaly-1.5.0.onnx")).unwrap();
    assert_eq!(odd.unusual_operators(), ["com.example.bearing:EnvelopeSpectrum"]);
}

#[test]
fn the_wearable_models_say_what_they_take_and_give() {
    let motion = header(&example("wearable/models/motion-1.0.0.onnx")).unwrap();
    assert_eq!(motion.inputs.len(), 1);
    assert_eq!(motion.inputs[0].datatype, Datatype::Fp32);
    assert!(!motion.outputs.is_empty());
    assert!(motion.opsets["ai.onnx"] >= 13);
}

#[test]
fn weights_among_the_inputs_are_no_inputs() {
    let node = field(1, &field(4, b"Add"));
    let weight = field(5, &field(8, b"w"));
    let graph =
        [node, weight, field(11, &value("x", 1)), field(11, &value("w", 1)), field(12, &value("y", 7))];
    let read = header(&model(&graph)).unwrap();
    assert_eq!(read.inputs.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["x"]);
    assert_eq!((read.outputs[0].datatype, read.outputs[0].shape.as_slice()), (Datatype::Int64, &[3][..]));
    assert_eq!(read.opsets["ai.onnx"], 17);
}

#[test]
fn what_no_device_can_run_is_refused_with_a_reason() {
    let output = field(12, &value("y", 1));
    let said = |bytes: &[u8]| header(bytes).unwrap_err().to_string();
    assert!(said(b"").contains("no graph"));
    assert!(said(b"<html>404</html>").contains("not an ONNX model"));
    assert!(said(&model(&[])).contains("no output"));
    assert!(said(&model(&[field(12, &value("y", 16))])).contains("ONNX type 16"));
    assert!(said(&model(&[field(5, &[112, 1]), output.clone()])).contains("other files"));
    assert!(said(&model(&[output.clone(), output.clone()])).contains("named \"y\""));
    assert!(said(&model(&[field(1, &[]), output])).contains("node"));
}

#[test]
fn graphs_inside_graphs_end_somewhere() {
    // Lengths of two bytes, because the nesting grows beyond 127.
    let wrap = |number: u8, inner: &[u8]| {
        let length = inner.len();
        let low = u8::try_from(length & 0x7f).unwrap() | 0x80;
        [vec![number << 3 | 2, low, u8::try_from(length >> 7).unwrap()], inner.to_vec()].concat()
    };
    let mut graph = field(1, &field(4, b"If"));
    for _ in 0..40 {
        let node = [field(4, b"If"), wrap(5, &wrap(6, &graph))].concat();
        graph = wrap(1, &node);
    }
    let model = [vec![8, 8], wrap(7, &graph), field(8, &[16, 17])].concat();
    assert!(matches!(header(&model), Err(OnnxError::TooMany { .. })));
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = header(&bytes);
    }

    #[test]
    fn a_damaged_model_never_panics(at in 0_usize..36_000, byte: u8, cut in 0_usize..36_316) {
        let mut bytes = example("pumps/models/pump-anomaly-1.0.0.onnx");
        bytes[at] = byte;
        let _ = header(&bytes);
        let _ = header(&bytes[..cut]);
    }
}
