//! How a build's inputs and outputs are read: which elements are features, what passes its filters, what is an
//! alarm and how sure it is. Looked up once, when the build is placed.

use modelfleet_agent_core::truth::Answer;
use modelfleet_protocol::model::{Comparison, Fallback, ModelBuild, PositiveWhen};

use crate::tensor::{Elements, NamedTensor};

/// Why a build cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadingError {
    /// A pre-filter names a feature that the profile has not.
    #[error("pre-filter {filter:?} uses feature {feature:?}, which the model's profile does not have")]
    Feature {
        /// The filter.
        filter: String,
        /// The feature.
        feature: String,
    },
}

/// The inputs that carry features and their elements in one row: all but texts; the first of them where the signature does
/// not say how many elements of each make a row.
fn carriers(build: &ModelBuild) -> Vec<(String, usize)> {
    let numbers = || build.inputs.iter().filter(|t| t.datatype != "BYTES");
    let width = |shape: &[i64]| {
        let inner = shape.get(1..).unwrap_or_default();
        inner
            .iter()
            .try_fold(1_usize, |all, &size| all.checked_mul(usize::try_from(size).ok()?))
            .filter(|w| *w > 0)
    };
    let known: Option<Vec<(String, usize)>> =
        numbers().map(|t| Some((t.name.clone(), width(&t.shape)?))).collect();
    match known {
        Some(all) if all.len() > 1 => all,
        _ => numbers().take(1).map(|t| (t.name.clone(), 1)).collect(),
    }
}

/// How a build's inputs and outputs are read.
#[derive(Debug)]
pub struct Reading {
    /// The inputs that carry features, in order, and how many elements of each belong to one row. One alone carries a
    /// row in all its elements, whatever their number.
    inputs: Vec<(String, usize)>,
    /// Features of one row; 0: not known.
    width: usize,
    filters: Vec<(String, usize, Comparison, f64)>,
    decision: Option<(String, PositiveWhen)>,
    confidence: Option<String>,
}

impl Reading {
    /// How this build is read.
    ///
    /// # Errors
    /// When a pre-filter names a feature that the profile has not.
    pub fn of(build: &ModelBuild) -> Result<Reading, ReadingError> {
        let profile = build.profile.as_ref().map(|p| p.features.as_slice()).unwrap_or_default();
        let filter = |f: &modelfleet_protocol::model::PreFilter| {
            let index = profile.iter().position(|p| p.name == f.feature);
            let missing = || ReadingError::Feature { filter: f.name.clone(), feature: f.feature.clone() };
            Ok((f.name.clone(), index.ok_or_else(missing)?, f.op, f.value))
        };
        let inputs = carriers(build);
        let of_several = (inputs.len() > 1).then(|| inputs.iter().map(|(_, width)| width).sum());
        let signature = inputs.first().and_then(|(name, _)| build.inputs.iter().find(|t| &t.name == name));
        let fixed = signature.map(|t| t.shape.iter().filter(|&&d| d > 0).product::<i64>()).unwrap_or(0);
        let open = signature.is_some_and(|t| t.shape.first() == Some(&-1));
        let width =
            if profile.is_empty() && open { usize::try_from(fixed).unwrap_or(0) } else { profile.len() };
        Ok(Reading {
            inputs,
            width: of_several.unwrap_or(width),
            filters: build.pre_filters.iter().map(filter).collect::<Result<_, _>>()?,
            decision: build.decision.as_ref().map(|d| (d.output.clone(), d.positive_when)),
            confidence: build.decision.as_ref().and_then(|d| d.confidence.clone()),
        })
    }

    /// The features of a request: for each row the elements of the inputs that carry features, in their order.
    pub(super) fn features<'a>(&self, inputs: &'a [NamedTensor], scratch: &'a mut Vec<f32>) -> &'a [f32] {
        let tensor = |name: &String| inputs.iter().find(|t| &t.name == name);
        if self.inputs.len() > 1 {
            let columns: Vec<(Vec<f64>, usize)> = self
                .inputs
                .iter()
                .map(|(name, width)| {
                    let mut numbers = Vec::new();
                    tensor(name).inspect(|t| t.data.numbers(&mut numbers));
                    (numbers, *width)
                })
                .collect();
            let rows = columns.iter().map(|(numbers, width)| numbers.len() / width).max().unwrap_or(0);
            for row in 0..rows {
                for (numbers, width) in &columns {
                    let own = (row * width..(row + 1) * width).map(|at| numbers.get(at).copied());
                    #[allow(clippy::cast_possible_truncation)]
                    // The recorder's bins are as wide as they are.
                    scratch.extend(own.map(|number| number.unwrap_or(f64::NAN) as f32));
                }
            }
            return scratch;
        }
        let named = self.inputs.first().and_then(|(name, _)| tensor(name));
        match named.or(inputs.first()).map(|t| &t.data) {
            Some(Elements::F32(values)) => values,
            Some(other) => {
                let mut numbers = Vec::new();
                other.numbers(&mut numbers);
                #[allow(clippy::cast_possible_truncation)] // The recorder's bins are as wide as they are.
                scratch.extend(numbers.iter().map(|&x| x as f32));
                scratch
            }
            None => &[],
        }
    }

    /// How many rows so many features are; at least one.
    pub(super) fn rows(&self, features: usize) -> usize {
        match features.checked_div(self.width) {
            Some(rows) if rows > 1 && rows * self.width == features => rows,
            _ => 1,
        }
    }

