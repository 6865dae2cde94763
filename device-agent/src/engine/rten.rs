//! rten: pure Rust, for small neural networks. It has no operators of `ai.onnx.ml`.

mod exact;
mod facts;
mod graph;
mod rewrite;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;

use modelfleet_protocol::state::EngineInfo;
use rten::{
    LoadErrorKind, Model, ModelOptions, NodeId, RunOptions, ThreadPool, Value, ValueOrView, ValueView,
};
use rten_tensor::Layout as _;

use super::{Engine, LoadError, Ports, RunError, Session, bounded};
use crate::tensor::{Elements, NamedTensor};

/// The name that plans use.
pub const NAME: &str = "Rten";
/// The crate's version, which it does not tell at run time.
const VERSION: &str = "0.27";
/// The newest operator set that rten has an operator of (Swish). It reads operators of any set by name and
/// refuses those it lacks at load, which is reported as such.
const OPSET: i64 = 24;

/// Largest size that a request may choose. What is computed for every pair of so many elements takes 256 MiB at most;
/// an allocation that is refused would end the process.
const OPEN_MAX: usize = 8192;

/// rten.
pub struct Rten {
    threads: Arc<ThreadPool>,
}

impl Default for Rten {
    fn default() -> Rten {
        // One thread, started with the first prediction: small models lose more by handing work over.
        Rten { threads: Arc::new(ThreadPool::with_num_threads(1)) }
    }
}

impl Engine for Rten {
    fn info(&self) -> EngineInfo {
        let opsets = BTreeMap::from([("ai.onnx".to_owned(), OPSET)]);
        // It reads files of any version of the format.
        EngineInfo { name: NAME.into(), version: VERSION.into(), opsets, ir_version: 0 }
    }

    fn is_reference(&self) -> bool {
        false
    }

    fn open_max(&self) -> Option<usize> {
        Some(OPEN_MAX)
    }

    fn load(&self, bytes: &[u8], ports: &Ports) -> Result<Box<dyn Session>, LoadError> {
        let bytes = as_rten_reads(bytes)?;
        let model = ModelOptions::with_all_ops().load(bytes).map_err(|e| {
            let (engine, detail) = (NAME.to_owned(), e.to_string());
            match e.kind() {
                LoadErrorKind::OperatorInvalid => LoadError::OperatorMissing { engine, detail },
                _ => LoadError::Refused { engine, detail },
            }
        })?;
        let named = |&id: &NodeId| {
            let name = model.node_info(id).and_then(|n| n.name().map(ToOwned::to_owned));
            (name.unwrap_or_default(), id)
        };
        let inputs = model.input_ids().iter().map(named).collect();
        // In the file's order, under the file's names: what rten computes beforehand has no name of its own any more.
        let output_ids = model.output_ids().to_vec();
        let outputs = ports.outputs.iter().map(|port| (port.name.clone(), port.datatype)).collect();
        Ok(Box::new(Loaded { inputs, outputs, output_ids, model, threads: self.threads.clone() }))
    }
}

/// The file as rten shall read it, when rten runs that as the file says.
fn as_rten_reads(bytes: &[u8]) -> Result<Vec<u8>, LoadError> {
    let refuse =
        |e: prost::DecodeError| LoadError::Refused { engine: NAME.to_owned(), detail: e.to_string() };
    let decode = |bytes: Bytes| graph::Model::decode(bytes).map_err(refuse);
    let mut bytes = Bytes::copy_from_slice(bytes);
    let mut model = decode(bytes.clone())?;
    if let Some(changed) = rewrite::exactly(&bytes, &model) {
        bytes = changed.into();
        model = decode(bytes.clone())?;
    }
    exact::check(&model).map_err(|detail| LoadError::Inexact { engine: NAME.to_owned(), detail })?;
    // Weights are parts of the same bytes, which rten then takes without a copy.
    drop(model);
    Ok(bytes.into())
}

