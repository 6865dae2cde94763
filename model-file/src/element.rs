//! Types of the elements of a tensor.

use std::fmt;

/// The type of a tensor's elements, by its number in `TensorProto.DataType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Element(pub u64);

/// Number in ONNX, name there, name in the Open Inference Protocol where devices carry it.
const ELEMENTS: [(u64, &str, Option<&str>); 27] = [
    (0, "UNDEFINED", None),
    (1, "FLOAT", Some("FP32")),
    (2, "UINT8", Some("UINT8")),
    (3, "INT8", Some("INT8")),
    (4, "UINT16", Some("UINT16")),
    (5, "INT16", Some("INT16")),
    (6, "INT32", Some("INT32")),
    (7, "INT64", Some("INT64")),
    (8, "STRING", Some("BYTES")),
    (9, "BOOL", Some("BOOL")),
    (10, "FLOAT16", Some("FP16")),
    (11, "DOUBLE", Some("FP64")),
    (12, "UINT32", Some("UINT32")),
    (13, "UINT64", Some("UINT64")),
    (14, "COMPLEX64", None),
    (15, "COMPLEX128", None),
    (16, "BFLOAT16", Some("BF16")),
    (17, "FLOAT8E4M3FN", None),
    (18, "FLOAT8E4M3FNUZ", None),
    (19, "FLOAT8E5M2", None),
    (20, "FLOAT8E5M2FNUZ", None),
    (21, "UINT4", None),
    (22, "INT4", None),
    (23, "FLOAT4E2M1", None),
    (24, "FLOAT8E8M0", None),
    (25, "UINT2", None),
    (26, "INT2", None),
];

impl Element {
    /// 32-bit decimals.
    pub const FLOAT: Element = Element(1);
    /// Text.
    pub const STRING: Element = Element(8);

    /// Its name in the Open Inference Protocol, in which devices are asked; nothing for one that no device carries in or
    /// out.
    #[must_use]
    pub fn protocol_name(self) -> Option<&'static str> {
        ELEMENTS.iter().find(|(number, ..)| *number == self.0).and_then(|(.., name)| *name)
    }

    /// Names in the Open Inference Protocol of all that devices carry.
    pub fn carried() -> impl Iterator<Item = &'static str> {
        ELEMENTS.iter().filter_map(|(.., name)| *name)
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match ELEMENTS.iter().find(|(number, ..)| *number == self.0) {
            Some((_, name, _)) => f.write_str(name),
            None => write!(f, "number {}", self.0),
        }
    }
}
