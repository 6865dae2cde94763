//! What rten computes otherwise than ONNX says, and what it has another operator for that does not. Files are given to
//! it with that operator in place; what is not touched is copied byte by byte.
//!
//! | in the file | in rten | instead |
//! |---|---|---|
//! | `ArgMax`, `ArgMin` | the last of equal values, where ONNX takes the first | `TopK`, which takes the first |
//! | `Relu`, `Clip` | a value that is no number becomes one | `Max` and `Min`, which keep it |

use prost::Message;
use prost::encoding::{
    DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, skip_field,
};

use crate::exact::{FLOAT, INT64};
use crate::graph::{Attribute, Model, Node, Tensor};

/// Fields of `ModelProto` and `GraphProto`.
const MODEL_GRAPH: u32 = 7;
const GRAPH_NODE: u32 = 1;
const GRAPH_WEIGHT: u32 = 5;
/// The operator set from which on `TopK` takes the smallest, too, and the bounds of `Clip` are inputs.
const OPSET_LEAST: i64 = 11;
/// The operator set from which on `Squeeze` takes its axes as an input.
const SQUEEZE_OPSET: i64 = 13;
/// Weights that are added to the file.
const ONE: &str = "modelfleet.one";
const ZERO: &str = "modelfleet.zero";

/// The file as rten shall read it; `None` where nothing is to be changed, or cannot be.
pub(crate) fn exactly(bytes: &[u8], model: &Model) -> Option<Vec<u8>> {
    let (graph, opset) = (model.graph.as_ref()?, model.opset());
    if opset < OPSET_LEAST || !graph.nodes.iter().any(is_replaced) {
        return None;
    }
    let mut out = Vec::with_capacity(bytes.len() + 1024);
    fields(bytes, &mut out, |field, content, out| {
        if field != MODEL_GRAPH {
            return Some(false);
        }
        let mut fresh = Vec::with_capacity(content.len() + 1024);
        fields(content, &mut fresh, |field, content, out| {
            let node = (field == GRAPH_NODE).then(|| Node::decode(content).ok()).flatten();
            let Some(node) = node.filter(is_replaced) else { return Some(false) };
            for node in replaced(&node, opset) {
                message(GRAPH_NODE, &node.encode_to_vec(), out);
            }
            Some(true)
        })?;
        for weight in weights(graph.nodes.iter().filter(|node| is_replaced(node))) {
            message(GRAPH_WEIGHT, &weight.encode_to_vec(), &mut fresh);
        }
        message(MODEL_GRAPH, &fresh, out);
        Some(true)
    })?;
    Some(out)
}

fn is_replaced(node: &Node) -> bool {
    let one = node.inputs.len() == 1 && node.outputs.len() == 1;
    node.is_own()
        && match node.operator.as_str() {
            "ArgMax" | "ArgMin" => one && node.int("select_last_index", 0) == 0,
            "Relu" => one,
            "Clip" => !node.inputs.is_empty() && node.outputs.len() == 1,
            _ => false,
        }
}

fn weights<'a>(replaced: impl Iterator<Item = &'a Node>) -> Vec<Tensor> {
    let whole = |name: String, value| Tensor {
        dims: vec![1],
        element: INT64,
        ints64: vec![value],
        name,
        ..Tensor::default()
    };
    let zero = Tensor { element: FLOAT, floats: vec![0.0], name: ZERO.into(), ..Tensor::default() };
    let axes = replaced.filter(|node| node.operator.starts_with("Arg"));
    let axes = axes.map(|node| whole(own(node, "axis"), node.int("axis", 0)));
    [whole(ONE.into(), 1), zero].into_iter().chain(axes).collect()
}

/// A name that is not used elsewhere in the file.
fn own(node: &Node, suffix: &str) -> String {
    format!("{}.modelfleet.{suffix}", node.outputs[0])
}

fn replaced(node: &Node, opset: i64) -> Vec<Node> {
    match node.operator.as_str() {
        "Relu" => vec![plain(node, "Max", [&node.inputs[0], ZERO], node.outputs[0].clone())],
        "Clip" => clipped(node),
        _ => first_of_equals(node, opset),
    }
}

fn plain<'a>(node: &Node, operator: &str, inputs: impl IntoIterator<Item = &'a str>, output: String) -> Node {
    Node {
        inputs: inputs.into_iter().map(ToOwned::to_owned).collect(),
        name: format!("{}.{operator}", node.name),
        outputs: vec![output],
        operator: operator.into(),
        ..Node::default()
    }
}

/// `Max` with the lower bound and `Min` with the upper one, as far as they are given.
fn clipped(node: &Node) -> Vec<Node> {
    let bound = |index: usize| node.inputs.get(index).map(String::as_str).filter(|name| !name.is_empty());
    let (input, output) = (node.inputs[0].as_str(), node.outputs[0].clone());
    match (bound(1), bound(2)) {
        (Some(low), Some(high)) => {
            let raised = own(node, "raised");
            let raise = plain(node, "Max", [input, low], raised.clone());
            vec![raise, plain(node, "Min", [raised.as_str(), high], output)]
        }
        (Some(low), None) => vec![plain(node, "Max", [input, low], output)],
        (None, Some(high)) => vec![plain(node, "Min", [input, high], output)],
        (None, None) => vec![plain(node, "Identity", [input], output)],
    }
}

/// `TopK` of one, and where the dimension shall go, `Squeeze`.
fn first_of_equals(node: &Node, opset: i64) -> Vec<Node> {
    let integer = |name: &str, int| Attribute { name: name.into(), int, kind: 2, ..Attribute::default() };
    let (axis, keep) = (node.int("axis", 0), node.int("keepdims", 1) != 0);
    let indices = if keep { node.outputs[0].clone() } else { own(node, "indices") };
    let mut top = plain(node, "TopK", [&node.inputs[0], ONE], own(node, "values"));
    top.outputs.push(indices.clone());
    top.attributes = vec![
        integer("axis", axis),
        integer("largest", i64::from(node.operator == "ArgMax")),
        integer("sorted", 1),
    ];
    if keep {
        return vec![top];
    }
    let mut squeeze = plain(node, "Squeeze", [indices.as_str()], node.outputs[0].clone());
    if opset >= SQUEEZE_OPSET {
        squeeze.inputs.push(own(node, "axis"));
    } else {
        let axes = Attribute { name: "axes".into(), ints: vec![axis], kind: 7, ..Attribute::default() };
        squeeze.attributes.push(axes);
    }
    vec![top, squeeze]
}

fn message(field: u32, content: &[u8], out: &mut Vec<u8>) {
    encode_key(field, WireType::LengthDelimited, out);
    encode_varint(content.len() as u64, out);
    out.extend_from_slice(content);
}

/// Copies the fields of a message, but for those that `change` writes itself. `None`: it is malformed.
fn fields(
    bytes: &[u8],
    out: &mut Vec<u8>,
    mut change: impl FnMut(u32, &[u8], &mut Vec<u8>) -> Option<bool>,
) -> Option<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let whole = rest;
        let (field, kind) = decode_key(&mut rest).ok()?;
        if kind == WireType::LengthDelimited {
            let len = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
            let content = rest.get(..len)?;
            rest = &rest[len..];
            if change(field, content, out)? {
                continue;
            }
        } else {
            skip_field(kind, field, &mut rest, DecodeContext::default()).ok()?;
        }
        out.extend_from_slice(&whole[..whole.len() - rest.len()]);
    }
    Some(())
}
