//! What an ONNX file says about itself: operator sets, operators, inputs and outputs, without its weights.
//!
//! The file is walked in place and nothing of it is copied but names, so that a model of two gigabytes costs no
//! more memory than one of two kilobytes, and a hostile one neither. Field numbers are those of `onnx.proto`
//! (ONNX 1.20); `proto/onnx_header.proto` holds the part that is read.

mod interface;
mod wire;

use std::collections::{BTreeMap, BTreeSet};

use modelfleet_crds::model_version::Tensor;

pub use wire::WireError;
use wire::{Fields, Value};

/// Deepest nesting of graphs (loops and branches).
const DEPTH_MAX: usize = 16;
/// Most operator sets.
const OPSETS_MAX: usize = 16;
/// Most different operators.
const OPERATORS_MAX: usize = 4_096;
/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// Why a file cannot be read as a model.
#[derive(Debug, thiserror::Error)]
pub enum OnnxError {
    /// Not the bytes of an ONNX model.
    #[error("it is not an ONNX model")]
    Wire(#[from] WireError),
    /// A part that every model has is missing.
    #[error("it is not a complete ONNX model: it has no {0}")]
    Missing(&'static str),
    /// More than a device would take.
    #[error("it has more than {most} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        most: usize,
    },
    /// A name that is empty or too long.
    #[error("the name of {what} has {length} bytes; 1 to {NAME_BYTES_MAX} are allowed")]
    Name {
        /// Of what.
        what: &'static str,
        /// Its length.
        length: usize,
    },
    /// Two tensors of one name.
    #[error("two {what} are named {name:?}")]
    Twice {
        /// Inputs or outputs.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A number outside what the format means.
    #[error("{what} is {value}; {allowed} is allowed")]
    Number {
        /// Which one.
        what: String,
        /// What it is.
        value: i64,
        /// What it may be.
        allowed: &'static str,
    },
    /// Elements that no device passes in or out.
    #[error("the elements of {name:?} have ONNX type {element}, which cannot be an input or output here")]
    Datatype {
        /// The tensor.
        name: String,
        /// Its type's number in ONNX.
        element: u64,
    },
    /// The weights are elsewhere.
    #[error(
        "its weights are in other files; save it as one file (onnx.save_model(model, path, \
         save_as_external_data=False))"
    )]
    ExternalWeights,
}

/// What a model says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Version of the file format.
    pub ir_version: i64,
    /// Operator sets that the model imports, by domain; the default domain is `ai.onnx`.
    pub opsets: BTreeMap<String, i64>,
    /// Operators that it uses, `domain:name`, those inside loops and branches included.
    pub operators: BTreeSet<String>,
    /// Tensors that it takes, in order.
    pub inputs: Vec<Tensor>,
    /// Tensors that it gives, in order.
    pub outputs: Vec<Tensor>,
    /// Inputs and outputs that are no tensors (lists, maps), which nobody can pass to a device.
    pub not_tensors: Vec<String>,
}

impl Header {
    /// Operators of domains that stock engines do not have.
    #[must_use]
    pub fn unusual_operators(&self) -> Vec<&str> {
        let usual = ["ai.onnx:", "ai.onnx.ml:", "com.microsoft:", "ai.onnx.preview.training:"];
        let unusual =
            self.operators.iter().filter(|name| !usual.iter().any(|domain| name.starts_with(domain)));
        unusual.map(String::as_str).collect()
    }
}

/// Reads the header of a model. No input makes it panic or take much memory.
///
/// # Errors
/// When the bytes are no ONNX model, or one that no device can be given.
pub fn header(bytes: &[u8]) -> Result<Header, OnnxError> {
    let mut header = Header::default();
    let mut graph = None;
    let mut functions = Vec::new();
    for field in Fields::of(bytes) {
        match field? {
            (1, Value::Varint(version)) => header.ir_version = version.cast_signed(),
            (7, Value::Bytes(bytes)) => graph = Some(bytes),
            (8, Value::Bytes(bytes)) => opset(bytes, &mut header)?,
            (25, Value::Bytes(bytes)) => functions.push(function(bytes, &mut header)?),
            _ => {}
        }
    }
    let graph = graph.ok_or(OnnxError::Missing("graph"))?;
    if !(1..=1_000).contains(&header.ir_version) {
        let what = "its format version".to_owned();
        return Err(OnnxError::Number { what, value: header.ir_version, allowed: "1 to 1000" });
    }
    if header.opsets.is_empty() {
        return Err(OnnxError::Missing("operator set"));
    }
    nodes(graph, 1, 0, &mut header)?;
    interface::read(graph, &mut header)?;
    // What the file itself defines needs no engine to know it.
    header.operators.retain(|operator| !functions.contains(operator));
    if header.outputs.is_empty() && header.not_tensors.is_empty() {
        return Err(OnnxError::Missing("output"));
    }
    Ok(header)
}