struct Loaded {
    inputs: Vec<(String, NodeId)>,
    /// Names and element types as the file has them.
    outputs: Vec<(String, &'static str)>,
    output_ids: Vec<NodeId>,
    model: Model,
    threads: Arc<ThreadPool>,
}

impl Session for Loaded {
    fn run(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, RunError> {
        let feeds: Vec<(NodeId, ValueOrView<'_>)> =
            inputs.iter().map(|t| self.feed(t)).collect::<Result<_, _>>()?;
        let mut options = RunOptions::default();
        options.thread_pool = Some(self.threads.clone());
        let answers =
            self.model.run(feeds, &self.output_ids, Some(options)).map_err(|e| failed(e.to_string()))?;
        bounded(answers.iter().map(size).fold(0, usize::saturating_add))?;
        self.outputs
            .iter()
            .zip(answers)
            .map(|((name, datatype), value)| output(name, datatype, value))
            .collect()
    }
}

/// rten has one kind of error for all that an operator says; its words tell what comes from the values.
fn failed(detail: String) -> RunError {
    let by_values = detail.contains("is out of range") || detail.contains("Divisor contains zero");
    if by_values {
        RunError::Values { engine: NAME, detail }
    } else {
        RunError::Engine { engine: NAME, detail }
    }
}

impl Loaded {
    fn feed<'a>(&self, tensor: &'a NamedTensor) -> Result<(NodeId, ValueOrView<'a>), RunError> {
        let id = self.inputs.iter().find(|(name, _)| name == &tensor.name).map(|(_, id)| *id);
        let refuse = |reason: String| RunError::Input { name: tensor.name.clone(), reason };
        let id = id.ok_or_else(|| refuse("is not the model's".into()))?;
        Ok((id, input(tensor).map_err(refuse)?))
    }
}

/// rten has no elements but those of 32-bit floats, 32-bit integers and bytes.
fn input(tensor: &NamedTensor) -> Result<ValueOrView<'_>, String> {
    let shape = tensor.shape.as_slice();
    let narrow = |v: &[i64]| -> Result<Vec<i32>, String> {
        v.iter().map(|&x| i32::try_from(x).map_err(|_| format!("{x} does not fit 32 bits"))).collect()
    };
    macro_rules! view {
        ($values:expr) => {
            ValueView::from_shape(shape, $values.as_slice()).map(ValueOrView::from).map_err(|e| e.to_string())
        };
    }
    match &tensor.data {
        Elements::F32(v) => view!(v),
        Elements::I32(v) => view!(v),
        Elements::U8(v) => view!(v),
        Elements::I8(v) => view!(v),
        Elements::I64(v) => {
            Value::from_shape(shape, narrow(v)?).map(ValueOrView::from).map_err(|e| e.to_string())
        }
        Elements::Bool(v) => {
            let v: Vec<i32> = v.iter().map(|&x| i32::from(x)).collect();
            Value::from_shape(shape, v).map(ValueOrView::from).map_err(|e| e.to_string())
        }
        other => Err(format!("rten has no {}", other.datatype())),
    }
}

/// Bytes of an output's elements, of which none in rten has more than four.
fn size(value: &Value) -> usize {
    value.shape().iter().copied().fold(4, usize::saturating_mul)
}

/// An output with the element type that the file gives it.
fn output(name: &str, datatype: &str, value: Value) -> Result<NamedTensor, RunError> {
    use rten_tensor::prelude::*;
    let (shape, data) = match (datatype, value) {
        ("FP32", Value::FloatTensor(t)) => (t.shape().to_vec(), Elements::F32(t.to_vec())),
        ("INT32", Value::Int32Tensor(t)) => (t.shape().to_vec(), Elements::I32(t.to_vec())),
        ("INT64", Value::Int32Tensor(t)) => {
            (t.shape().to_vec(), Elements::I64(t.iter().map(|&x| x.into()).collect()))
        }
        ("BOOL", Value::Int32Tensor(t)) => {
            (t.shape().to_vec(), Elements::Bool(t.iter().map(|&x| x != 0).collect()))
        }
        ("UINT8", Value::UInt8Tensor(t)) => (t.shape().to_vec(), Elements::U8(t.to_vec())),
        ("INT8", Value::Int8Tensor(t)) => (t.shape().to_vec(), Elements::I8(t.to_vec())),
        (_, value) => {
            let reason = format!("is {datatype} in the file, and {} in rten", value.dtype());
            return Err(RunError::Output { name: name.to_owned(), reason });
        }
    };
    Ok(NamedTensor { name: name.to_owned(), shape, data })
}
