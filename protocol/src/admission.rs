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
        return refuse(FailureCode::EngineMissing, no_engine(capabilities, build));
    }
    let mut lacking = Vec::new();
    for engine in engines {
        match lacks(engine, build) {
            None => return Ok(()),
            Some(reason) => lacking.push(reason),
        }
    }
    // An engine that only lacks operators came further than one that does not take the file.
    let code = lacking.iter().map(|(code, _)| *code).find(|code| *code == FailureCode::OpsetMissing);
    let details: Vec<String> = lacking.into_iter().map(|(_, detail)| detail).collect();
    refuse(code.unwrap_or(FailureCode::FormatUnknown), details.join("; "))
}

/// Why a device without any of the engines that a build may run on cannot run it.
fn no_engine(capabilities: &Capabilities, build: &ModelBuild) -> String {
    if capabilities.engines.is_empty() {
        let next = "start its agent with --onnxruntime FILE, or with rten among --engines";
        return format!("this device has no engine, so it can run no model; {next}");
    }
    match build.engines.as_slice() {
        [engine] => format!("the model requires the engine {engine}, which is missing"),
        engines => {
            format!("the model requires one of the engines {}, and all are missing", engines.join(", "))
        }
    }
}

/// Why an engine cannot run a build, in words that name it.
#[must_use]
pub fn lacks(engine: &EngineInfo, build: &ModelBuild) -> Option<(FailureCode, String)> {
    let EngineInfo { name, ir_version, .. } = engine;
    if *ir_version > 0 && build.ir_version > *ir_version {
        let detail = format!(
            "the file is of IR version {} and {name} takes up to {ir_version}; save it with an older IR version, or use a \
             newer engine",
            build.ir_version
        );
        return Some((FailureCode::FormatUnknown, detail));
    }
    let (domain, needed) =
        build.opsets.iter().find(|(domain, version)| highest(engine, domain) < Some(**version))?;
    let detail = match highest(engine, domain) {
        Some(known) => format!("{name} knows operator set {domain:?} up to {known}, {needed} is needed"),
        None => format!("{name} lacks operator set {domain:?} {needed}"),
    };
    Some((FailureCode::OpsetMissing, detail))
}

/// The highest version of an operator set that an engine knows. The default domain has two names.
fn highest(engine: &EngineInfo, domain: &str) -> Option<i64> {
    let alias = match domain {
        "" => "ai.onnx",
        "ai.onnx" => "",
        other => other,
    };
    engine.opsets.get(domain).or_else(|| engine.opsets.get(alias)).copied()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn engine(name: &str, ir_version: i64, opsets: &[(&str, i64)]) -> EngineInfo {
        let opsets = opsets.iter().map(|(domain, version)| ((*domain).to_owned(), *version)).collect();
        EngineInfo { name: name.to_owned(), version: "1".to_owned(), opsets, ir_version }
    }

    fn check_of(
        engines: &[EngineInfo],
        ir_version: i64,
        opsets: &[(&str, i64)],
    ) -> Option<(FailureCode, String)> {
        check_named(engines, &[], ir_version, opsets)
    }

    fn check_named(
        engines: &[EngineInfo],
        named: &[&str],
        ir_version: i64,
        opsets: &[(&str, i64)],
    ) -> Option<(FailureCode, String)> {
        let digest = format!("sha256:{}", "0".repeat(64));
        let build = serde_json::json!({
            "model": "pump", "version": "1.0.0", "digest": digest, "uri": "https://m", "sizeBytes": 1, "format": "Onnx",
            "engines": named, "irVersion": ir_version, "opsets": opsets.iter().copied().collect::<BTreeMap<&str, i64>>(),
        });
        let build = serde_json::from_value(build).unwrap();
        let capabilities = Capabilities { engines: engines.to_vec(), ..Capabilities::default() };
        check(&Labels::new(), &capabilities, &build, Mode::Live)
            .err()
            .map(|failure| (failure.code, failure.detail))
    }

    #[test]
    fn a_newer_file_than_any_engine_takes_is_incompatible_and_no_failure() {
        let old = engine("OnnxRuntime", 13, &[("ai.onnx", 26)]);
        let (code, message) = check_of(std::slice::from_ref(&old), 14, &[("ai.onnx", 17)]).unwrap();
        assert!(code.is_incompatibility() && !code.is_hard_stop(), "{code:?}");
        assert!(
            message.starts_with("the file is of IR version 14 and OnnxRuntime takes up to 13"),
            "{message}"
        );
        assert_eq!(check_of(std::slice::from_ref(&old), 13, &[("ai.onnx", 17)]), None);
        let silent = engine("Rten", 0, &[("ai.onnx", 24)]);
        assert_eq!(
            check_of(&[old, silent], 14, &[("ai.onnx", 17)]),
            None,
            "an engine that does not say takes any"
        );
    }

    #[test]
    fn a_device_without_an_engine_for_the_build_says_which_and_what_to_do() {
        let said = |engines: &[EngineInfo], named: &[&str]| {
            let (code, message) = check_named(engines, named, 8, &[("ai.onnx", 17)]).unwrap();
            assert_eq!(code, FailureCode::EngineMissing);
            message
        };
        let none = "this device has no engine, so it can run no model; start its agent with --onnxruntime FILE, or with \
                    rten among --engines";
        assert_eq!(said(&[], &[]), none);
        assert_eq!(said(&[], &["Rten"]), none);
        let other = [engine("Other", 0, &[("ai.onnx", 17)])];
        assert_eq!(said(&other, &["Rten"]), "the model requires the engine Rten, which is missing");
        assert_eq!(
            said(&other, &["Rten", "OnnxRuntime"]),
            "the model requires one of the engines Rten, OnnxRuntime, and all are missing"
        );
    }

    #[test]
    fn each_engine_is_told_apart() {
        let engines = [
            engine("OnnxRuntime", 13, &[("", 26), ("ai.onnx.ml", 5)]),
            engine("Rten", 0, &[("ai.onnx", 24)]),
        ];
        let (code, message) = check_of(&engines, 8, &[("ai.onnx", 17), ("ai.onnx.ml", 9)]).unwrap();
        assert_eq!(code, FailureCode::OpsetMissing);
        assert_eq!(
            message,
            "OnnxRuntime knows operator set \"ai.onnx.ml\" up to 5, 9 is needed; Rten lacks operator set \"ai.onnx.ml\" 9"
        );
        assert_eq!(check_of(&engines, 8, &[("ai.onnx", 17), ("ai.onnx.ml", 5)]), None);
    }
}