fn opset(bytes: &[u8], header: &mut Header) -> Result<(), OnnxError> {
    let (mut domain, mut version) = (String::new(), 0);
    for field in Fields::of(bytes) {
        match field? {
            (1, Value::Bytes(text)) => domain = name("an operator set", text, true)?,
            (2, Value::Varint(number)) => version = number.cast_signed(),
            _ => {}
        }
    }
    let domain = if domain.is_empty() { "ai.onnx".to_owned() } else { domain };
    if !(1..=1_000).contains(&version) {
        let what = format!("the version of operator set {domain:?}");
        return Err(OnnxError::Number { what, value: version, allowed: "1 to 1000" });
    }
    header.opsets.insert(domain, version);
    bounded("operator sets", header.opsets.len(), OPSETS_MAX)
}

/// Reads a function that the file defines and gives its operator's name.
fn function(bytes: &[u8], header: &mut Header) -> Result<String, OnnxError> {
    let (mut own, mut domain) = (String::new(), String::new());
    for field in Fields::of(bytes) {
        match field? {
            (1, Value::Bytes(text)) => own = name("a function", text, false)?,
            (10, Value::Bytes(text)) => domain = name("a function's domain", text, true)?,
            _ => {}
        }
    }
    nodes(bytes, 7, 0, header)?;
    Ok(operator(&domain, &own))
}

/// Collects the operators of the nodes in field `node_field` of a graph or function.
fn nodes(graph: &[u8], node_field: u32, depth: usize, header: &mut Header) -> Result<(), OnnxError> {
    bounded("graphs inside each other", depth, DEPTH_MAX)?;
    for field in Fields::of(graph) {
        if let (number, Value::Bytes(bytes)) = field?
            && number == node_field
        {
            node(bytes, depth, header)?;
        }
    }
    Ok(())
}

fn node(bytes: &[u8], depth: usize, header: &mut Header) -> Result<(), OnnxError> {
    let (mut kind, mut domain) = (String::new(), String::new());
    for field in Fields::of(bytes) {
        match field? {
            (4, Value::Bytes(text)) => kind = name("an operator", text, false)?,
            (7, Value::Bytes(text)) => domain = name("an operator's domain", text, true)?,
            (5, Value::Bytes(attribute)) => {
                for field in Fields::of(attribute) {
                    if let (6 | 11, Value::Bytes(graph)) = field? {
                        nodes(graph, 1, depth + 1, header)?;
                    }
                }
            }
            _ => {}
        }
    }
    if kind.is_empty() {
        return Err(OnnxError::Missing("operator name at a node"));
    }
    header.operators.insert(operator(&domain, &kind));
    bounded("different operators", header.operators.len(), OPERATORS_MAX)
}

fn operator(domain: &str, kind: &str) -> String {
    format!("{}:{kind}", if domain.is_empty() { "ai.onnx" } else { domain })
}

fn name(what: &'static str, bytes: &[u8], may_be_empty: bool) -> Result<String, OnnxError> {
    let length = bytes.len();
    if length > NAME_BYTES_MAX || (length == 0 && !may_be_empty) {
        return Err(OnnxError::Name { what, length });
    }
    Ok(std::str::from_utf8(bytes).map_err(|_| WireError::Text)?.to_owned())
}

fn bounded(what: &'static str, count: usize, most: usize) -> Result<(), OnnxError> {
    if count > most { Err(OnnxError::TooMany { what, most }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
