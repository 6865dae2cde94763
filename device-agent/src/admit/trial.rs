//! One run with made-up inputs, where no golden input shows whether an engine can run at all what it has loaded.

use modelfleet_protocol::model::ModelBuild;

use super::AdmitError;
use crate::engine::{Loaded, Port, RunError};
use crate::tensor::{Elements, NamedTensor, elements_of};

/// Most elements of an input that is made up.
const ELEMENTS_MAX: usize = 1 << 22;

/// Runs a model once on an engine that reads files it has no code for. Only what it says of the model counts, not what
/// it says of the values; a model whose inputs cannot be made up, as their file leaves more open than how many rows there
/// are, is taken.
///
/// # Errors
/// When the engine cannot run the model, or gives an output that is not the file's.
pub(super) fn run(loaded: &Loaded, build: &ModelBuild) -> Result<(), AdmitError> {
    if loaded.is_reference || !build.self_test.is_empty() {
        return Ok(());
    }
    let inputs: Option<Vec<NamedTensor>> = loaded.ports.inputs.iter().map(one_row).collect();
    match inputs.map(|inputs| loaded.session.run(&inputs)) {
        Some(Err(error @ (RunError::Engine { .. } | RunError::Ended { .. } | RunError::Output { .. }))) => {
            Err(AdmitError::Trial(error))
        }
        _ => Ok(()),
    }
}

/// An input of ones, with one row where the file leaves open how many there are.
fn one_row(port: &Port) -> Option<NamedTensor> {
    let shape = port.shape.as_ref()?;
    let open = shape.iter().filter(|&&size| size < 0).count();
    if open > 1 {
        return None;
    }
    let shape: Vec<usize> = shape.iter().map(|&size| usize::try_from(size).unwrap_or(1)).collect();
    let count = elements_of(&shape).filter(|&count| count <= ELEMENTS_MAX)?;
    let data = Elements::of_datatype(port.datatype, &vec![1.0; count])?;
    Some(NamedTensor { name: port.name.clone(), shape, data })
}
