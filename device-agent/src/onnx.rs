//! The header of an ONNX file: operator sets and operators, without its weights.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

/// Deepest nesting of graphs (loops and branches) that is looked into.
const DEPTH_MAX: usize = 16;

#[derive(Clone, PartialEq, Message)]
struct ModelProto {
    #[prost(int64, tag = "1")]
    ir_version: i64,
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "8")]
    opset_import: Vec<OpsetProto>,
}

#[derive(Clone, PartialEq, Message)]
struct OpsetProto {
    #[prost(string, tag = "1")]
    domain: String,
    #[prost(int64, tag = "2")]
    version: i64,
}

#[derive(Clone, PartialEq, Message)]
struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    node: Vec<NodeProto>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<NameProto>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<ValueProto>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<ValueProto>,
}

/// A weight, of which only the name is read.
#[derive(Clone, PartialEq, Message)]
struct NameProto {
    #[prost(string, tag = "8")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    output: Vec<String>,
    #[prost(string, tag = "4")]
    op_type: String,
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<AttributeProto>,
    #[prost(string, tag = "7")]
    domain: String,
}

#[derive(Clone, PartialEq, Message)]
struct AttributeProto {
    #[prost(message, optional, tag = "6")]
    g: Option<GraphProto>,
    #[prost(message, repeated, tag = "11")]
    graphs: Vec<GraphProto>,
}

#[derive(Clone, PartialEq, Message)]
struct ValueProto {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    kind: Option<TypeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TypeProto {
    #[prost(message, optional, tag = "1")]
    tensor: Option<TensorTypeProto>,
    #[prost(message, optional, tag = "4")]
    sequence: Option<Anything>,
    #[prost(message, optional, tag = "5")]
    map: Option<Anything>,
}

/// Something that is there or not.
#[derive(Clone, PartialEq, Message)]
struct Anything {}

#[derive(Clone, PartialEq, Message)]
struct TensorTypeProto {
    #[prost(int32, tag = "1")]
    element: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<ShapeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct ShapeProto {
    #[prost(message, repeated, tag = "1")]
    dim: Vec<DimProto>,
}

#[derive(Clone, PartialEq, Message)]
struct DimProto {
    #[prost(int64, optional, tag = "1")]
    value: Option<i64>,
}

/// What a model needs from an engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Version of the file format.
    pub ir_version: i64,
    /// Operator sets that the model imports, by domain; the default domain is `ai.onnx`.
    pub opsets: BTreeMap<String, i64>,
    /// Operators that it uses, `domain:name`.
    pub operators: BTreeSet<String>,
    /// What it takes, in order. Weights are no inputs, though old files list them there.
    pub inputs: Vec<Value>,
    /// What it gives, in order.
    pub outputs: Vec<Value>,
}

/// An input or output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
}

/// What an input or output is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A tensor.
    Tensor {
        /// Type of its elements, as ONNX numbers it.
        element: i32,
        /// Sizes, outermost first; -1 stands for any. `None`: the file does not say.
        shape: Option<Vec<i64>>,
    },
    /// A list.
    Sequence,
    /// A map.
    Map,
    /// Something else, or the file does not say.
    Other,
}

impl Value {
    fn of(proto: &ValueProto) -> Value {
        let kind = match &proto.kind {
            Some(TypeProto { tensor: Some(tensor), .. }) => {
                let dim = |d: &DimProto| d.value.filter(|&value| value >= 0).unwrap_or(-1);
                let shape = tensor.shape.as_ref().map(|s| s.dim.iter().map(dim).collect());
                Kind::Tensor { element: tensor.element, shape }
            }
            Some(TypeProto { sequence: Some(_), .. }) => Kind::Sequence,
            Some(TypeProto { map: Some(_), .. }) => Kind::Map,
            _ => Kind::Other,
        };
        Value { name: proto.name.clone(), kind }
    }
}

/// The name in the Open Inference Protocol of an element type that ONNX numbers; `None` for one that it does not name.
#[must_use]
pub fn datatype(element: i32) -> Option<&'static str> {
    Some(match element {
        1 => "FP32",
        2 => "UINT8",
        3 => "INT8",
        4 => "UINT16",
        5 => "INT16",
        6 => "INT32",
        7 => "INT64",
        8 => "BYTES",
        9 => "BOOL",
        10 => "FP16",
        11 => "FP64",
        12 => "UINT32",
        13 => "UINT64",
        16 => "BF16",
        _ => return None,
    })
}

