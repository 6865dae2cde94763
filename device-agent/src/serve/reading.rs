//! How a build's inputs and outputs are read: which elements are features, what passes its filters, what is an
//! alarm and how sure it is. Looked up once, when the build is placed.

use modelfleet_protocol::model::{Comparison, Fallback, ModelBuild, PositiveWhen};

use crate::tensor::{Elements, NamedTensor};

/// Why a build cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadingError {
    /// A pre-filter names a feature that the profile has not.
    #[error("pre-filter {filter:?} looks at feature {feature:?}, which the profile has not")]
    Feature {
        /// The filter.
        filter: String,
        /// The feature.
        feature: String,
    },
}

/// How a build's inputs and outputs are read.
#[derive(Debug)]
pub struct Reading {
    /// The input that carries the features.
    input: Option<String>,
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
        let signature = build.inputs.first();
        let fixed = signature.map(|t| t.shape.iter().filter(|&&d| d > 0).product::<i64>()).unwrap_or(0);
        let open = signature.is_some_and(|t| t.shape.first() == Some(&-1));
        let width =
            if profile.is_empty() && open { usize::try_from(fixed).unwrap_or(0) } else { profile.len() };
        Ok(Reading {
            input: signature.map(|t| t.name.clone()),
            width,
            filters: build.pre_filters.iter().map(filter).collect::<Result<_, _>>()?,
            decision: build.decision.as_ref().map(|d| (d.output.clone(), d.positive_when)),
            confidence: build.decision.as_ref().and_then(|d| d.confidence.clone()),
        })
    }

    /// The features of a request: the elements of the first input.
    pub(super) fn features<'a>(&self, inputs: &'a [NamedTensor], scratch: &'a mut Vec<f32>) -> &'a [f32] {
        let named = self.input.as_ref().and_then(|name| inputs.iter().find(|t| &t.name == name));
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
