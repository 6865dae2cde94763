//! A model's graph as far as the rules of exactness look at it. Field numbers are those of `onnx.proto`.

use bytes::Bytes;
use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Model {
    #[prost(message, optional, tag = "7")]
    pub(crate) graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    pub(crate) opsets: Vec<Opset>,
    /// Operators that the file defines itself.
    #[prost(message, repeated, tag = "25")]
    pub(crate) functions: Vec<Anything>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Opset {
    #[prost(string, tag = "1")]
    pub(crate) domain: String,
    #[prost(int64, tag = "2")]
    pub(crate) version: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Anything {}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Graph {
    #[prost(message, repeated, tag = "1")]
    pub(crate) nodes: Vec<Node>,
    #[prost(message, repeated, tag = "5")]
    pub(crate) weights: Vec<Tensor>,
    #[prost(message, repeated, tag = "11")]
    pub(crate) inputs: Vec<Value>,
    #[prost(message, repeated, tag = "12")]
    pub(crate) outputs: Vec<Value>,
    #[prost(message, repeated, tag = "15")]
    pub(crate) sparse_weights: Vec<Anything>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Node {
    #[prost(string, repeated, tag = "1")]
    pub(crate) inputs: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(crate) outputs: Vec<String>,
    #[prost(string, tag = "3")]
    pub(crate) name: String,
    #[prost(string, tag = "4")]
    pub(crate) operator: String,
    #[prost(message, repeated, tag = "5")]
    pub(crate) attributes: Vec<Attribute>,
    #[prost(string, tag = "7")]
    pub(crate) domain: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Attribute {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(int64, tag = "3")]
    pub(crate) int: i64,
    #[prost(bytes = "bytes", tag = "4")]
    pub(crate) text: Bytes,
    #[prost(message, optional, tag = "5")]
    pub(crate) tensor: Option<Tensor>,
    #[prost(message, optional, tag = "6")]
    pub(crate) graph: Option<Graph>,
    #[prost(int64, repeated, packed = "false", tag = "8")]
    pub(crate) ints: Vec<i64>,
    /// 2: an integer, 7: integers.
    #[prost(int32, tag = "20")]
    pub(crate) kind: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Tensor {
    #[prost(int64, repeated, packed = "false", tag = "1")]
    pub(crate) dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub(crate) element: i32,
    #[prost(float, repeated, tag = "4")]
    pub(crate) floats: Vec<f32>,
    #[prost(int32, repeated, tag = "5")]
    pub(crate) ints32: Vec<i32>,
    #[prost(int64, repeated, tag = "7")]
    pub(crate) ints64: Vec<i64>,
    #[prost(string, tag = "8")]
    pub(crate) name: String,
    #[prost(bytes = "bytes", tag = "9")]
    pub(crate) raw: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Value {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) kind: Option<Kind>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Kind {
    #[prost(message, optional, tag = "1")]
    pub(crate) tensor: Option<TensorKind>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TensorKind {
    #[prost(int32, tag = "1")]
    pub(crate) element: i32,
    #[prost(message, optional, tag = "2")]
    pub(crate) shape: Option<Shape>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Shape {
    #[prost(message, repeated, tag = "1")]
    pub(crate) dims: Vec<Anything>,
}

impl Model {
    /// Version of ONNX's own operators.
    pub(crate) fn opset(&self) -> i64 {
        let own = |o: &&Opset| matches!(o.domain.as_str(), "" | "ai.onnx");
        self.opsets.iter().find(own).map_or(0, |o| o.version)
    }
}

impl Node {
    /// Whether it is of ONNX's own operators.
    pub(crate) fn is_own(&self) -> bool {
        matches!(self.domain.as_str(), "" | "ai.onnx")
    }

    pub(crate) fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|a| a.name == name)
    }

    pub(crate) fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).map_or(default, |a| a.int)
    }

    pub(crate) fn text(&self, name: &str) -> &[u8] {
        self.attribute(name).map_or(&[], |a| &a.text)
    }

    pub(crate) fn graphs(&self) -> impl Iterator<Item = &Graph> {
        self.attributes.iter().filter_map(|a| a.graph.as_ref())
    }
}

impl Tensor {
    /// How large its numbers are at most, as whole numbers.
    pub(crate) fn most(&self) -> u64 {
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
    pub(crate) fn integers(&self) -> Option<Vec<i64>> {
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
