//! Golden inputs and what the model must answer: one by one, and together in a batch.

use std::fmt;

use modelfleet_protocol::model::{ModelBuild, SelfTest, Tensor, Values};

use super::AdmitError;
use crate::engine::{Loaded, Session};
use crate::tensor::{Elements, NamedTensor, elements_of, shaped};

/// Which part of the self-test is spoken of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// A golden input, from 0.
    Row(usize),
    /// So many golden inputs in one request.
    Batch(usize),
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Which::Row(index) => write!(f, "{index}"),
            Which::Batch(rows) => write!(f, "of a batch of {rows}"),
        }
    }
}

/// Asks a model its golden inputs.
///
/// # Errors
/// When it has not the inputs and outputs that it should have, fails, or answers otherwise.
pub(super) fn run(loaded: &Loaded, build: &ModelBuild) -> Result<(), AdmitError> {
    for expected in &build.outputs {
        let Some(port) = loaded.ports.outputs.iter().find(|port| port.name == expected.name) else {
            return Err(AdmitError::Signature(format!("there is no output {:?}", expected.name)));
        };
        if port.datatype != expected.datatype {
            let (name, datatype) = (&expected.name, &expected.datatype);
            let reason = format!("output {name:?} is {} and not {datatype}", port.datatype);
            return Err(AdmitError::Signature(reason));
        }
    }
    let mut rows = Vec::new();
    for (index, test) in build.self_test.iter().enumerate() {
        let inputs = inputs(build, index, test)?;
        let asked = Asked { which: Which::Row(index), inputs, expected: test.outputs.clone() };
        asked.of(&*loaded.session, build, test.tolerance)?;
        rows.push(asked);
    }
    // A model may look at a batch as a whole; who made the golden answers has seen that it does. Only another engine is
    // held to answer a batch as it answers its rows.
    match batch(build, &rows).filter(|_| !loaded.is_reference) {
        Some(batch) => {
            let tolerances = build.self_test.iter().map(|test| test.tolerance);
            batch.of(&*loaded.session, build, tolerances.fold(0.0, f64::max))
        }
        None => Ok(()),
    }
}

/// Inputs and what they must be answered with.
struct Asked {
    which: Which,
    inputs: Vec<NamedTensor>,
    expected: Vec<Values>,
}

impl Asked {
    fn of(&self, session: &dyn Session, build: &ModelBuild, tolerance: f64) -> Result<(), AdmitError> {
        let which = self.which;
        let outputs = session.run(&self.inputs).map_err(|source| AdmitError::Run { which, source })?;
        let missing = |name: &str| AdmitError::Signature(format!("there is no output {name:?}"));
        let find = |name: &str| outputs.iter().find(|o| o.name == name).ok_or_else(|| missing(name));
        for expected in &build.outputs {
            find(&expected.name)?;
        }
        let mut answer = Vec::new();
        for expected in &self.expected {
            let data = &find(&expected.name)?.data;
            let reason = if expected.texts.is_empty() {
                data.numbers(&mut answer);
                difference(&answer, expected, tolerance)
            } else {
                other_texts(data, expected)
            };
            if let Some(reason) = reason {
                return Err(AdmitError::SelfTest { which, reason });
            }
        }
        Ok(())
    }
}

fn inputs(build: &ModelBuild, index: usize, test: &SelfTest) -> Result<Vec<NamedTensor>, AdmitError> {
    let input = |values: &Values| {
        let signature = build.inputs.iter().find(|t| t.name == values.name);
        let missing = || AdmitError::Signature(format!("self-test {index} has no input {:?}", values.name));
        signature.and_then(|s| shaped(s, values)).ok_or_else(missing)
    };
    test.inputs.iter().map(input).collect()
}

/// All golden inputs as one request, where all inputs and outputs leave open how many rows there are.
fn batch(build: &ModelBuild, rows: &[Asked]) -> Option<Asked> {
    let open = |tensor: &Tensor| tensor.shape.first() == Some(&-1);
    let (first, more) = rows.split_first()?;
    if more.is_empty() || !build.inputs.iter().all(open) || !build.outputs.iter().all(open) {
        return None;
    }
    let mut inputs = first.inputs.clone();
    let mut expected = first.expected.clone();
    for row in more {
        for input in &mut inputs {
            let other = row.inputs.iter().find(|other| other.name == input.name)?;
            if other.shape.get(1..) != input.shape.get(1..) || !input.data.append(&other.data) {
                return None;
            }
            *input.shape.first_mut()? += other.shape.first()?;
            (elements_of(&input.shape)? == input.data.len()).then_some(())?;
        }
        for values in &mut expected {
            let other = row.expected.iter().find(|other| other.name == values.name)?;
            values.values.extend_from_slice(&other.values);
            values.texts.extend_from_slice(&other.texts);
        }
    }
    Some(Asked { which: Which::Batch(rows.len()), inputs, expected })
}

/// What differs between texts and what they must be; `None` when they are good.
fn other_texts(answer: &Elements, expected: &Values) -> Option<String> {
    let name = &expected.name;
    match answer {
        Elements::Text(texts) if *texts == expected.texts => None,
        Elements::Text(texts) => Some(format!("{name} is {texts:?}, expected {:?}", expected.texts)),
        other => Some(format!("{name} is {}, expected texts", other.datatype())),
    }
}

/// What differs between an answer and what it must be; `None` when it is good. NaN is never good.
fn difference(answer: &[f64], expected: &Values, tolerance: f64) -> Option<String> {
    let name = &expected.name;
    if answer.len() != expected.values.len() {
        return Some(format!("{name} has {} elements, expected {}", answer.len(), expected.values.len()));
    }
    let far = |(a, e): &(&f64, &f64)| {
        let error = (*a - *e).abs() / e.abs().max(1.0);
        error.is_nan() || error > tolerance
    };
    let (found, expected) = answer.iter().zip(&expected.values).find(far)?;
    Some(format!("{name} is {found}, expected {expected} within {tolerance}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(answer: &[f64], expected: &[f64], good: bool) {
        let expected = Values { name: "score".into(), values: expected.to_vec(), texts: Vec::new() };
        assert_eq!(difference(answer, &expected, 1e-4).is_none(), good, "{answer:?} {expected:?}");
    }

    #[test]
    fn tolerance_is_relative_above_one_and_absolute_below() {
        check(&[0.50005], &[0.5], true);
        check(&[0.5002], &[0.5], false);
        check(&[1000.05], &[1000.0], true);
        check(&[1000.2], &[1000.0], false);
        check(&[f64::NAN], &[0.5], false);
        check(&[0.5, 0.5], &[0.5], false);
        check(&[], &[], true);
    }
}
