use proptest::prelude::*;

use super::*;

/// The bytes of a file of the examples.
macro_rules! example {
    ($path:literal) => {
        include_bytes!(concat!("../../examples/", $path)).to_vec()
    };
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).unwrap());
    bytes
}

/// A field with a message, text or bytes.
fn field(number: usize, bytes: &[u8]) -> Vec<u8> {
    [varint(number << 3 | 2), varint(bytes.len()), bytes.to_vec()].concat()
}

fn number(number: usize, value: usize) -> Vec<u8> {
    [varint(number << 3), varint(value)].concat()
}

/// A tensor `name[3]` of elements of a type.
fn value(name: &str, element: usize) -> Vec<u8> {
    let tensor = [number(1, element), field(2, &field(1, &number(1, 3)))].concat();
    [field(1, name.as_bytes()), field(2, &field(1, &tensor))].concat()
}

/// A node without inputs and outputs, with attributes.
fn node(domain: &str, operator: &str, attributes: &[Vec<u8>]) -> Vec<u8> {
    let attributes = attributes.iter().flat_map(|attribute| field(5, attribute));
    [field(4, operator.as_bytes()), attributes.collect(), field(7, domain.as_bytes())].concat()
}

fn opset(domain: &str, version: usize) -> Vec<u8> {
    [field(1, domain.as_bytes()), number(2, version)].concat()
}

fn model_with(imports: &[(&str, usize)], graph: &[Vec<u8>], more: &[Vec<u8>]) -> Vec<u8> {
    let imports = imports.iter().flat_map(|(domain, version)| field(8, &opset(domain, *version)));
    [number(1, 8), field(7, &graph.concat()), imports.collect(), more.concat()].concat()
}

fn model(graph: &[Vec<u8>]) -> Vec<u8> {
    model_with(&[("", 17)], graph, &[])
}

fn output() -> Vec<u8> {
    field(12, &value("y", 1))
}

fn said(bytes: &[u8]) -> String {
    read(bytes).unwrap_err().to_string()
}

fn not_carried(graph: &[Vec<u8>]) -> String {
    read(&model_with(&[("", 17), ("ai.onnx.ml", 3)], graph, &[]))
        .unwrap()
        .check_carried()
        .unwrap_err()
        .to_string()
}

fn tensor(name: &str, element: u64, shape: &[i64]) -> Value {
    Value { name: name.into(), kind: Kind::Tensor { element: Element(element), shape: Some(shape.into()) } }
}

fn sets(opsets: &std::collections::BTreeMap<String, i64>) -> Vec<(&str, i64)> {
    opsets.iter().map(|(domain, version)| (domain.as_str(), *version)).collect()
}

#[test]
fn the_pump_models_say_what_they_take_and_give() {
    let pump = read(&example!("pumps/models/pump-anomaly-1.1.0.onnx")).unwrap();
    assert_eq!(pump.inputs, [tensor("features", 1, &[-1, 7])]);
    assert_eq!(pump.outputs, [tensor("label", 7, &[-1, 1]), tensor("scores", 1, &[-1, 1])]);
    assert!(pump.opsets.contains_key("ai.onnx") && pump.opsets.contains_key("ai.onnx.ml"));
    assert!(pump.operators.contains("ai.onnx.ml:TreeEnsembleRegressor"), "{:?}", pump.operators);
    assert!(pump.unusual_operators().is_empty());
    assert_eq!(pump.check_carried(), Ok(()));

    let odd = read(&example!("pumps/models/pump-anomaly-1.5.0.onnx")).unwrap();
    assert_eq!(odd.unusual_operators(), ["com.example.bearing:EnvelopeSpectrum"]);
}

#[test]
fn the_wearable_models_say_what_they_take_and_give() {
    let motion = read(&example!("wearable/models/motion-1.0.0.onnx")).unwrap();
    assert_eq!(motion.inputs.len(), 1);
    assert!(matches!(motion.inputs[0].kind, Kind::Tensor { element: Element::FLOAT, .. }));
    assert!(motion.opsets["ai.onnx"] >= 13);
}

