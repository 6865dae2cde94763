//! The ModelVersion that is registered.

use std::collections::BTreeMap;

use modelfleet_crds::model_version::{
    Artifact, Baseline, ConfidenceBaseline, Decision, Engine, FeatureBaseline, Lineage, ModelFormat,
    ModelSignature, Opset, Pipeline, PositiveWhen, PublisherSignature, Requirements, SelfTestCase,
};
use modelfleet_crds::{ModelVersion, ModelVersionSpec};
use modelfleet_protocol::ids::Digest;

use super::arguments::{DecisionFlags, RegisterArguments, RequiresFlags};

/// Longest name of a model.
const MODEL_CHARS_MAX: usize = 63;
/// Longest version.
const VERSION_CHARS_MAX: usize = 64;

/// Why the flags make no ModelVersion.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// A model name that is no DNS label.
    #[error(
        "--name {0:?} is not a DNS label: lower-case letters, digits and '-', starting and ending with a letter or \
         digit, at most 63 characters, such as pump-anomaly"
    )]
    Model(String),
    /// A version that is too long.
    #[error("--version {0} has more than {VERSION_CHARS_MAX} characters")]
    Version(String),
    /// An output that the model does not give.
    #[error("--positive-output {output:?} is not an output of the model, which gives {outputs}")]
    NoOutput {
        /// What was asked for.
        output: String,
        /// What there is.
        outputs: String,
    },
    /// An output without a rule.
    #[error("--positive-output needs --positive-label, --positive-at-least or --positive-at-most")]
    NoRule,
    /// A metric that is given twice.
    #[error("--baseline {0:?} is given twice")]
    MetricTwice(modelfleet_crds::Metric),
}

/// What was found out about the file, beyond the flags.
#[derive(Clone, Debug, Default)]
pub struct ModelFacts {
    /// Address of the bytes.
    pub uri: String,
    /// Number of the bytes.
    pub size_bytes: i64,
    /// Version of the file format.
    pub ir_version: i64,
    /// The tensors that it takes and gives.
    pub signature: ModelSignature,
    /// The operator sets that it uses.
    pub opsets: Vec<Opset>,
    /// Engines that run it; none: any.
    pub engines: Vec<Engine>,
    /// The reference profile.
    pub features: Vec<FeatureBaseline>,
    /// Rows of the profile.
    pub rows: Option<i64>,
    /// The self-test.
    pub self_test: Vec<SelfTestCase>,
    /// Who signed it.
    pub signed: Vec<PublisherSignature>,
    /// The lineage.
    pub lineage: Option<Lineage>,
}

/// Checks the name and the version of a model.
///
/// # Errors
/// When the API server would refuse them.
pub fn check_names(model: &str, version: &semver::Version) -> Result<(), SpecError> {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends = |byte: Option<&u8>| byte.is_some_and(|b| word(*b));
    let bytes = model.as_bytes();
    let label = ends(bytes.first()) && ends(bytes.last()) && bytes.iter().all(|&b| word(b) || b == b'-');
    if !label || bytes.len() > MODEL_CHARS_MAX {
        return Err(SpecError::Model(model.chars().take(80).collect()));
    }
    let version = version.to_string();
    if version.len() > VERSION_CHARS_MAX { Err(SpecError::Version(version)) } else { Ok(()) }
}

/// The name of the object: model and version, with what Kubernetes does not take in a name as '-'.
#[must_use]
pub fn object_name(model: &str, version: &semver::Version) -> String {
    // A label between two dots begins and ends with a letter or digit.
    let legal = |label: &str| {
        let before = if label.starts_with('-') { "x" } else { "" };
        let after = if label.ends_with('-') { "x" } else { "" };
        format!("{before}{label}{after}")
    };
    let name = format!("{model}-{version}").to_ascii_lowercase().replace('+', "-");
    name.split('.').map(legal).collect::<Vec<_>>().join(".")
}