impl Header {
    /// Whether an operator of this domain is used; importing a domain alone asks nothing of an engine.
    #[must_use]
    pub fn uses(&self, domain: &str) -> bool {
        self.operators.iter().any(|o| o.strip_prefix(domain).is_some_and(|rest| rest.starts_with(':')))
    }
}

/// Why a header cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// Not the bytes of an ONNX model.
    #[error("model is not readable as ONNX")]
    Decode(#[from] prost::DecodeError),
    /// Readable, but without a graph or operator sets.
    #[error("model has no graph or imports no operator set")]
    Empty,
    /// Graphs nested too deeply.
    #[error("model nests graphs more than {DEPTH_MAX} deep")]
    Depth,
}

/// Reads the header of an ONNX model. Only call it on bytes whose digest and signature were found good.
///
/// # Errors
/// When the bytes are not an ONNX model.
pub fn header(bytes: &[u8]) -> Result<Header, HeaderError> {
    let model = ModelProto::decode(bytes)?;
    let graph = model.graph.as_ref().filter(|g| !g.node.is_empty()).ok_or(HeaderError::Empty)?;
    if model.opset_import.is_empty() {
        return Err(HeaderError::Empty);
    }
    let mut operators = BTreeSet::new();
    collect(graph, 0, &mut operators)?;
    let opsets = model.opset_import.iter().map(|o| (domain(&o.domain), o.version)).collect();
    let weight = |value: &&ValueProto| graph.initializer.iter().any(|w| w.name == value.name);
    let inputs = graph.input.iter().filter(|value| !weight(value)).map(Value::of).collect();
    let outputs = graph.output.iter().map(Value::of).collect();
    Ok(Header { ir_version: model.ir_version, opsets, operators, inputs, outputs })
}

fn collect(graph: &GraphProto, depth: usize, into: &mut BTreeSet<String>) -> Result<(), HeaderError> {
    if depth > DEPTH_MAX {
        return Err(HeaderError::Depth);
    }
    for node in &graph.node {
        into.insert(format!("{}:{}", domain(&node.domain), node.op_type));
        for graph in node.attribute.iter().flat_map(|a| a.g.iter().chain(&a.graphs)) {
            collect(graph, depth + 1, into)?;
        }
    }
    Ok(())
}

fn domain(name: &str) -> String {
    if name.is_empty() { "ai.onnx".to_owned() } else { name.to_owned() }
}

/// A model of one operator over one number, to ask an engine whether it knows an operator set.
#[must_use]
pub fn probe(domain: &str, version: i64) -> Vec<u8> {
    let value = |name: &str| ValueProto {
        name: name.to_owned(),
        kind: Some(TypeProto {
            tensor: Some(TensorTypeProto {
                element: 1,
                shape: Some(ShapeProto { dim: vec![DimProto { value: Some(1) }] }),
            }),
            ..TypeProto::default()
        }),
    };
    let (own, op_type) = match domain {
        "ai.onnx.ml" => (domain, "Binarizer"),
        _ => ("", "Abs"),
    };
    let node = NodeProto {
        input: vec!["x".into()],
        output: vec!["y".into()],
        op_type: op_type.into(),
        attribute: Vec::new(),
        domain: own.into(),
    };
    let mut opset_import = vec![OpsetProto { domain: own.into(), version }];
    if !own.is_empty() {
        // Every model imports the default domain; 13 is old enough for any engine of today.
        opset_import.push(OpsetProto { domain: String::new(), version: 13 });
    }
    let graph = GraphProto {
        node: vec![node],
        name: "probe".into(),
        initializer: Vec::new(),
        input: vec![value("x")],
        output: vec![value("y")],
    };
    ModelProto { ir_version: 8, graph: Some(graph), opset_import }.encode_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_names_operator_sets_and_operators() {
        let header = header(&probe("ai.onnx.ml", 3)).unwrap();
        assert_eq!(header.opsets["ai.onnx.ml"], 3);
        assert_eq!(header.opsets["ai.onnx"], 13);
        assert!(header.operators.contains("ai.onnx.ml:Binarizer"));
    }

    #[test]
    fn garbage_is_refused() {
        assert!(header(b"").is_err());
        assert!(header(b"<html>not a model</html>").is_err());
        assert!(header(&[0xff; 64]).is_err());
    }
}
