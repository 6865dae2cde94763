//! A model's graph as far as the rules of exactness look at it. Field numbers are those of `onnx.proto`.

use bytes::Bytes;
use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Model {
    #[prost(message, optional, tag = "7")]
    pub(super) graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    pub(super) opsets: Vec<Opset>,
    /// Operators that the file defines itself.
    #[prost(message, repeated, tag = "25")]
    pub(super) functions: Vec<Anything>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Opset {
    #[prost(string, tag = "1")]
    pub(super) domain: String,
    #[prost(int64, tag = "2")]
    pub(super) version: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Anything {}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Graph {
    #[prost(message, repeated, tag = "1")]
    pub(super) nodes: Vec<Node>,
    #[prost(message, repeated, tag = "5")]
    pub(super) weights: Vec<Tensor>,
    #[prost(message, repeated, tag = "11")]
    pub(super) inputs: Vec<Value>,
    #[prost(message, repeated, tag = "12")]
    pub(super) outputs: Vec<Value>,
    #[prost(message, repeated, tag = "15")]
    pub(super) sparse_weights: Vec<Anything>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Node {
    #[prost(string, repeated, tag = "1")]
    pub(super) inputs: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(super) outputs: Vec<String>,
    #[prost(string, tag = "3")]
    pub(super) name: String,
    #[prost(string, tag = "4")]
    pub(super) operator: String,
    #[prost(message, repeated, tag = "5")]
    pub(super) attributes: Vec<Attribute>,
    #[prost(string, tag = "7")]
    pub(super) domain: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Attribute {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(int64, tag = "3")]
    pub(super) int: i64,
    #[prost(bytes = "bytes", tag = "4")]
    pub(super) text: Bytes,
    #[prost(message, optional, tag = "5")]
    pub(super) tensor: Option<Tensor>,
    #[prost(message, optional, tag = "6")]
    pub(super) graph: Option<Graph>,
    #[prost(int64, repeated, packed = "false", tag = "8")]
    pub(super) ints: Vec<i64>,
    /// 2: an integer, 7: integers.
    #[prost(int32, tag = "20")]
    pub(super) kind: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Tensor {
    #[prost(int64, repeated, packed = "false", tag = "1")]
    pub(super) dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub(super) element: i32,
    #[prost(float, repeated, tag = "4")]
    pub(super) floats: Vec<f32>,
    #[prost(int32, repeated, tag = "5")]
    pub(super) ints32: Vec<i32>,
    #[prost(int64, repeated, tag = "7")]
    pub(super) ints64: Vec<i64>,
    #[prost(string, tag = "8")]
    pub(super) name: String,
    #[prost(bytes = "bytes", tag = "9")]
    pub(super) raw: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Value {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(message, optional, tag = "2")]
    pub(super) kind: Option<Kind>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Kind {
    #[prost(message, optional, tag = "1")]
    pub(super) tensor: Option<TensorKind>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TensorKind {
    #[prost(int32, tag = "1")]
    pub(super) element: i32,
    #[prost(message, optional, tag = "2")]
    pub(super) shape: Option<Shape>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Shape {
    #[prost(message, repeated, tag = "1")]
    pub(super) dims: Vec<Anything>,
}

impl Model {
    /// Version of ONNX's own operators.
    pub(super) fn opset(&self) -> i64 {
        let own = |o: &&Opset| matches!(o.domain.as_str(), "" | "ai.onnx");
        self.opsets.iter().find(own).map_or(0, |o| o.version)
    }
}

impl Node {
    /// Whether it is of ONNX's own operators.
    pub(super) fn is_own(&self) -> bool {
        matches!(self.domain.as_str(), "" | "ai.onnx")
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|a| a.name == name)
    }

    pub(super) fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).map_or(default, |a| a.int)
    }

    pub(super) fn text(&self, name: &str) -> &[u8] {
        self.attribute(name).map_or(&[], |a| &a.text)
    }

    pub(super) fn graphs(&self) -> impl Iterator<Item = &Graph> {
        self.attributes.iter().filter_map(|a| a.graph.as_ref())
    }
}

impl Tensor {
    /// How large its numbers are at most, as whole numbers.
    pub(super) fn most(&self) -> u64 {
        if let Some(values) = self.integers() {
            return values.iter().map(|x| x.unsigned_abs()).max().unwrap_or(0);
        }
        if self.element != 1 {
            return 0;
        }
        let raw = self.raw.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b));
        let most = raw.chain(self.floats.iter().copied()).map(f32::abs).fold(0.0, f32::max);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // It saturates.
        let most = most.ceil() as u64;
        most
    }

    /// Its elements when they are 32-bit or 64-bit integers.
    pub(super) fn integers(&self) -> Option<Vec<i64>> {
        Some(match self.element {
            6 if self.raw.is_empty() => self.ints32.iter().map(|&x| i64::from(x)).collect(),
            7 if self.raw.is_empty() => self.ints64.clone(),
            6 => {
                let bytes = self.raw.as_chunks::<4>().0.iter();
                bytes.map(|b| i64::from(i32::from_le_bytes(*b))).collect()
            }
            7 => self.raw.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b)).collect(),
            _ => return None,
        })
    }
}
