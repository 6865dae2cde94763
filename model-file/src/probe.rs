//! Models of one operator over one number, to ask an engine what it knows.

use crate::header::DEFAULT_DOMAIN;

/// A model of one operator, to ask an engine whether it knows version `version` of the operator set `domain` (`ai.onnx` or
/// `ai.onnx.ml`) and files of format version `ir_version`.
#[must_use]
pub fn probe(domain: &str, version: u8, ir_version: u8) -> Vec<u8> {
    let (own, operator) = match domain {
        DEFAULT_DOMAIN | "" => ("", "Abs"),
        other => (other, "Binarizer"),
    };
    let tensor = [number(1, 1), message(2, &message(1, &number(1, 1)))].concat();
    let value = |name: &[u8]| [message(1, name), message(2, &message(1, &tensor))].concat();
    let node =
        [message(1, b"x"), message(2, b"y"), message(4, operator.as_bytes()), message(7, own.as_bytes())];
    let graph = [
        message(1, &node.concat()),
        message(2, b"probe"),
        message(11, &value(b"x")),
        message(12, &value(b"y")),
    ];
    let opset =
        |domain: &str, version| message(8, &[message(1, domain.as_bytes()), number(2, version)].concat());
    let mut model = [number(1, ir_version), message(7, &graph.concat()), opset(own, version)].concat();
    if !own.is_empty() {
        // Every model imports the default domain; 13 is old enough for any engine of today.
        model.extend(opset("", 13));
    }
    model
}

/// A field with a number below 128 (larger ones are not asked for).
fn number(field: u8, value: u8) -> Vec<u8> {
    vec![field << 3, value & 0x7f]
}

/// A field with a message or text of less than 16 KiB.
fn message(field: u8, bytes: &[u8]) -> Vec<u8> {
    let length = [(bytes.len() & 0x7f) as u8 | 0x80, ((bytes.len() >> 7) & 0x7f) as u8];
    [&[field << 3 | 2], length.as_slice(), bytes].concat()
}
