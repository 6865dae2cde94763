//! Known inputs with the answers that the model gives here: a device asks for them before it uses the model.

use std::path::Path;

use modelfleet_crds::model_version::{ModelSignature, SelfTestCase, Tensor, TensorValues};
use modelfleet_crds::text::Decimal;

use super::rows::Rows;
use crate::decimal::{decimal, decimal_of_f32};

/// Rows that are tried; the cases are chosen among them by their answers.
const CANDIDATES: usize = 16;
/// Most input values of all cases together: a plan carries them to every device.
const VALUES_MAX: usize = 4_096;

/// Why there is no self-test. None of these hinders a registration.
#[derive(Debug, thiserror::Error)]
pub enum NoSelfTest {
    /// The rows do not make an input.
    #[error("the model takes {0} inputs, and a row fills one")]
    Inputs(usize),
    /// A row does not fill the input.
    #[error("input {name:?} has shape {shape:?}, which a row of {columns} values does not fill")]
    Shape {
        /// The input.
        name: String,
        /// Its shape.
        shape: Vec<i64>,
        /// Values of a row.
        columns: usize,
    },
    /// A row has more values than a self-test may.
    #[error("a row of {0} values is longer than the {VALUES_MAX} that a self-test may hold")]
    Long(usize),
    /// Every row has a gap.
    #[error("every row that was tried has a missing reading")]
    Gaps,
    /// The model gives nothing that can be compared.
    #[error("the model gives no finite numbers")]
    NoNumbers,
    /// The program was built without an engine.
    #[cfg(not(feature = "onnxruntime"))]
    #[error("this program was built without ONNX Runtime")]
    NotBuilt,
    /// The engine is not there or refuses the model.
    #[cfg(feature = "onnxruntime")]
    #[error(transparent)]
    Engine(#[from] super::engine::EngineError),
}

/// The cases, and the engine that answered.
#[derive(Clone, Debug)]
pub struct SelfTest {
    /// The cases.
    pub cases: Vec<SelfTestCase>,
    /// Name and version of the engine.
    pub engine: String,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// Number of cases.
    pub cases: usize,
    /// How far an answer may be off.
    pub tolerance: Decimal,
    /// The output whose values should differ between the cases.
    pub deciding_output: Option<&'a str>,
    /// The library of the engine.
    pub library: Option<&'a Path>,
}

/// Runs the model on some rows, and keeps those with the lowest, the highest and evenly chosen answers between.
///
/// # Errors
/// When the rows do not fit the model, or no engine runs it.
pub fn self_test(
    model: &[u8],
    signature: &ModelSignature,
    rows: &Rows,
    wanted: &Wanted<'_>,
) -> Result<SelfTest, NoSelfTest> {
    let [input] = signature.inputs.as_slice() else { return Err(NoSelfTest::Inputs(signature.inputs.len())) };
    let columns = rows.features.len();
    let shape = shape_of_row(input, columns)?;
    let most = VALUES_MAX / columns.max(1);
    if most == 0 {
        return Err(NoSelfTest::Long(columns));
    }
    let candidates = candidates(rows);
    if candidates.is_empty() {
        return Err(NoSelfTest::Gaps);
    }
    let (engine, mut tried) = answers(model, input, &shape, rows, &candidates, wanted)?;
    tried.retain(|case| !case.outputs.is_empty());
    if tried.is_empty() {
        return Err(NoSelfTest::NoNumbers);
    }
    let first_of = |tensor: Option<&TensorValues>| {
        tensor.and_then(|tensor| tensor.values.first()?.to_f64().ok()).unwrap_or(0.0)
    };
    // Classifiers give the label first and scores behind it: of equal labels the scores tell more.
    let rank = |case: &SelfTestCase| {
        let deciding =
            case.outputs.iter().find(|tensor| Some(tensor.name.as_str()) == wanted.deciding_output);
        (first_of(deciding), first_of(case.outputs.last()))
    };
    tried.sort_by(|a, b| {
        let (a, b) = (rank(a), rank(b));
        a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))
    });
    Ok(SelfTest { cases: spread(tried, wanted.cases.min(most)), engine })
}

#[cfg(feature = "onnxruntime")]
fn answers(
    model: &[u8],
    input: &Tensor,
    shape: &[i64],
    rows: &Rows,
    candidates: &[usize],
    wanted: &Wanted<'_>,
) -> Result<(String, Vec<SelfTestCase>), NoSelfTest> {
    let mut engine = super::engine::Engine::load(wanted.library, model)?;
    let mut cases = Vec::new();
    for &index in candidates {
        let row = rows.row(index);
        let Some(values) = texts(input, row) else { continue };
        let outputs = engine.answer(input, shape, row)?;
        let inputs = vec![TensorValues { name: input.name.clone(), values }];
        cases.push(SelfTestCase { inputs, outputs, tolerance: wanted.tolerance.clone() });
    }
    Ok((format!("ONNX Runtime {}", engine.version).trim_end().to_owned(), cases))
}

