//! A ModelVersion as devices get it: the build in a plan, and the details that may be in a file beside the model. No client.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use modelfleet_crds::ModelVersionSpec;
use modelfleet_crds::model_version as crd;
use modelfleet_crds::text::{Decimal, Reading};
use modelfleet_protocol::bins::Bins;
use modelfleet_protocol::details::{Details, DetailsFile};
use modelfleet_protocol::in_toto::is_envelope;
use modelfleet_protocol::model as wire;

use crate::Problem;

/// Share of the training rows, in percent, whose confidence counts as low.
const LOW_CONFIDENCE_PERCENT: u64 = 5;

/// The build that a ModelVersion's spec describes, with its details wherever devices get them from.
///
/// # Errors
/// Names the first field that devices could not understand, and what to do.
pub fn build(spec: &ModelVersionSpec) -> Result<wire::ModelBuild, Problem> {
    let artifact = &spec.artifact;
    let details = details(spec)?;
    Ok(wire::ModelBuild {
        model: parsed("spec.model", &spec.model)?,
        version: parsed("spec.version", &spec.version)?,
        digest: parsed("spec.artifact.digest", &artifact.digest)?,
        uri: downloadable("spec.artifact.uri", &artifact.uri)?,
        size_bytes: unsigned(artifact.size_bytes),
        format: match (artifact.format, &artifact.details) {
            (crd::ModelFormat::Onnx, None) => wire::Format::Onnx,
            (crd::ModelFormat::Onnx, Some(_)) => wire::Format::OnnxWithDetails,
        },
        ir_version: artifact.ir_version.unwrap_or(0),
        opsets: spec.opsets.iter().map(|o| (o.domain.clone(), o.version)).collect(),
        engines: spec.requires.engine.iter().map(|engine| engine_name(*engine).to_owned()).collect(),
        memory_bytes: spec.requires.memory_bytes.map_or(0, unsigned),
        device_labels: spec.requires.device_labels.clone(),
        inputs: spec.signature.inputs.iter().map(tensor).collect(),
        outputs: spec.signature.outputs.iter().map(tensor).collect(),
        details: artifact.details.as_ref().map(details_file).transpose()?,
        self_test: details.self_test,
        profile: details.profile,
        decision: spec.pipeline.as_ref().and_then(|p| p.decision.as_ref()).map(decision).transpose()?,
        pre_filters: match &spec.pipeline {
            Some(pipeline) => indexed("spec.pipeline.preFilters", &pipeline.pre_filters, pre_filter)?,
            None => Vec::new(),
        },
        fallback: fallback(spec.fallback.as_ref())?,
        signatures: indexed("spec.signatures", &spec.signatures, signature)?,
    })
}

/// The self-test and the reference profile of a ModelVersion's spec.
///
/// # Errors
/// Names the first field that devices could not understand.
pub fn details(spec: &ModelVersionSpec) -> Result<Details, Problem> {
    Ok(Details {
        self_test: indexed("spec.selfTest", &spec.self_test, self_test)?,
        profile: spec.baseline.as_ref().map(profile).transpose()?,
    })
}

fn details_file(file: &crd::DetailsFile) -> Result<DetailsFile, Problem> {
    Ok(DetailsFile {
        uri: downloadable("spec.artifact.details.uri", &file.uri)?,
        digest: parsed("spec.artifact.details.digest", &file.digest)?,
        size_bytes: unsigned(file.size_bytes),
    })
}

/// Devices have no keys to buckets.
fn downloadable(field: &str, uri: &str) -> Result<String, Problem> {
    let scheme = uri.split("://").next().unwrap_or_default();
    if matches!(scheme, "http" | "https" | "file") {
        return Ok(uri.to_owned());
    }
    let what = format!(
        "begins with {scheme}://, but devices download over http://, https:// and file:// only; delete the version and \
         register it again with --public-url"
    );
    Err(Problem::spec(field, what))
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(field: &str, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|e: T::Err| Problem::spec(field, e.to_string()))
}

fn indexed<A, B>(
    field: &str,
    list: &[A],
    read: impl Fn(&str, &A) -> Result<B, Problem>,
) -> Result<Vec<B>, Problem> {
    list.iter().enumerate().map(|(i, item)| read(&format!("{field}[{i}]"), item)).collect()
}

fn number(field: &str, text: &Decimal) -> Result<f64, Problem> {
    text.to_f64().map_err(|e| Problem::spec(field, e.to_string()))
}

fn numbers(field: &str, list: &[Decimal]) -> Result<Vec<f64>, Problem> {
    list.iter().map(|text| number(field, text)).collect()
}

