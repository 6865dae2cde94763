//! The interface of a model file in the words of a ModelVersion.

use modelfleet_crds::model_version::{Datatype, ModelSignature, Opset, Tensor};
use modelfleet_model_file::{Header, Kind, NotCarried, Value};

/// The tensors that a file takes and gives.
///
/// # Errors
/// When no device can take one of the inputs or give one of the outputs.
pub fn signature(header: &Header) -> Result<ModelSignature, NotCarried> {
    header.check_carried()?;
    let tensors = |values: &[Value]| values.iter().filter_map(tensor).collect();
    Ok(ModelSignature { inputs: tensors(&header.inputs), outputs: tensors(&header.outputs) })
}

/// The operator sets that an engine is asked for.
#[must_use]
pub fn opsets(header: &Header) -> Vec<Opset> {
    let opset = |(domain, version): (&String, &i64)| Opset { domain: domain.clone(), version: *version };
    header.opsets.iter().map(opset).collect()
}

fn tensor(value: &Value) -> Option<Tensor> {
    let Kind::Tensor { element, shape } = &value.kind else { return None };
    let datatype = datatype(element.protocol_name()?)?;
    Some(Tensor { name: value.name.clone(), datatype, shape: shape.clone().unwrap_or_default() })
}

/// The type of this name in the Open Inference Protocol.
fn datatype(name: &str) -> Option<Datatype> {
    Some(match name {
        "BOOL" => Datatype::Bool,
        "INT8" => Datatype::Int8,
        "INT16" => Datatype::Int16,
        "INT32" => Datatype::Int32,
        "INT64" => Datatype::Int64,
        "UINT8" => Datatype::Uint8,
        "UINT16" => Datatype::Uint16,
        "UINT32" => Datatype::Uint32,
        "UINT64" => Datatype::Uint64,
        "FP16" => Datatype::Fp16,
        "BF16" => Datatype::Bf16,
        "FP32" => Datatype::Fp32,
        "FP64" => Datatype::Fp64,
        "BYTES" => Datatype::String,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use modelfleet_model_file::Element;

    #[test]
    fn every_type_that_devices_carry_has_a_name_in_a_version() {
        for name in Element::carried() {
            assert!(datatype(name).is_some(), "{name}");
        }
    }
}
