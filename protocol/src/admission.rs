//! Whether a device can run a build at all, before a byte of it is fetched.
//!
//! Both sides evaluate it: the controller, so that a stage is drawn from devices that can run the build, and the device,
//! which has the last word.

use crate::model::{Format, ModelBuild};
use crate::plan::Mode;
use crate::selector::Labels;
use crate::state::{Capabilities, EngineInfo, Failure, FailureCode};

/// Whether a device of these labels and capabilities can run `build` in `mode`, as far as it can tell beforehand: an
/// operator that its engine lacks shows only when the model is loaded.
///
/// # Errors
/// Why the device can never run it: it leaves the denominator, and is no failure of the model.
pub fn check(
    labels: &Labels,
    capabilities: &Capabilities,
    build: &ModelBuild,
    mode: Mode,
) -> Result<(), Failure> {
    let refuse = |code, detail: String| Err(Failure::new(code, detail));
    if build.format == Format::Unknown || mode == Mode::Unknown {
        return refuse(FailureCode::FormatUnknown, "a newer agent is needed".to_owned());
    }
    for (key, value) in &build.device_labels {
        if labels.get(key) != Some(value) {
            return refuse(FailureCode::LabelMissing, format!("label {key}={value} is required"));
        }
    }
    let memory_bytes = capabilities.memory_bytes;
    if memory_bytes > 0 && build.memory_bytes > memory_bytes {
        let detail = format!("{} bytes are required, {memory_bytes} allowed", build.memory_bytes);
        return refuse(FailureCode::MemoryShort, detail);
    }
    let named = |e: &&EngineInfo| build.engines.is_empty() || build.engines.contains(&e.name);
    let mut engines = capabilities.engines.iter().filter(named).peekable();
    if engines.peek().is_none() {
        let detail = format!("one of [{}] is required", build.engines.join(", "));
        return refuse(FailureCode::EngineMissing, detail);
    }
    let mut lacking = None;
    for engine in engines {
        match build.opsets.iter().find(|(domain, version)| !has_opset(engine, domain, **version)) {
            None => return Ok(()),
            Some((domain, version)) => {
                lacking = Some(format!("{} lacks operator set {domain:?} {version}", engine.name));
            }
        }
    }
    refuse(FailureCode::OpsetMissing, lacking.unwrap_or_default())
}

/// The default domain has two names.
fn has_opset(engine: &EngineInfo, domain: &str, version: i64) -> bool {
    let alias = match domain {
        "" => "ai.onnx",
        "ai.onnx" => "",
        other => other,
    };
    let highest = engine.opsets.get(domain).or_else(|| engine.opsets.get(alias));
    highest.is_some_and(|&highest| highest >= version)
}
