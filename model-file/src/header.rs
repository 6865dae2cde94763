//! What is read of a file.

use std::collections::{BTreeMap, BTreeSet};

use crate::element::Element;

/// The domain of the operators that ONNX itself defines. Files write it empty, people as here.
pub const DEFAULT_DOMAIN: &str = "ai.onnx";

/// Domains whose operators stock engines have.
const USUAL_DOMAINS: [&str; 3] = [DEFAULT_DOMAIN, "ai.onnx.ml", "com.microsoft"];

/// What a model says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Version of the file format.
    pub ir_version: i64,
    /// Operator sets that the file imports, by domain, whether an operator of them is used or not.
    pub imports: BTreeMap<String, i64>,
    /// Operator sets that have an operator in use, by domain: all that an engine is asked for.
    pub opsets: BTreeMap<String, i64>,
    /// Operators in use, `domain:name`: those of the graph, of loops and branches in it, and of the functions that the
    /// file defines. What the file itself defines is left out, because no engine must know it.
    pub operators: BTreeSet<String>,
    /// What it takes, in order. Weights are no inputs, though old files list them there.
    pub inputs: Vec<Value>,
    /// What it gives, in order.
    pub outputs: Vec<Value>,
}

/// An input or output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Its name, 1 to 128 bytes.
    pub name: String,
    /// What it is.
    pub kind: Kind,
}

/// What an input or output is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// A tensor.
    Tensor {
        /// Type of its elements.
        element: Element,
        /// Sizes, outermost first; -1 stands for any. `None`: the file does not say, not even how many there are.
        shape: Option<Vec<i64>>,
    },
    /// A list.
    Sequence,
    /// A map.
    Map,
    /// A tensor that keeps only what is not zero.
    SparseTensor,
    /// Something that may not be there.
    Optional,
    /// Something that only its maker understands.
    Opaque,
    /// The file does not say.
    #[default]
    Unknown,
}

impl Header {
    /// Operators of domains that stock engines do not have.
    #[must_use]
    pub fn unusual_operators(&self) -> Vec<&str> {
        let usual = |operator: &str| {
            operator.split_once(':').is_some_and(|(domain, _)| USUAL_DOMAINS.contains(&domain))
        };
        self.operators.iter().map(String::as_str).filter(|operator| !usual(operator)).collect()
    }
}
