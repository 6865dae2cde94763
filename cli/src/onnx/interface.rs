//! The tensors that a model takes and gives.

use std::collections::BTreeSet;

use modelfleet_crds::model_version::{Datatype, Tensor};

use super::wire::{Fields, Value, WireError};
use super::{Header, OnnxError, bounded, name};

/// Most inputs or outputs.
const TENSORS_MAX: usize = 64;
/// Most dimensions of a tensor.
const DIMENSIONS_MAX: usize = 8;

/// Reads inputs and outputs. Old files list their weights among the inputs, new ones do not.
pub(super) fn read(graph: &[u8], header: &mut Header) -> Result<(), OnnxError> {
    let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
    for field in Fields::of(graph) {
        match field? {
            (11, Value::Bytes(bytes)) => inputs.push(bytes),
            (12, Value::Bytes(bytes)) => outputs.push(bytes),
            _ => {}
        }
        bounded("outputs", outputs.len(), TENSORS_MAX)?;
    }
    let named = inputs.into_iter().map(|bytes| Ok((value_name(bytes)?, bytes)));
    let mut inputs = named.collect::<Result<Vec<_>, OnnxError>>()?;
    let weights = weights_among(graph, &inputs.iter().map(|(name, _)| *name).collect())?;
    inputs.retain(|(name, _)| !weights.contains(name));
    bounded("inputs", inputs.len(), TENSORS_MAX)?;
    for (_, bytes) in inputs {
        take("inputs", bytes, &mut header.inputs, &mut header.not_tensors)?;
    }
    for bytes in outputs {
        take("outputs", bytes, &mut header.outputs, &mut header.not_tensors)?;
    }
    Ok(())
}

/// Which of `inputs` are weights. Weights in other files are refused on the way.
fn weights_among<'a>(graph: &'a [u8], inputs: &BTreeSet<&[u8]>) -> Result<BTreeSet<&'a [u8]>, OnnxError> {
    let mut found = BTreeSet::new();
    for field in Fields::of(graph) {
        let (5, Value::Bytes(tensor)) = field? else { continue };
        for field in Fields::of(tensor) {
            match field? {
                (8, Value::Bytes(name)) if inputs.contains(name) => {
                    found.insert(name);
                }
                (14, Value::Varint(1)) => return Err(OnnxError::ExternalWeights),
                _ => {}
            }
        }
    }
    Ok(found)
}

fn value_name(value: &[u8]) -> Result<&[u8], WireError> {
    let mut found: &[u8] = &[];
    for field in Fields::of(value) {
        if let (1, Value::Bytes(name)) = field? {
            found = name;
        }
    }
    Ok(found)
}

fn take(
    what: &'static str,
    value: &[u8],
    tensors: &mut Vec<Tensor>,
    not_tensors: &mut Vec<String>,
) -> Result<(), OnnxError> {
    let own = name("an input or output", value_name(value)?, false)?;
    let mut tensor = None;
    for field in Fields::of(value) {
        let (2, Value::Bytes(kind)) = field? else { continue };
        for field in Fields::of(kind) {
            if let (1, Value::Bytes(bytes)) = field? {
                tensor = Some(bytes);
            }
        }
    }
    if tensors.iter().any(|t| t.name == own) {
        return Err(OnnxError::Twice { what, name: own });
    }
    match tensor {
        Some(bytes) => tensors.push(tensor_of(own, bytes)?),
        None => not_tensors.push(own),
    }
    Ok(())
}

fn tensor_of(name: String, bytes: &[u8]) -> Result<Tensor, OnnxError> {
    let (mut element, mut shape) = (0, Vec::new());
    for field in Fields::of(bytes) {
        match field? {
            (1, Value::Varint(number)) => element = number,
            (2, Value::Bytes(dimensions)) => {
                for field in Fields::of(dimensions) {
                    if let (1, Value::Bytes(bytes)) = field? {
                        shape.push(dimension(bytes)?);
                        bounded("dimensions of a tensor", shape.len(), DIMENSIONS_MAX)?;
                    }
                }
            }
            _ => {}
        }
    }
    let Some(datatype) = datatype(element) else { return Err(OnnxError::Datatype { name, element }) };
    Ok(Tensor { name, datatype, shape })
}

/// A dimension; -1 for one that the file names instead of numbering.
fn dimension(bytes: &[u8]) -> Result<i64, OnnxError> {
    let mut size = -1;
    for field in Fields::of(bytes) {
        if let (1, Value::Varint(number)) = field? {
            // Some exporters write 0 or -1 for "any".
            size = if number.cast_signed() > 0 { number.cast_signed() } else { -1 };
        }
    }
    Ok(size)
}

fn datatype(element: u64) -> Option<Datatype> {
    Some(match element {
        1 => Datatype::Fp32,
        2 => Datatype::Uint8,
        3 => Datatype::Int8,
        4 => Datatype::Uint16,
        5 => Datatype::Int16,
        6 => Datatype::Int32,
        7 => Datatype::Int64,
        8 => Datatype::String,
        9 => Datatype::Bool,
        10 => Datatype::Fp16,
        11 => Datatype::Fp64,
        12 => Datatype::Uint32,
        13 => Datatype::Uint64,
        _ => return None,
    })
}
