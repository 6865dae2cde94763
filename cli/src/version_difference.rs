//! What differs between two versions of a model: what callers ask, what devices need, how it was measured, where it comes
//! from. Pure.

use std::collections::BTreeSet;

use modelfleet_crds::model_version::{
    Baseline, ConfidenceBaseline, Decision, Fallback, FallbackAction, FeatureBaseline, Lineage,
    MissingPolicy, ModelVersionSpec, PreFilter, Tensor,
};
use serde::Serialize;

use crate::units;

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Of what. Example: `input features`.
    pub what: String,
    /// In the first version; empty: it has none.
    pub before: String,
    /// In the second version; empty: it has none.
    pub after: String,
    /// What follows from it, where that can be said.
    pub note: String,
}

/// Something that a version has, under a name.
type Entry = (String, String);

/// All differences, in the order of the fields of a ModelVersion.
#[must_use]
pub fn differences(before: &ModelVersionSpec, after: &ModelVersionSpec) -> Vec<Difference> {
    let (old, new) = (entries(before), entries(after));
    let value = |entries: &[Entry], name: &str| {
        entries.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let mut seen = BTreeSet::new();
    let names = old.iter().chain(&new).map(|(name, _)| name).filter(|name| seen.insert((*name).clone()));
    let difference = |name: &String| {
        let (before, after) = (value(&old, name), value(&new, name));
        let note = note(name, &before, &after);
        (before != after).then(|| Difference { what: name.clone(), before, after, note })
    };
    names.filter_map(difference).collect()
}

/// Whether programs that ask the first version can ask the second one in the same way: no input, no output differs.
#[must_use]
pub fn is_same_interface(before: &ModelVersionSpec, after: &ModelVersionSpec) -> bool {
    before.signature == after.signature
}

fn note(name: &str, before: &str, after: &str) -> String {
    let kind = name.split(' ').next().unwrap_or_default();
    match kind {
        "input" | "output" => "callers must change".to_owned(),
        "metric" => match (before.parse::<f64>(), after.parse::<f64>()) {
            (Ok(before), Ok(after)) => format!("{:+.4}", after - before),
            _ => String::new(),
        },
        "operators" if !before.is_empty() && !after.is_empty() => {
            "devices need an engine that has it".to_owned()
        }
        "feature" if before.is_empty() => "watched from now on".to_owned(),
        "feature" if after.is_empty() => "watched no more".to_owned(),
        "distribution" if !before.is_empty() && !after.is_empty() => {
            "drift is measured against other rows".to_owned()
        }
        _ => String::new(),
    }
}

fn entries(spec: &ModelVersionSpec) -> Vec<Entry> {
    let entry = |name: &str, value: String| (name.to_owned(), value);
    let mut all = vec![
        entry("file", spec.artifact.digest.clone()),
        entry("size", units::bytes(u64::try_from(spec.artifact.size_bytes).unwrap_or(0))),
        entry("format", format!("{:?}", spec.artifact.format)),
    ];
    all.extend(spec.artifact.ir_version.map(|version| entry("format version", version.to_string())));
    all.extend(spec.signature.inputs.iter().map(|input| (format!("input {}", input.name), tensor(input))));
    all.extend(
        spec.signature.outputs.iter().map(|output| (format!("output {}", output.name), tensor(output))),
    );
    all.extend(spec.opsets.iter().map(|set| (format!("operators {}", set.domain), set.version.to_string())));
    let engines: Vec<String> = spec.requires.engine.iter().map(|engine| format!("{engine:?}")).collect();
    all.push(entry("engines", engines.join(", ")));
    let memory = spec.requires.memory_bytes.and_then(|bytes| u64::try_from(bytes).ok());
    all.push(entry("memory", memory.map(units::bytes).unwrap_or_default()));
    all.extend(spec.requires.device_labels.iter().map(|(k, v)| (format!("device label {k}"), v.clone())));
    all.push(entry(
        "self-test",
        units::counted(i64::try_from(spec.self_test.len()).unwrap_or(i64::MAX), "row"),
    ));
    spec.baseline.iter().for_each(|baseline| all.extend(measured(baseline)));
    if let Some(pipeline) = &spec.pipeline {
        all.extend(
            pipeline.pre_filters.iter().map(|filter| (format!("filter {}", filter.name), condition(filter))),
        );
        all.extend(pipeline.decision.iter().map(|decision| entry("positive when", positive(decision))));
    }
    all.push(entry("fallback", spec.fallback.as_ref().map(fallback).unwrap_or_default()));
    spec.lineage.iter().for_each(|lineage| all.extend(origin(lineage)));
    all.extend(spec.signatures.iter().map(|s| (format!("signature {}", s.key_id), "yes".to_owned())));
    all
}

fn tensor(tensor: &Tensor) -> String {
    let sizes: Vec<String> = tensor.shape.iter().map(ToString::to_string).collect();
    format!("{} [{}]", format!("{:?}", tensor.datatype).to_uppercase(), sizes.join(", "))
}

fn measured(baseline: &Baseline) -> Vec<Entry> {
    let mut all: Vec<Entry> = Vec::new();
    all.extend(baseline.rows.map(|rows| ("training rows".to_owned(), rows.to_string())));
    all.extend(
        baseline.metrics.iter().map(|m| (format!("metric {:?}", m.name), m.value.as_str().to_owned())),
    );
    for feature in &baseline.features {
        all.push((format!("feature {}", feature.name), range(feature)));
        all.push((format!("distribution of {}", feature.name), spread(&feature.counts)));
    }
    all.extend(baseline.confidence.iter().flat_map(confidence));
    all
}

fn confidence(confidence: &ConfidenceBaseline) -> [Entry; 2] {
    let low = confidence.low_below.as_ref().map(|low| low.as_str().to_owned()).unwrap_or_default();
    [
        ("low confidence below".to_owned(), low),
        ("distribution of the confidence".to_owned(), spread(&confidence.counts)),
    ]
}

fn range(feature: &FeatureBaseline) -> String {
    let bound = |bound: &Option<modelfleet_crds::text::Decimal>| {
        bound.as_ref().map_or_else(|| "any".to_owned(), |bound| bound.as_str().to_owned())
    };
    let gaps = match feature.missing {
        MissingPolicy::Allowed => ", gaps allowed",
        MissingPolicy::Refused => "",
    };
    format!("{} to {}{gaps}", bound(&feature.expected_min), bound(&feature.expected_max))
}

/// A histogram in few words; two that differ differ in these as well, but for rare exceptions of the same shares.
fn spread(counts: &[i64]) -> String {
    let rows: i64 = counts.iter().fold(0, |sum, count| sum.saturating_add(*count));
    if rows <= 0 {
        return String::new();
    }
    let fullest = counts.iter().enumerate().max_by_key(|(_, count)| **count);
    let (bin, most) = fullest.map_or((0, 0), |(bin, count)| (bin + 1, *count));
    // Shares of a histogram are shown with whole percents.
    let share = most.saturating_mul(100) / rows;
    format!("{rows} rows in {} bins, {share} % in bin {bin}", counts.len())
}

fn condition(filter: &PreFilter) -> String {
    format!("{} {:?} {}", filter.feature, filter.op, filter.value.as_str())
}

fn positive(decision: &Decision) -> String {
    let bound = decision.threshold.as_ref().map(|threshold| threshold.as_str().to_owned());
    let bound = bound.or_else(|| decision.label.map(|label| label.to_string())).unwrap_or_default();
    let confidence = decision.confidence.as_ref().map(|output| format!(", confidence {output}"));
    format!("{} {:?} {bound}{}", decision.output, decision.positive_when, confidence.unwrap_or_default())
}

fn fallback(fallback: &Fallback) -> String {
    match fallback.action {
        FallbackAction::Error => "an error".to_owned(),
        FallbackAction::Constant => {
            let values: Vec<&str> =
                fallback.answer.iter().map(modelfleet_crds::text::Decimal::as_str).collect();
            format!("constant [{}]", values.join(", "))
        }
    }
}

fn origin(lineage: &Lineage) -> Vec<Entry> {
    let given = |name: &str, value: &Option<String>| value.clone().map(|value| (name.to_owned(), value));
    let named = [
        given("training data", &lineage.training_data),
        given("code", &lineage.git_commit),
        given("built by", &lineage.created_by),
    ];
    let parameters = lineage.hyperparameters.iter().map(|(k, v)| (format!("parameter {k}"), v.clone()));
    let tags = (!lineage.tags.is_empty()).then(|| ("tags".to_owned(), lineage.tags.join(", ")));
    named.into_iter().flatten().chain(parameters).chain(tags).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(version: &str, more: &Value) -> ModelVersionSpec {
        let mut spec = json!({
            "model": "pump", "version": version,
            "artifact": {"uri": "file:///m.onnx", "digest": format!("sha256:{}", "a".repeat(64)), "sizeBytes": 2048},
            "signature": {"inputs": [{"name": "features", "datatype": "Fp32", "shape": [-1, 7]}]},
            "baseline": {
                "metrics": [{"name": "Accuracy", "value": "0.95"}],
                "features": [{"name": "heat", "expectedMin": "0", "expectedMax": "90", "edges": ["10"], "counts": [3, 7]}],
            },
            "lineage": {"gitCommit": "3f2a91c", "hyperparameters": {"trees": "200"}},
        });
        let parts = more.as_object().expect("an object");
        parts.iter().for_each(|(key, value)| spec[key.as_str()] = value.clone());
        serde_json::from_value(spec).expect("a version")
    }

    fn told(more: &Value) -> Vec<String> {
        let all = differences(&spec("1.0.0", &json!({})), &spec("1.1.0", more));
        all.into_iter().map(|d| format!("{}: {} -> {} ({})", d.what, d.before, d.after, d.note)).collect()
    }

    #[test]
    fn the_same_version_has_no_difference() {
        assert_eq!(told(&json!({})), Vec::<String>::new());
    }

    #[test]
    fn another_interface_is_said_to_callers() {
        let inputs = json!([{"name": "features", "datatype": "Fp64", "shape": [-1, 8]}]);
        let more = json!({"signature": {"inputs": inputs}});
        assert_eq!(told(&more), ["input features: FP32 [-1, 7] -> FP64 [-1, 8] (callers must change)"]);
        assert!(!is_same_interface(&spec("1.0.0", &json!({})), &spec("1.1.0", &more)));
    }

    #[test]
    fn metrics_features_and_origin_are_compared_by_name() {
        let more = json!({
            "baseline": {
                "metrics": [{"name": "Accuracy", "value": "0.97"}],
                "features": [
                    {"name": "heat", "expectedMin": "0", "expectedMax": "90", "edges": ["10"], "counts": [5, 5]},
                    {"name": "load", "expectedMax": "1"},
                ],
            },
            "lineage": {"gitCommit": "9f2a91c", "hyperparameters": {"trees": "300", "depth": "8"}},
        });
        let expected = [
            "metric Accuracy: 0.95 -> 0.97 (+0.0200)",
            "distribution of heat: 10 rows in 2 bins, 70 % in bin 2 -> 10 rows in 2 bins, 50 % in bin 2 (drift is measured \
             against other rows)",
            "code: 3f2a91c -> 9f2a91c ()",
            "parameter trees: 200 -> 300 ()",
            "feature load:  -> any to 1 (watched from now on)",
            "parameter depth:  -> 8 ()",
        ];
        assert_eq!(told(&more), expected);
    }
}