/// Negative numbers are refused by the schema; here they count as none.
fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn engine_name(engine: crd::Engine) -> &'static str {
    match engine {
        crd::Engine::OnnxRuntime => "OnnxRuntime",
        crd::Engine::Rten => "Rten",
    }
}

/// A type's name in the Open Inference Protocol.
#[must_use]
pub fn datatype_name(datatype: crd::Datatype) -> &'static str {
    match datatype {
        crd::Datatype::Bool => "BOOL",
        crd::Datatype::Int8 => "INT8",
        crd::Datatype::Int16 => "INT16",
        crd::Datatype::Int32 => "INT32",
        crd::Datatype::Int64 => "INT64",
        crd::Datatype::Uint8 => "UINT8",
        crd::Datatype::Uint16 => "UINT16",
        crd::Datatype::Uint32 => "UINT32",
        crd::Datatype::Uint64 => "UINT64",
        crd::Datatype::Fp16 => "FP16",
        crd::Datatype::Bf16 => "BF16",
        crd::Datatype::Fp32 => "FP32",
        crd::Datatype::Fp64 => "FP64",
        // The Open Inference Protocol's word for text.
        crd::Datatype::String => "BYTES",
    }
}

fn tensor(tensor: &crd::Tensor) -> wire::Tensor {
    let datatype = datatype_name(tensor.datatype).to_owned();
    wire::Tensor { name: tensor.name.clone(), datatype, shape: tensor.shape.clone() }
}

fn self_test(field: &str, case: &crd::SelfTestCase) -> Result<wire::SelfTest, Problem> {
    let values = |field: &str, v: &crd::TensorValues| {
        let number = |text: &Reading| text.to_f64().map_err(|e| Problem::spec(field, e.to_string()));
        let values = v.values.iter().map(number).collect::<Result<_, _>>()?;
        Ok(wire::Values { name: v.name.clone(), values, texts: v.texts.clone() })
    };
    Ok(wire::SelfTest {
        inputs: indexed(&format!("{field}.inputs"), &case.inputs, values)?,
        outputs: indexed(&format!("{field}.outputs"), &case.outputs, values)?,
        tolerance: number(&format!("{field}.tolerance"), &case.tolerance)?,
    })
}

fn profile(baseline: &crd::Baseline) -> Result<wire::Profile, Problem> {
    let confidence = baseline.confidence.as_ref().map(confidence).transpose()?;
    Ok(wire::Profile {
        features: indexed("spec.baseline.features", &baseline.features, feature)?,
        confidence,
    })
}

fn feature(field: &str, feature: &crd::FeatureBaseline) -> Result<wire::FeatureProfile, Problem> {
    let bound = |name: &str, text: &Option<Decimal>, open: f64| match text {
        Some(text) => number(&format!("{field}.{name}"), text),
        None => Ok(open),
    };
    let edges = numbers(&format!("{field}.edges"), &feature.edges)?;
    rising(&format!("{field}.edges"), &edges)?;
    let counts = if edges.is_empty() {
        // No distribution: one bin for everything, so that no drift can be seen.
        Bins::for_edges(0)
    } else {
        Bins(feature.counts.iter().map(|count| unsigned(*count)).collect())
    };
    Ok(wire::FeatureProfile {
        name: feature.name.clone(),
        expected_min: bound("expectedMin", &feature.expected_min, f64::MIN)?,
        expected_max: bound("expectedMax", &feature.expected_max, f64::MAX)?,
        edges,
        counts,
    })
}

fn rising(field: &str, edges: &[f64]) -> Result<(), Problem> {
    if edges.windows(2).all(|pair| pair[0] < pair[1]) {
        return Ok(());
    }
    Err(Problem::spec(field, "must rise from entry to entry; register a new version with rising edges"))
}

fn confidence(baseline: &crd::ConfidenceBaseline) -> Result<wire::ConfidenceProfile, Problem> {
    let field = "spec.baseline.confidence";
    let edges = numbers(&format!("{field}.edges"), &baseline.edges)?;
    rising(&format!("{field}.edges"), &edges)?;
    if baseline.counts.len() != edges.len() + 1 {
        return Err(Problem::spec(format!("{field}.counts"), "must have exactly one entry more than edges"));
    }
    let counts = Bins(baseline.counts.iter().map(|count| unsigned(*count)).collect());
    let (total, mut below, mut low_below) = (counts.total(), 0_u64, f64::MIN);
    for (count, edge) in counts.0.iter().zip(&edges) {
        below = below.saturating_add(*count);
        if below > total / 100 * LOW_CONFIDENCE_PERCENT {
            break;
        }
        low_below = *edge;
    }
    let low_below = match &baseline.low_below {
        Some(text) => number(&format!("{field}.lowBelow"), text)?,
        None => low_below,
    };
    Ok(wire::ConfidenceProfile { edges, counts, low_below })
}

