//! rten behind the agent's trait. Which files it runs, and how, is in `modelfleet-rten`, for registration alike.

use std::collections::BTreeMap;

use modelfleet_protocol::state::EngineInfo;
use modelfleet_rten::{Input, NAME, OPEN_MAX, OPSET, Output, OutputKind, VERSION};

use super::{Engine, LoadError, Ports, RunError, Session};
use crate::tensor::{ANSWER_BYTES_MAX, Elements, NamedTensor};

/// rten.
#[derive(Default)]
pub struct Rten(modelfleet_rten::Rten);

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
        let outputs =
            ports.outputs.iter().map(|port| OutputKind { name: port.name.clone(), datatype: port.datatype });
        match self.0.load(bytes, outputs.collect()) {
            Ok(loaded) => Ok(Box::new(Loaded(loaded))),
            Err(error) => Err(not_loaded(error)),
        }
    }
}

struct Loaded(modelfleet_rten::Loaded);

impl Session for Loaded {
    fn run(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, RunError> {
        let inputs: Vec<Input<'_>> = inputs.iter().map(input).collect::<Result<_, _>>()?;
        let outputs = self.0.run(&inputs, ANSWER_BYTES_MAX).map_err(not_run)?;
        Ok(outputs.into_iter().map(output).collect())
    }
}

fn not_loaded(error: modelfleet_rten::LoadError) -> LoadError {
    let engine = NAME.to_owned();
    match error {
        modelfleet_rten::LoadError::OperatorMissing(detail) => LoadError::OperatorMissing { engine, detail },
        modelfleet_rten::LoadError::Inexact(detail) => LoadError::Inexact { engine, detail },
        modelfleet_rten::LoadError::Refused(detail) => LoadError::Refused { engine, detail },
    }
}

fn not_run(error: modelfleet_rten::RunError) -> RunError {
    let engine = NAME;
    match error {
        modelfleet_rten::RunError::Input { name, reason } => RunError::Input { name, reason },
        modelfleet_rten::RunError::Values(detail) => RunError::Values { engine, detail },
        modelfleet_rten::RunError::Large(bytes) => RunError::Large { bytes },
        modelfleet_rten::RunError::Output { name, reason } => RunError::Output { name, reason },
        modelfleet_rten::RunError::Failed(detail) => RunError::Engine { engine, detail },
    }
}

fn input(tensor: &NamedTensor) -> Result<Input<'_>, RunError> {
    use modelfleet_rten::Elements as Taken;
    let elements = match &tensor.data {
        Elements::F32(v) => Taken::F32(v.into()),
        Elements::I8(v) => Taken::I8(v.into()),
        Elements::I32(v) => Taken::I32(v.into()),
        Elements::I64(v) => Taken::I64(v.into()),
        Elements::U8(v) => Taken::U8(v.into()),
        Elements::Bool(v) => Taken::Bool(v.into()),
        other => {
            let reason = format!("rten has no {}", other.datatype());
            return Err(RunError::Input { name: tensor.name.clone(), reason });
        }
    };
    Ok(Input { name: &tensor.name, shape: &tensor.shape, elements })
}

fn output(Output { name, shape, elements }: Output) -> NamedTensor {
    use modelfleet_rten::Elements as Given;
    let data = match elements {
        Given::F32(v) => Elements::F32(v.into_owned()),
        Given::I8(v) => Elements::I8(v.into_owned()),
        Given::I32(v) => Elements::I32(v.into_owned()),
        Given::I64(v) => Elements::I64(v.into_owned()),
        Given::U8(v) => Elements::U8(v.into_owned()),
        Given::Bool(v) => Elements::Bool(v.into_owned()),
    };
    NamedTensor { name, shape, data }
}
