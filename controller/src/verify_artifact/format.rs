//! Whether the file is a model that devices can be given, and the one that the spec describes.

use modelfleet_crds::ModelVersionSpec;
use modelfleet_crds::model_version::Tensor;
use modelfleet_model_file::{Header, Kind, Reader, Value};

use super::{CheckError, refuse};
use modelfleet_model::builds::datatype_name;

/// Checks what was read of a file whose bytes are those that were registered.
///
/// # Errors
/// When no device can be given the file, or it is not what the spec says.
pub fn check(spec: &ModelVersionSpec, reader: Reader) -> Result<(), CheckError> {
    let header = match reader.finish() {
        Ok(header) => header,
        Err(why) => {
            let message = format!("devices cannot use the file: {why}; register a new version of it");
            return refuse("FormatInvalid", message);
        }
    };
    if let Err(why) = header.check_carried() {
        return refuse("TypeUnsupported", format!("{why}; register the converted file as a new version"));
    }
    let declared = spec.artifact.ir_version;
    if declared.is_some_and(|declared| declared != header.ir_version) {
        let message = format!(
            "spec.artifact.irVersion is {}, but that of the file is {}; register a version with the value of the file",
            declared.unwrap_or_default(),
            header.ir_version
        );
        return refuse("FormatMismatch", message);
    }
    opsets(spec, &header)?;
    tensors("inputs", &spec.signature.inputs, &header.inputs)?;
    tensors("outputs", &spec.signature.outputs, &header.outputs)
}

/// A set that is imported and not used may be declared: it asks nothing of a device that would not have it.
fn opsets(spec: &ModelVersionSpec, header: &Header) -> Result<(), CheckError> {
    for declared in &spec.opsets {
        let found = header.imports.get(&declared.domain).copied();
        if found != Some(declared.version) {
            let found = found.map_or("does not import it".to_owned(), |v| format!("imports version {v}"));
            let (domain, version) = (&declared.domain, declared.version);
            let message = format!(
                "spec.opsets has {domain} {version}, but the file {found}; register a version with the values of the file"
            );
            return refuse("OpsetMismatch", message);
        }
    }
    Ok(())
}

/// Every tensor that the spec names is one of the file, with elements of the same type.
fn tensors(field: &str, declared: &[Tensor], found: &[Value]) -> Result<(), CheckError> {
    for tensor in declared {
        let name = &tensor.name;
        let (says, datatype) =
            (format!("spec.signature.{field} names {name:?}"), datatype_name(tensor.datatype));
        let kind = found.iter().find(|value| &value.name == name).map(|value| &value.kind);
        let found = match kind {
            Some(Kind::Tensor { element, .. }) if element.protocol_name() == Some(datatype) => continue,
            Some(Kind::Tensor { element, .. }) => {
                format!("as {datatype}, but its elements in the file are {element}")
            }
            _ => format!("but the file has no such {}", field.trim_end_matches('s')),
        };
        return refuse(
            "InterfaceMismatch",
            format!("{says} {found}; register a version with the {field} of the file"),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    /// What is said of a file with this in its spec; nothing when it passes.
    fn said(file: &[u8], more: Json) -> Option<(&'static str, String)> {
        let digest = modelfleet_protocol::ids::Digest::of(file).to_string();
        let artifact = json!({"uri": "file:///m", "digest": digest, "sizeBytes": file.len()});
        let mut spec = json!({"model": "m", "version": "1.0.0", "artifact": artifact});
        for (field, value) in more.as_object().unwrap() {
            if let Some(ir_version) = value.get("irVersion") {
                spec["artifact"]["irVersion"] = ir_version.clone();
            } else {
                spec[field] = value.clone();
            }
        }
        let mut reader = Reader::default();
        file.chunks(7).for_each(|piece| reader.take(piece));
        match check(&serde_json::from_value(spec).unwrap(), reader) {
            Ok(()) => None,
            Err(CheckError::Refuse { reason, message }) => Some((reason, message)),
            Err(other) => panic!("{other}"),
        }
    }

    macro_rules! file {
        ($name:literal) => {
            include_bytes!(concat!("../../../model-file/testdata/", $name, ".onnx")).as_slice()
        };
    }

    #[test]
    fn what_no_device_can_be_given_is_not_verified() {
        let (reason, message) = said(file!("zipmap"), json!({})).unwrap();
        assert_eq!(reason, "TypeUnsupported");
        assert!(message.contains("convert without ZipMap (skl2onnx option zipmap=False)"), "{message}");
        let (reason, message) = said(file!("float8"), json!({})).unwrap();
        assert!(reason == "TypeUnsupported" && message.contains("FLOAT8E4M3FN"), "{message}");
        let (reason, message) = said(file!("external-in-branch"), json!({})).unwrap();
        assert!(reason == "FormatInvalid" && message.contains("save it as one file"), "{message}");
        for file in [file!("half"), file!("unused-opsets"), file!("columns"), file!("double")] {
            assert_eq!(said(file, json!({})), None);
        }
    }

    #[test]
    fn the_spec_must_describe_the_file() {
        let opset = |domain: &str, version: i64| json!({"opsets": [{"domain": domain, "version": version}]});
        assert_eq!(said(file!("unused-opsets"), opset("ai.onnx", 17)), None);
        assert_eq!(said(file!("unused-opsets"), opset("ai.onnx.ml", 99)), None, "imported, not used");
        assert_eq!(said(file!("unused-opsets"), opset("ai.onnx", 13)).unwrap().0, "OpsetMismatch");
        assert_eq!(said(file!("half"), json!({"artifact": {"irVersion": 9}})), None);
        assert_eq!(said(file!("half"), json!({"artifact": {"irVersion": 8}})).unwrap().0, "FormatMismatch");
        let output = |name: &str, datatype: &str| json!({"signature": {"outputs": [{"name": name, "datatype": datatype, "shape": [-1, 3]}]}});
        assert_eq!(said(file!("half"), output("y", "Fp16")), None);
        let (reason, message) = said(file!("half"), output("y", "Fp32")).unwrap();
        assert!(reason == "InterfaceMismatch" && message.contains("in the file are FLOAT16"), "{message}");
        let (_, message) = said(file!("half"), output("z", "Fp16")).unwrap();
        assert!(
            message.contains("spec.signature.outputs names \"z\" but the file has no such output"),
            "{message}"
        );
    }
}
