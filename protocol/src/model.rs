//! A build of a model, as a plan carries it: everything a device needs to fetch, check, admit, run and watch it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bins::Bins;
use crate::details::DetailsFile;
use crate::ids::{Digest, ModelName};
use crate::selector::Labels;

/// One immutable build of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelBuild {
    /// The model.
    pub model: ModelName,
    /// Its version.
    pub version: semver::Version,
    /// What the bytes must hash to.
    pub digest: Digest,
    /// Where the bytes are.
    pub uri: String,
    /// How many bytes there are.
    pub size_bytes: u64,
    /// Format of the bytes.
    pub format: Format,
    /// Version of the file format (IR version of ONNX) that the bytes are of; 0: not stated.
    #[serde(default)]
    pub ir_version: i64,
    /// Operator sets that the model uses, by domain (`ai.onnx`, `ai.onnx.ml`, ...).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub opsets: BTreeMap<String, i64>,
    /// Engines that can run it; empty: any that knows its operator sets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub engines: Vec<String>,
    /// Memory that a device must be able to give it; 0: not stated.
    #[serde(default)]
    pub memory_bytes: u64,
    /// Labels that a device must have to run it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub device_labels: Labels,
    /// Inputs, in order.
    #[serde(default)]
    pub inputs: Vec<Tensor>,
    /// Outputs, in order.
    #[serde(default)]
    pub outputs: Vec<Tensor>,
    /// The file with self-test and profile, where these are not part of the plan. [`Format::OnnxWithDetails`] goes with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<DetailsFile>,
    /// Golden inputs and what the model must answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub self_test: Vec<SelfTest>,
    /// What the training data looked like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
    /// How an answer is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// Filters that answer before the model is asked; all must hold for it to be asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pre_filters: Vec<PreFilter>,
    /// What to answer when the model may not.
    #[serde(default)]
    pub fallback: Fallback,
    /// Signatures of the bytes: texts of minisign, or in-toto statements in DSSE envelopes. A device that has keys runs only what
    /// one of them signed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<String>,
}

/// Format of a model's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// Open Neural Network Exchange.
    Onnx,
    /// The same, and the build's details are in a file of their own. Agents that know no such files count the build as
    /// incompatible; they would run it without its self-test otherwise.
    OnnxWithDetails,
    /// A format of a newer controller: no device of this version can run it.
    #[serde(other)]
    Unknown,
}

/// A named tensor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tensor {
    /// Its name in the model.
    pub name: String,
    /// Its element type in the words of the Open Inference Protocol (`FP32`, `INT64`, ...).
    pub datatype: String,
    /// Its shape; -1 stands for any size.
    pub shape: Vec<i64>,
}

/// Values of a named tensor.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Values {
    /// Name of the tensor.
    pub name: String,
    /// Its elements in row-major order; a missing reading is not a number here and `null` in JSON.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "with_gaps")]
    pub values: Vec<f64>,
    /// Its elements in row-major order where they are texts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub texts: Vec<String>,
}

/// A build is equal to itself, also when a reading in its self-test is missing.
impl PartialEq for Values {
    fn eq(&self, other: &Values) -> bool {
        let bits = |values: &Values| values.values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        self.name == other.name && bits(self) == bits(other) && self.texts == other.texts
    }
}

fn with_gaps<'de, D: serde::Deserializer<'de>>(source: D) -> Result<Vec<f64>, D::Error> {
    let values = Vec::<Option<f64>>::deserialize(source)?;
    Ok(values.into_iter().map(|value| value.unwrap_or(f64::NAN)).collect())
}

/// A golden input and what the model must answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SelfTest {
    /// What goes in.
    pub inputs: Vec<Values>,
    /// What must come out.
    pub outputs: Vec<Values>,
    /// Largest allowed |answer - expected| / max(1, |expected|).
    pub tolerance: f64,
}

/// The reference profile: the training data over fixed bins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Profile {
    /// One entry for each element of a row: the inputs in order, without those that take texts.
    pub features: Vec<FeatureProfile>,
    /// The model's confidence on the training data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<ConfidenceProfile>,
}

/// One feature of the reference profile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FeatureProfile {
    /// Its name.
    pub name: String,
    /// Smallest expected value.
    pub expected_min: f64,
    /// Largest expected value.
    pub expected_max: f64,
    /// Inner edges of the bins, ascending.
    pub edges: Vec<f64>,
    /// Training rows per bin, underflow first: one more than there are edges.
    pub counts: Bins,
}

/// Confidence on the training data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfidenceProfile {
    /// Inner edges of the bins, ascending.
    pub edges: Vec<f64>,
    /// Training rows per bin, underflow first.
    pub counts: Bins,
    /// Answers below it count as low confidence.
    pub low_below: f64,
}

/// How a positive answer (an alarm) is read from the outputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// The output that is looked at (its first element).
    pub output: String,
    /// When the answer is positive.
    pub positive_when: PositiveWhen,
    /// The output that carries the confidence, if any: its highest element.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<String>,
}

/// When an answer is positive.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum PositiveWhen {
    /// At or above the threshold.
    AtLeast(f64),
    /// At or below the threshold.
    AtMost(f64),
    /// Equal to this label.
    Label(i64),
}

/// A filter on one feature that stands before the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PreFilter {
    /// Its name, for counts and messages.
    pub name: String,
    /// The feature it looks at.
    pub feature: String,
    /// How it looks.
    pub op: Comparison,
    /// What it compares with.
    pub value: f64,
}

/// How a filter compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    /// The feature is above the value.
    GreaterThan,
    /// The feature is at or above the value.
    AtLeast,
    /// The feature is below the value.
    LessThan,
    /// The feature is at or below the value.
    AtMost,
}

/// What to answer when the model may not (not there, not admitted, timed out).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Fallback {
    /// An error, so that the caller knows.
    #[default]
    Error,
    /// These values of the decision's output.
    Constant(Vec<f64>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_reading_survives_the_wire() {
        let values = Values { name: "x".into(), values: vec![0.5, f64::NAN], texts: Vec::new() };
        let json = serde_json::to_string(&values).unwrap();
        assert_eq!(json, r#"{"name":"x","values":[0.5,null]}"#);
        let back: Values = serde_json::from_str(&json).unwrap();
        assert_eq!(back, values);
        let texts: Values = serde_json::from_str(r#"{"name":"kind","texts":["vane"]}"#).unwrap();
        assert_eq!((texts.values.len(), texts.texts), (0, vec!["vane".to_owned()]));
    }
}
