//! rten: pure Rust, for small neural networks. It has no operators of `ai.onnx.ml`.

use std::collections::BTreeMap;
use std::sync::Arc;

use modelfleet_protocol::model::ModelBuild;
use modelfleet_protocol::state::EngineInfo;
use rten::{
    LoadErrorKind, Model, ModelOptions, NodeId, RunOptions, ThreadPool, Value, ValueOrView, ValueView,
};

use super::{Engine, LoadError, RunError, Session};
use crate::tensor::{Elements, NamedTensor};

/// The name that plans use.
pub const NAME: &str = "Rten";
/// The crate's version, which it does not tell at run time.
const VERSION: &str = "0.27";
/// The newest operator set that rten has an operator of (Swish). It reads operators of any set by name and
/// refuses those it lacks at load, which is reported as such.
const OPSET: i64 = 24;

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

    fn load(&self, bytes: &[u8], _: &ModelBuild) -> Result<Box<dyn Session>, LoadError> {
        let model = ModelOptions::with_all_ops().load(bytes.to_vec()).map_err(|e| {
            let (engine, detail) = (NAME.to_owned(), e.to_string());
            match e.kind() {
                LoadErrorKind::OperatorInvalid => LoadError::OperatorMissing { engine, detail },
                _ => LoadError::Refused { engine, detail },
            }
        })?;
        let named = |ids: &[NodeId]| {
            let name = |&id: &NodeId| {
                let name = model.node_info(id).and_then(|n| n.name().map(ToOwned::to_owned));
                (name.unwrap_or_default(), id)
            };
            ids.iter().map(name).collect::<Vec<_>>()
        };
        let (inputs, outputs) = (named(model.input_ids()), named(model.output_ids()));
        let output_ids = outputs.iter().map(|(_, id)| *id).collect();
        Ok(Box::new(Loaded { inputs, outputs, output_ids, model, threads: self.threads.clone() }))
    }
}

struct Loaded {
    inputs: Vec<(String, NodeId)>,
    outputs: Vec<(String, NodeId)>,
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
        let answers = self
            .model
            .run(feeds, &self.output_ids, Some(options))
            .map_err(|e| RunError::Engine { engine: NAME, detail: e.to_string() })?;
        Ok(self.outputs.iter().zip(answers).filter_map(|((name, _), value)| output(name, value)).collect())
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

/// rten knows 32-bit integers only: wider ones are narrowed where they fit.
fn input(tensor: &NamedTensor) -> Result<ValueOrView<'_>, String> {
    let shape = tensor.shape.as_slice();
    let narrow = |v: &[i64]| -> Result<Vec<i32>, String> {
        v.iter().map(|&x| i32::try_from(x).map_err(|_| format!("{x} does not fit 32 bits"))).collect()
    };
    let text = |e: &dyn std::fmt::Display| e.to_string();
    match &tensor.data {
        Elements::F32(v) => Ok(ValueView::from_shape(shape, v).map_err(|e| text(&e))?.into()),
        Elements::I32(v) => Ok(ValueView::from_shape(shape, v).map_err(|e| text(&e))?.into()),
        Elements::U8(v) => Ok(ValueView::from_shape(shape, v).map_err(|e| text(&e))?.into()),
        #[allow(clippy::cast_possible_truncation)]
        Elements::F64(v) => {
            let v: Vec<f32> = v.iter().map(|&x| x as f32).collect();
            Ok(Value::from_shape(shape, v).map_err(|e| text(&e))?.into())
        }
        Elements::I64(v) => Ok(Value::from_shape(shape, narrow(v)?).map_err(|e| text(&e))?.into()),
        Elements::Bool(v) => {
            let v: Vec<i32> = v.iter().map(|&x| i32::from(x)).collect();
            Ok(Value::from_shape(shape, v).map_err(|e| text(&e))?.into())
        }
        Elements::Text(_) => Err("texts are nothing for this engine".into()),
    }
}

fn output(name: &str, value: Value) -> Option<NamedTensor> {
    use rten_tensor::prelude::*;
    let (shape, data) = match value {
        Value::FloatTensor(t) => (t.shape().to_vec(), Elements::F32(t.to_vec())),
        // A label is INT64 in ONNX; rten keeps it in 32 bits.
        Value::Int32Tensor(t) => (t.shape().to_vec(), Elements::I64(t.iter().map(|&x| x.into()).collect())),
        Value::UInt8Tensor(t) => (t.shape().to_vec(), Elements::U8(t.to_vec())),
        Value::Int8Tensor(t) => (t.shape().to_vec(), Elements::I32(t.iter().map(|&x| x.into()).collect())),
        _ => return None,
    };
    Some(NamedTensor { name: name.to_owned(), shape, data })
}