/// The object of these flags and facts.
///
/// # Errors
/// When a flag names what the model has not.
pub fn model_version(
    arguments: &RegisterArguments,
    digest: &Digest,
    facts: ModelFacts,
) -> Result<ModelVersion, SpecError> {
    let ModelFacts {
        uri,
        size_bytes,
        ir_version,
        signature,
        opsets,
        engines,
        features,
        rows,
        self_test,
        signed,
        lineage,
    } = facts;
    let decision = decision(&arguments.decision, &signature)?;
    let metrics = arguments.training.baseline.clone();
    if let Some(twice) = (1..metrics.len()).find(|&i| metrics[..i].iter().any(|m| m.name == metrics[i].name))
    {
        return Err(SpecError::MetricTwice(metrics[twice].name));
    }
    let low_below = arguments.decision.low_confidence.clone();
    // The bound alone: how confident the model was on its rows is not asked.
    let confidence = low_below.map(|low| ConfidenceBaseline {
        edges: vec![low.clone()],
        counts: vec![0, 0],
        low_below: Some(low),
    });
    let baseline = Baseline { metrics, features, confidence, rows };
    let artifact = Artifact {
        uri,
        digest: digest.to_string(),
        size_bytes,
        format: ModelFormat::Onnx,
        ir_version: Some(ir_version),
        details: None,
    };
    let spec = ModelVersionSpec {
        model: arguments.name.clone(),
        version: arguments.version.to_string(),
        artifact,
        signature,
        opsets,
        requires: requirements(&arguments.requires, engines),
        self_test,
        baseline: (baseline != Baseline::default()).then_some(baseline),
        pipeline: decision.map(|decision| Pipeline { pre_filters: Vec::new(), decision: Some(decision) }),
        fallback: None,
        lineage,
        signatures: signed,
    };
    Ok(ModelVersion::new(&object_name(&arguments.name, &arguments.version), spec))
}

fn requirements(flags: &RequiresFlags, mut engine: Vec<Engine>) -> Requirements {
    engine.dedup();
    let device_labels: BTreeMap<String, String> = flags.device_label.iter().cloned().collect();
    Requirements { engine, memory_bytes: flags.memory, device_labels }
}

/// The output that carries the confidence, when the model has it.
fn confidence(flags: &DecisionFlags, signature: &ModelSignature) -> Result<Option<String>, SpecError> {
    let Some(output) = &flags.confidence_output else { return Ok(None) };
    if signature.outputs.iter().any(|tensor| &tensor.name == output) {
        return Ok(Some(output.clone()));
    }
    let names: Vec<&str> = signature.outputs.iter().map(|tensor| tensor.name.as_str()).collect();
    Err(SpecError::NoOutput { output: output.clone(), outputs: names.join(", ") })
}

fn decision(flags: &DecisionFlags, signature: &ModelSignature) -> Result<Option<Decision>, SpecError> {
    let Some(output) = &flags.positive_output else { return Ok(None) };
    if signature.outputs.iter().all(|tensor| &tensor.name != output) {
        let names: Vec<&str> = signature.outputs.iter().map(|tensor| tensor.name.as_str()).collect();
        return Err(SpecError::NoOutput { output: output.clone(), outputs: names.join(", ") });
    }
    let (positive_when, threshold, label) =
        match (flags.positive_label, &flags.positive_at_least, &flags.positive_at_most) {
            (Some(label), _, _) => (PositiveWhen::Label, None, Some(label)),
            (_, Some(threshold), _) => (PositiveWhen::AtLeast, Some(threshold.clone()), None),
            (_, _, Some(threshold)) => (PositiveWhen::AtMost, Some(threshold.clone()), None),
            (None, None, None) => return Err(SpecError::NoRule),
        };
    Ok(Some(Decision {
        output: output.clone(),
        positive_when,
        threshold,
        label,
        confidence: confidence(flags, signature)?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn named(model: &str, version: &str) -> String {
        object_name(model, &version.parse().unwrap())
    }

    #[test]
    fn objects_are_named_for_model_and_version() {
        assert_eq!(named("pump-anomaly", "1.1.0"), "pump-anomaly-1.1.0");
        assert_eq!(named("pump", "2.0.0-RC.1+build.5"), "pump-2.0.0-rc.1-build.5");
        assert_eq!(named("pump", "1.0.0--.-a"), "pump-1.0.0--x.x-a");
    }

    #[test]
    fn names_that_the_server_refuses_are_refused_here() {
        let version = "1.0.0".parse().unwrap();
        assert!(check_names("pump-anomaly", &version).is_ok());
        for bad in ["", "Pump", "-a", "a-", "a.b", "a b", &"x".repeat(64)] {
            assert!(check_names(bad, &version).is_err(), "{bad}");
        }
        assert!(check_names("a", &format!("1.0.0-{}", "a".repeat(60)).parse().unwrap()).is_err());
    }

    proptest! {
        #[test]
        fn every_version_has_a_legal_name(pre in "[0-9A-Za-z-]{0,3}(\\.[0-9A-Za-z-]{1,3}){0,2}", build in "[-.0-9a-z]{0,5}") {
            let text = format!("1.0.0{}{pre}{}{build}", if pre.is_empty() { "" } else { "-" },
                if build.is_empty() { "" } else { "+" });
            if let Ok(version) = text.parse() {
                for label in object_name("m", &version).split('.') {
                    let bytes = label.as_bytes();
                    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
                    prop_assert!(!bytes.is_empty() && word(bytes[0]) && word(bytes[bytes.len() - 1]), "{label}");
                    prop_assert!(bytes.iter().all(|&b| word(b) || b == b'-'));
                }
            }
        }
    }
}