fn decision(decision: &crd::Decision) -> Result<wire::Decision, Problem> {
    let field = "spec.pipeline.decision";
    let missing = |name: &str| {
        Problem::spec(
            format!("{field}.{name}"),
            "is missing, and this positiveWhen needs it; register a new version with it",
        )
    };
    let threshold = || {
        let text = decision.threshold.as_ref().ok_or_else(|| missing("threshold"))?;
        number(&format!("{field}.threshold"), text)
    };
    let positive_when = match decision.positive_when {
        crd::PositiveWhen::AtLeast => wire::PositiveWhen::AtLeast(threshold()?),
        crd::PositiveWhen::AtMost => wire::PositiveWhen::AtMost(threshold()?),
        crd::PositiveWhen::Label => {
            wire::PositiveWhen::Label(decision.label.ok_or_else(|| missing("label"))?)
        }
    };
    Ok(wire::Decision {
        output: decision.output.clone(),
        positive_when,
        confidence: decision.confidence.clone(),
    })
}

fn pre_filter(field: &str, filter: &crd::PreFilter) -> Result<wire::PreFilter, Problem> {
    let op = match filter.op {
        crd::Comparison::GreaterThan => wire::Comparison::GreaterThan,
        crd::Comparison::GreaterOrEqual => wire::Comparison::AtLeast,
        crd::Comparison::LessThan => wire::Comparison::LessThan,
        crd::Comparison::LessOrEqual => wire::Comparison::AtMost,
    };
    let value = number(&format!("{field}.value"), &filter.value)?;
    Ok(wire::PreFilter { name: filter.name.clone(), feature: filter.feature.clone(), op, value })
}

fn fallback(fallback: Option<&crd::Fallback>) -> Result<wire::Fallback, Problem> {
    let Some(fallback) = fallback else { return Ok(wire::Fallback::Error) };
    match fallback.action {
        crd::FallbackAction::Error => Ok(wire::Fallback::Error),
        crd::FallbackAction::Constant => {
            Ok(wire::Fallback::Constant(numbers("spec.fallback.answer", &fallback.answer)?))
        }
    }
}

fn signature(field: &str, signature: &crd::PublisherSignature) -> Result<String, Problem> {
    let what = match signature.format {
        crd::SignatureFormat::Minisign => "is not the base64 text of a minisign file",
        crd::SignatureFormat::Dsse => "is not the base64 text of a DSSE envelope",
    };
    let problem = |why: String| Problem::spec(format!("{field}.value"), format!("{what}{why}"));
    let bytes = STANDARD.decode(&signature.value).map_err(|e| problem(format!(": {e}")))?;
    let text = String::from_utf8(bytes).map_err(|_| problem(String::new()))?;
    // Devices tell the formats apart by how the text begins.
    match is_envelope(&text) == (signature.format == crd::SignatureFormat::Dsse) {
        true => Ok(text),
        false => Err(problem(String::new())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_devices_cannot_download_is_told_before_it_is_sent() {
        for uri in ["https://models.example.com/a.onnx", "http://10.0.0.1/a", "file:///srv/models/a.onnx"] {
            assert_eq!(downloadable("spec.artifact.uri", uri).unwrap(), uri);
        }
        for uri in ["s3://models/a.onnx", "gs://models/a", "az://models/a"] {
            let told = downloadable("spec.artifact.uri", uri).unwrap_err().to_string();
            assert!(told.contains("spec.artifact.uri") && told.contains("--public-url"), "{told}");
        }
    }

    #[test]
    fn the_share_of_low_confidence_is_the_one_that_is_told() {
        let definitions = modelfleet_crds::definitions::all()
            .iter()
            .map(|crd| serde_json::to_value(crd).unwrap())
            .collect::<Vec<_>>();
        let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
        let pointer = format!("{spec}/baseline/properties/confidence/properties/lowBelow/description");
        let told = definitions.iter().find_map(|crd| crd.pointer(&pointer)?.as_str()).unwrap();
        let told = told.replace('\n', " ");
        assert!(told.contains(&format!("below which at most {LOW_CONFIDENCE_PERCENT}% of")), "{told}");
    }
}
