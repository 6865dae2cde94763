//! What an ONNX file says about itself: operators and the operator sets that they are of, version of the format,
//! inputs and outputs with their types, and whether its weights are inside. The one reader of registration, controller
//! and device, so that what one of them takes no other refuses.
//!
//! The file may come in pieces. It is walked once and nothing of it is kept but names, so that a model of two gigabytes
//! costs no more memory than one of two kilobytes, and a hostile one neither. Field numbers are those of `onnx.proto`
//! (ONNX 1.20); `proto/onnx_header.proto` holds the part that is read. What has another number is skipped.

mod carried;
mod draft;
mod element;
mod error;
mod header;
mod probe;
mod reader;
mod varint;

pub use carried::NotCarried;
pub use element::Element;
pub use error::ReadError;
pub use header::{DEFAULT_DOMAIN, Header, Kind, Value};
pub use probe::probe;
pub use reader::{Reader, read};

/// The newest version of the file format that ONNX Runtime 1.31, the oldest engine that devices have, loads.
pub const IR_VERSION_KNOWN: i64 = 13;

#[cfg(test)]
mod tests;