#[cfg(not(feature = "onnxruntime"))]
fn answers(
    _: &[u8],
    _: &Tensor,
    _: &[i64],
    _: &Rows,
    _: &[usize],
    _: &Wanted<'_>,
) -> Result<(String, Vec<SelfTestCase>), NoSelfTest> {
    Err(NoSelfTest::NotBuilt)
}

/// The input's shape for one row: a leading dimension of any size becomes 1, and one other may be any size.
fn shape_of_row(input: &Tensor, columns: usize) -> Result<Vec<i64>, NoSelfTest> {
    let refused = || NoSelfTest::Shape { name: input.name.clone(), shape: input.shape.clone(), columns };
    let mut shape = input.shape.clone();
    if let Some(first) = shape.first_mut()
        && *first < 0
        && input.shape.len() > 1
    {
        *first = 1;
    }
    let known = shape.iter().filter(|size| **size > 0).try_fold(1_i64, |all, size| all.checked_mul(*size));
    let known = known.ok_or_else(refused)?;
    let columns = i64::try_from(columns).map_err(|_| refused())?;
    let mut unknown = shape.iter_mut().filter(|size| **size < 0);
    match (unknown.next(), unknown.next()) {
        (None, _) if known == columns => Ok(shape),
        (Some(size), None) if columns % known == 0 => {
            *size = columns / known;
            Ok(shape)
        }
        _ => Err(refused()),
    }
}

/// Rows without gaps, evenly spread over the table.
fn candidates(rows: &Rows) -> Vec<usize> {
    let count = rows.count();
    let mut chosen: Vec<usize> = (0..CANDIDATES).map(|i| i * count / CANDIDATES).collect();
    chosen.dedup();
    chosen.retain(|&index| rows.row(index).iter().all(|value| value.is_finite()));
    chosen
}

/// The values of a row as the model gets them; nothing when one is beyond what the API carries.
#[cfg_attr(not(feature = "onnxruntime"), expect(dead_code))]
fn texts(input: &Tensor, row: &[f64]) -> Option<Vec<Decimal>> {
    use modelfleet_crds::model_version::Datatype;
    let text = |&value: &f64| match input.datatype {
        Datatype::Fp32 => decimal_of_f32(value as f32),
        Datatype::Int64 | Datatype::Int32 => decimal(value.trunc()),
        _ => decimal(value),
    };
    row.iter().map(text).collect()
}

/// `count` of the cases: the first, the last and evenly between.
fn spread(cases: Vec<SelfTestCase>, count: usize) -> Vec<SelfTestCase> {
    let last = cases.len().saturating_sub(1);
    let mut places: Vec<usize> = match count {
        0 => Vec::new(),
        1 => vec![0],
        _ => (0..count).map(|i| i * last / (count - 1)).collect(),
    };
    places.dedup();
    let kept = cases.into_iter().enumerate().filter(|(index, _)| places.contains(index));
    kept.map(|(_, case)| case).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use modelfleet_crds::model_version::Datatype;

    fn shape(shape: &[i64], columns: usize) -> Option<Vec<i64>> {
        let input = Tensor { name: "x".into(), datatype: Datatype::Fp32, shape: shape.into() };
        shape_of_row(&input, columns).ok()
    }

    #[test]
    fn a_row_fills_the_input_or_is_refused() {
        assert_eq!(shape(&[-1, 7], 7), Some(vec![1, 7]));
        assert_eq!(shape(&[1, 7], 7), Some(vec![1, 7]));
        assert_eq!(shape(&[-1, 6, 100], 600), Some(vec![1, 6, 100]));
        assert_eq!(shape(&[-1, -1], 7), Some(vec![1, 7]));
        assert_eq!(shape(&[-1], 7), Some(vec![7]));
        assert_eq!(shape(&[], 1), Some(vec![]));
        for (bad, columns) in [(&[-1, 7][..], 6), (&[2, 7], 7), (&[-1, -1, -1], 7), (&[i64::MAX, 4], 7)] {
            assert_eq!(shape(bad, columns), None, "{bad:?}");
        }
    }

    #[test]
    fn the_extremes_are_always_among_the_cases() {
        let case = |n: usize| SelfTestCase {
            inputs: vec![TensorValues { name: "x".into(), values: vec![Decimal::from(n.to_string())] }],
            outputs: Vec::new(),
            tolerance: Decimal::from("0"),
        };
        let kept = |all: usize, count| {
            let cases = spread((0..all).map(case).collect(), count);
            cases.iter().map(|c| c.inputs[0].values[0].as_str().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(kept(16, 3), ["0", "7", "15"]);
        assert_eq!(kept(2, 3), ["0", "1"]);
        assert_eq!(kept(5, 1), ["0"]);
        assert!(kept(5, 0).is_empty() && kept(0, 3).is_empty());
    }
}