#[test]
fn weights_among_the_inputs_are_no_inputs() {
    let weight = |name: &str| field(5, &field(8, name.as_bytes()));
    let long = "w".repeat(600);
    let graph = [
        field(1, &node("", "Add", &[])),
        weight("w"),
        weight(&long),
        weight(&"v".repeat(5_000)),
        field(15, &field(1, &field(8, b"s"))),
        field(11, &value("x", 1)),
        field(11, &value("w", 1)),
        field(11, &value(&long, 1)),
        field(11, &value("s", 1)),
        field(12, &value("y", 7)),
    ];
    let found = read(&model(&graph)).unwrap();
    assert_eq!(found.inputs, [tensor("x", 1, &[3])]);
    assert_eq!(found.outputs, [tensor("y", 7, &[3])]);
    assert_eq!(found.opsets["ai.onnx"], 17);
}

#[test]
fn only_operator_sets_of_operators_in_use_count() {
    let imports = [("", 17), ("ai.onnx.ml", 99), ("com.microsoft.nchwc", 1), ("com.microsoft", 1)];
    // Loops and branches: an attribute with a graph, and one with several.
    let inside = field(1, &node("com.microsoft", "Gelu", &[]));
    let branch = node("", "If", &[field(6, &inside), field(11, &inside)]);
    let found = read(&model_with(&imports, &[field(1, &branch), output()], &[])).unwrap();
    assert_eq!(sets(&found.opsets), [("ai.onnx", 17), ("com.microsoft", 1)]);
    assert_eq!(found.imports.len(), 4);
    let operators: Vec<&str> = found.operators.iter().map(String::as_str).collect();
    assert_eq!(operators, ["ai.onnx:If", "com.microsoft:Gelu"]);
}

#[test]
fn functions_count_with_their_own_operator_sets() {
    let function = |import: &[u8]| {
        let node = node("com.microsoft", "Gelu", &[]);
        let parts = [field(1, b"Twice"), field(7, &node), import.to_vec(), field(10, b"own")];
        field(25, &parts.concat())
    };
    let calls = [field(1, &node("own", "Twice", &[])), output()];
    let import = field(9, &opset("com.microsoft", 1));
    let found = read(&model_with(&[("", 17), ("own", 1)], &calls, &[function(&import)])).unwrap();
    assert_eq!(sets(&found.opsets), [("com.microsoft", 1)], "what the file defines no engine must know");
    assert!(found.unusual_operators().is_empty());

    let lacking = said(&model_with(&[("", 17), ("own", 1)], &calls, &[function(&[])]));
    assert!(lacking.contains("com.microsoft:Gelu") && lacking.contains("export it again"), "{lacking}");
}

#[test]
fn weights_in_other_files_are_refused_wherever_they_are() {
    let outside = number(14, 1);
    let constant = node("", "Constant", &[field(5, &outside)]);
    let deep = field(1, &node("", "If", &[field(6, &field(5, &outside))]));
    let function = [field(1, b"Own"), field(7, &constant)].concat();
    for graph in [
        field(5, &outside),
        field(15, &field(1, &outside)),
        field(1, &constant),
        field(1, &node("", "Constant", &[field(10, &outside)])),
        field(1, &node("", "Constant", &[field(22, &field(2, &outside))])),
        deep,
    ] {
        assert_eq!(read(&model(&[graph, output()])), Err(ReadError::ExternalWeights));
    }
    let in_default = [field(1, b"Own"), field(11, &field(5, &outside))].concat();
    for function in [function, in_default] {
        let in_function = model_with(&[("", 17)], &[output()], &[field(25, &function)]);
        assert_eq!(read(&in_function), Err(ReadError::ExternalWeights));
    }
    assert!(read(&model(&[field(5, &number(14, 0)), output()])).is_ok());
}

#[test]
fn what_no_device_can_run_is_refused_with_a_reason() {
    assert!(said(b"").contains("no graph"));
    assert!(said(b"<html>404</html>").contains("not an ONNX model"));
    assert!(said(&model(&[])).contains("no graph"));
    assert!(said(&model(&[field(1, &node("", "Abs", &[]))])).contains("no output"));
    assert!(said(&model(&[output(), output()])).contains("named \"y\""));
    assert!(said(&model(&[field(1, &[]), output()])).contains("node"));
    assert!(said(&model_with(&[], &[output()], &[])).contains("operator set"));
    assert!(said(&model_with(&[("", 0)], &[output()], &[])).contains("1 to 1000"));
    let whole = model(&[output()]);
    assert!((0..whole.len()).all(|length| read(&whole[..length]).is_err()));
    // A field that ends behind the message that holds it.
    let beyond = [number(1, 8), field(7, &[12 << 3 | 2, 9, 1]), vec![0; 40]].concat();
    assert_eq!(read(&beyond), Err(ReadError::Short));
}

