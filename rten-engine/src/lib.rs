//! rten, the engine in pure Rust for small neural networks: run exactly as a model's file says, or not at all. It has
//! no operators of `ai.onnx.ml`.
//!
//! The agent runs models with it. The plugin runs them at registration, to know whether devices may use it. Both must
//! take and refuse the same files, so what is rewritten in a file, what is refused and how elements are narrowed is
//! here and nowhere else.

mod elements;
mod exact;
mod facts;
mod graph;
mod rewrite;

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use rten::{LoadErrorKind, ModelOptions, NodeId, RunOptions, ThreadPool, ValueOrView};

pub use elements::Elements;

/// The name that plans and versions use.
pub const NAME: &str = "Rten";
/// The crate's version, which it does not tell at run time.
pub const VERSION: &str = "0.27";
/// The newest version of `ai.onnx` that rten has an operator of (Swish). It reads operators of any version by name and
/// refuses those it lacks when it loads the file.
pub const OPSET: i64 = 24;
/// Largest size that a request may choose where a file leaves one open. What is computed for every pair of so many
/// elements takes 256 MiB at most; an allocation that is refused would end the process.
pub const OPEN_MAX: usize = 8192;

/// Why rten does not load a model. Each holds the details, in rten's words or ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// It lacks an operator.
    #[error("lacks an operator: {0}")]
    OperatorMissing(String),
    /// It would answer, but not as the file says.
    #[error("does not run the model exactly: {0}")]
    Inexact(String),
    /// It refuses the file for another reason.
    #[error("refuses the model: {0}")]
    Refused(String),
}

/// Why a prediction has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// An input that the model does not have, or that rten cannot take.
    #[error("input {name:?}: {reason}")]
    Input {
        /// The input.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// These values cannot be answered: an index beyond a table, a division by zero.
    #[error("cannot answer these values: {0}")]
    Values(String),
    /// The answer is larger than was allowed.
    #[error("the answer would have {0} bytes")]
    Large(usize),
    /// An output whose elements are not those that the file says.
    #[error("output {name:?}: {reason}")]
    Output {
        /// The output.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// rten failed.
    #[error("could not run the model: {0}")]
    Failed(String),
}

/// rten with its thread.
pub struct Rten {
    threads: Arc<ThreadPool>,
}

impl Default for Rten {
    fn default() -> Rten {
        // One thread, started with the first prediction: small models lose more by handing work over.
        Rten { threads: Arc::new(ThreadPool::with_num_threads(1)) }
    }
}

/// An output of a model, as its file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputKind {
    /// Its name.
    pub name: String,
    /// Its element type in the words of the Open Inference Protocol.
    pub datatype: &'static str,
}

/// A tensor that goes in.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    /// Its name in the model.
    pub name: &'a str,
    /// Its shape.
    pub shape: &'a [usize],
    /// Its elements; as many as the shape says.
    pub elements: Elements<'a>,
}

/// A tensor that comes out.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// Its name in the model.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its elements, of the type that the file says.
    pub elements: Elements<'static>,
}

/// A loaded model.
pub struct Loaded {
    inputs: Vec<(String, NodeId)>,
    outputs: Vec<OutputKind>,
    output_ids: Vec<NodeId>,
    model: rten::Model,
    threads: Arc<ThreadPool>,
}

impl Rten {
    /// Loads a model whose file says that it gives these outputs, in the file's order.
    ///
    /// # Errors
    /// When rten lacks an operator, would not run the model exactly, or refuses it.
    pub fn load(&self, bytes: &[u8], outputs: Vec<OutputKind>) -> Result<Loaded, LoadError> {
        let bytes = as_rten_reads(bytes)?;
        let model = ModelOptions::with_all_ops().load(bytes).map_err(|e| match e.kind() {
            LoadErrorKind::OperatorInvalid => LoadError::OperatorMissing(e.to_string()),
            _ => LoadError::Refused(e.to_string()),
        })?;
        let named = |&id: &NodeId| {
            let name = model.node_info(id).and_then(|n| n.name().map(ToOwned::to_owned));
            (name.unwrap_or_default(), id)
        };
        let inputs = model.input_ids().iter().map(named).collect();
        // In the file's order, under the file's names: what rten computes beforehand has no name of its own any more.
        let output_ids = model.output_ids().to_vec();
        Ok(Loaded { inputs, outputs, output_ids, model, threads: self.threads.clone() })
    }
}

/// The file as rten shall read it, when rten runs that as the file says.
fn as_rten_reads(bytes: &[u8]) -> Result<Vec<u8>, LoadError> {
    let refuse = |e: prost::DecodeError| LoadError::Refused(e.to_string());
    let decode = |bytes: Bytes| graph::Model::decode(bytes).map_err(refuse);
    let mut bytes = Bytes::copy_from_slice(bytes);
    let mut model = decode(bytes.clone())?;
    if let Some(changed) = rewrite::exactly(&bytes, &model) {
        bytes = changed.into();
        model = decode(bytes.clone())?;
    }
    exact::check(&model).map_err(LoadError::Inexact)?;
    // Weights are parts of the same bytes, which rten then takes without a copy.
    drop(model);
    Ok(bytes.into())
}

impl Loaded {
    /// All outputs for these inputs, in the file's order. `bytes_max`: most bytes of them, asked before they are copied.
    ///
    /// # Errors
    /// When an input does not fit, rten fails, or an output is too large or not what the file says.
    pub fn run(&self, inputs: &[Input<'_>], bytes_max: usize) -> Result<Vec<Output>, RunError> {
        let feeds: Vec<(NodeId, ValueOrView<'_>)> =
            inputs.iter().map(|input| self.feed(input)).collect::<Result<_, _>>()?;
        let mut options = RunOptions::default();
        options.thread_pool = Some(self.threads.clone());
        let answers =
            self.model.run(feeds, &self.output_ids, Some(options)).map_err(|e| failed(e.to_string()))?;
        let bytes = answers.iter().map(elements::bytes).fold(0, usize::saturating_add);
        if bytes > bytes_max {
            return Err(RunError::Large(bytes));
        }
        let output = |(kind, value): (&OutputKind, rten::Value)| {
            let (shape, elements) = elements::given(kind.datatype, value)
                .map_err(|reason| RunError::Output { name: kind.name.clone(), reason })?;
            Ok(Output { name: kind.name.clone(), shape, elements })
        };
        self.outputs.iter().zip(answers).map(output).collect()
    }

    fn feed<'a>(&self, input: &'a Input<'_>) -> Result<(NodeId, ValueOrView<'a>), RunError> {
        let id = self.inputs.iter().find(|(name, _)| name == input.name).map(|(_, id)| *id);
        let refuse = |reason: String| RunError::Input { name: input.name.to_owned(), reason };
        let id = id.ok_or_else(|| refuse("the model has no such input".into()))?;
        Ok((id, input.elements.taken(input.shape).map_err(refuse)?))
    }
}

/// rten has one kind of error for all that an operator says; its words tell what comes from the values.
fn failed(detail: String) -> RunError {
    let by_values = detail.contains("is out of range") || detail.contains("Divisor contains zero");
    if by_values { RunError::Values(detail) } else { RunError::Failed(detail) }
}