    /// The first filter that does not let the request through. A missing feature passes no filter.
    pub(super) fn filter(&self, features: &[f32]) -> Option<&str> {
        let stops = |(_, index, op, value): &&(String, usize, Comparison, f64)| {
            let feature = features.get(*index).map_or(f64::NAN, |&x| f64::from(x));
            !match op {
                Comparison::GreaterThan => feature > *value,
                Comparison::AtLeast => feature >= *value,
                Comparison::LessThan => feature < *value,
                Comparison::AtMost => feature <= *value,
            }
        };
        self.filters.iter().find(stops).map(|(name, ..)| name.as_str())
    }

    /// Whether a row's answer is positive, and how sure the model is.
    pub(super) fn decide(
        &self,
        outputs: &[NamedTensor],
        row: usize,
        rows: usize,
    ) -> (Option<bool>, Option<f64>) {
        let positive = self.decision.as_ref().and_then(|(name, when)| {
            let data = &outputs.iter().find(|o| &o.name == name)?.data;
            let value = data.number(row * (data.len() / rows))?;
            Some(match *when {
                PositiveWhen::AtLeast(threshold) => value >= threshold,
                PositiveWhen::AtMost(threshold) => value <= threshold,
                #[allow(clippy::cast_precision_loss)] // Labels are small.
                PositiveWhen::Label(label) => value == label as f64,
            })
        });
        let confidence = self.confidence.as_ref().and_then(|name| {
            let data = &outputs.iter().find(|o| &o.name == name)?.data;
            let width = data.len() / rows;
            let own = (row * width..(row + 1) * width).filter_map(|i| data.number(i));
            own.max_by(f64::total_cmp)
        });
        (positive, confidence)
    }

    /// What a row's answer can be compared with when the truth is known: of the output that decides, or of the first. One
    /// whole number or text is a class, one fraction a number; of several numbers the place of the highest is the class.
    pub(super) fn answer<'a>(&self, outputs: &'a [NamedTensor], row: usize, rows: usize) -> Answer<'a> {
        let named = self.decision.as_ref().and_then(|(name, _)| outputs.iter().find(|o| &o.name == name));
        let Some(output) = named.or(outputs.first()) else { return Answer::None };
        let (data, width) = (&output.data, output.data.len() / rows.max(1));
        let first = row * width;
        if width > 1 && !matches!(data, Elements::Text(_)) {
            let own = (0..width).filter_map(|at| Some((at, data.number(first + at)?)));
            let highest = own.max_by(|(a, x), (b, y)| x.total_cmp(y).then(b.cmp(a)));
            return highest.and_then(|(at, _)| i64::try_from(at).ok()).map_or(Answer::None, Answer::Label);
        }
        let is_label = matches!(self.decision, Some((_, PositiveWhen::Label(_))));
        #[allow(clippy::cast_possible_truncation)] // Labels are small and whole.
        match data {
            Elements::Text(texts) => texts.get(first).map_or(Answer::None, |text| Answer::Word(text)),
            Elements::F16(_) | Elements::Bf16(_) | Elements::F32(_) | Elements::F64(_) if !is_label => {
                data.number(first).map_or(Answer::None, Answer::Number)
            }
            _ => data.number(first).map_or(Answer::None, |label| Answer::Label(label as i64)),
        }
    }

    /// What the build's fallback answers; `None` where it is an error.
    pub(super) fn fallback_outputs(&self, build: &ModelBuild) -> Option<Vec<NamedTensor>> {
        let Fallback::Constant(values) = &build.fallback else { return None };
        let (name, _) = self.decision.as_ref()?;
        Some(vec![constant(build, name, values)])
    }
}

/// An output of these values, with the element type that the build gives it.
pub(super) fn constant(build: &ModelBuild, name: &str, values: &[f64]) -> NamedTensor {
    let datatype = build.outputs.iter().find(|o| o.name == name).map_or("FP64", |o| &o.datatype);
    let data = Elements::of_datatype(datatype, values).unwrap_or_else(|| Elements::F64(values.to_vec()));
    NamedTensor { name: name.to_owned(), shape: vec![values.len()], data }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(inputs: &serde_json::Value) -> Reading {
        let build = serde_json::json!({
            "model": "m", "version": "1.0.0", "digest": modelfleet_protocol::ids::Digest::of(b"m"), "uri": "file:///m",
            "sizeBytes": 1, "format": "Onnx", "inputs": inputs,
        });
        Reading::of(&serde_json::from_value(build).unwrap()).unwrap()
    }

    fn tensor(name: &str, data: Elements) -> NamedTensor {
        NamedTensor { name: name.to_owned(), shape: vec![data.len(), 1], data }
    }

    #[test]
    fn the_features_of_a_row_are_those_of_all_inputs_but_texts() {
        let inputs = serde_json::json!([
            {"name": "rms", "datatype": "FP32", "shape": [-1, 1]},
            {"name": "kind", "datatype": "BYTES", "shape": [-1, 1]},
            {"name": "axes", "datatype": "FP64", "shape": [-1, 2]},
        ]);
        let reading = reading(&inputs);
        let given = [
            tensor("axes", Elements::F64(vec![10.0, 11.0, 20.0, 21.0])),
            tensor("kind", Elements::Text(vec!["vane".into(), "gear".into()])),
            tensor("rms", Elements::F32(vec![1.0, 2.0])),
        ];
        let mut scratch = Vec::new();
        let features = reading.features(&given, &mut scratch);
        assert_eq!(features, [1.0, 10.0, 11.0, 2.0, 20.0, 21.0]);
        assert_eq!(reading.rows(features.len()), 2);
    }

    #[test]
    fn one_input_carries_all_its_elements() {
        let reading = reading(&serde_json::json!([{"name": "x", "datatype": "FP32", "shape": [-1, 3]}]));
        let given = [tensor("x", Elements::F32(vec![1.0, 2.0, 3.0]))];
        assert_eq!(reading.features(&given, &mut Vec::new()), [1.0, 2.0, 3.0]);
    }
}
