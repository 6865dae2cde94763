//! ONNX Runtime's library, fetched once and kept.

use std::path::PathBuf;
use std::process::Command;

use crate::part::{PartError, run};
use crate::place::root;

/// Path of the library.
///
/// # Errors
/// When it cannot be had; the message says what to install.
pub fn onnxruntime() -> Result<PathBuf, PartError> {
    let mut command = Command::new(root().join("device-agent/onnxruntime.sh"));
    Ok(PathBuf::from(run("find ONNX Runtime", &mut command)?.trim()))
}