#[test]
fn what_no_device_can_carry_is_refused_with_the_cure() {
    let of_kind = |number| field(12, &[field(1, b"y"), field(2, &field(number, &[]))].concat());
    let zip_map = field(1, &node("ai.onnx.ml", "ZipMap", &[]));
    let said = not_carried(&[zip_map, of_kind(4)]);
    assert_eq!(
        said,
        "output \"y\" is a list of maps, which devices cannot answer with; convert without ZipMap (skl2onnx option \
         zipmap=False)"
    );
    assert!(not_carried(&[of_kind(4)]).contains("\"y\" is a list"));
    assert!(not_carried(&[of_kind(5)]).contains("\"y\" is a map"));
    assert!(not_carried(&[of_kind(9)]).contains("\"y\" is optional"));
    assert!(not_carried(&[field(12, &field(1, b"y"))]).contains("infer_shapes"));
    let said = not_carried(&[field(11, &value("x", 17)), output()]);
    assert!(said.contains("input \"x\" are of type FLOAT8E4M3FN") && said.contains("Cast"), "{said}");
    for element in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 16] {
        let found = read(&model(&[field(11, &value("x", element)), output()])).unwrap();
        assert_eq!(found.check_carried(), Ok(()), "type {element}");
    }
    assert_eq!(Element::carried().count(), 14);
}

#[test]
fn graphs_inside_graphs_end_somewhere() {
    let mut graph = field(1, &node("", "If", &[]));
    for _ in 0..40 {
        graph = field(1, &node("", "If", &[field(6, &graph)]));
    }
    let bytes = model(&[graph, output()]);
    assert!(matches!(read(&bytes), Err(ReadError::TooMany { .. })));
}

#[test]
fn a_file_that_names_too_much_is_refused() {
    let many = |count: usize, of: &dyn Fn(usize) -> Vec<u8>| (0..count).flat_map(of).collect::<Vec<u8>>();
    let operators = many(5_000, &|i| field(1, &node("", &format!("Op{i}"), &[])));
    let inputs = many(65, &|i| field(11, &value(&format!("x{i}"), 1)));
    let outputs = many(65, &|i| field(12, &value(&format!("y{i}"), 1)));
    let weights = many(20_000, &|i| field(5, &field(8, format!("{i:0>1000}").as_bytes())));
    for graph in [operators, inputs, outputs, weights] {
        assert!(matches!(read(&model(&[graph, output()])), Err(ReadError::TooMany { .. })));
    }
}

#[test]
fn a_probe_says_what_it_asks_for() {
    let found = read(&probe("ai.onnx.ml", 3, 14)).unwrap();
    assert_eq!((found.ir_version, sets(&found.opsets)), (14, vec![("ai.onnx.ml", 3)]));
    assert_eq!(found.imports["ai.onnx"], 13);
    let found = read(&probe("ai.onnx", 21, 8)).unwrap();
    assert_eq!(sets(&found.opsets), [("ai.onnx", 21)]);
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&bytes);
    }

    #[test]
    fn a_damaged_model_never_panics(at in 0_usize..36_000, byte: u8, cut in 0_usize..36_316) {
        let mut bytes = example!("pumps/models/pump-anomaly-1.0.0.onnx");
        bytes[at] = byte;
        let _ = read(&bytes);
        let _ = read(&bytes[..cut]);
    }

    #[test]
    fn pieces_make_no_difference(at in 0_usize..3_000, byte: u8, size in 1_usize..4_000) {
        let mut bytes = example!("pumps/models/pump-anomaly-1.5.0.onnx");
        let at = at % bytes.len();
        bytes[at] = byte;
        let mut reader = Reader::default();
        bytes.chunks(size).for_each(|piece| reader.take(piece));
        prop_assert_eq!(reader.finish(), read(&bytes));
    }
}
