//! Known inputs with the answers that the model gives here: a device asks for them before it uses the model.

use std::path::Path;

use modelfleet_crds::model_version::{SelfTestCase, TensorValues};
use modelfleet_crds::text::Decimal;

use super::inputs::FilledInput;
use super::named_tensor::{NamedTensor, Session, has_gap, shape_of_row, tensors};
use super::rows::Rows;

/// Rows that are tried; the cases are chosen among them by their answers.
const CANDIDATES: usize = 16;
/// Rows with gaps that are tried besides.
const CANDIDATES_WITH_GAPS: usize = 4;
/// Most input values of all cases together, and most of one output: a plan carries them to every device.
const VALUES_MAX: usize = 4_096;

/// Why there is no self-test. None of these hinders a registration.
#[derive(Debug, thiserror::Error)]
pub enum NoSelfTest {
    /// The model takes nothing.
    #[error("the model has no inputs")]
    NoInput,
    /// A row does not fill the input.
    #[error("input {name:?} has shape {shape:?}, and a row of {columns} values does not fill it")]
    Shape {
        /// The input.
        name: String,
        /// Its shape.
        shape: Vec<i64>,
        /// Values of a row.
        columns: usize,
    },
    /// A row has more values than a self-test may.
    #[error("a row has {0} values, and a self-test holds at most {VALUES_MAX}")]
    Long(usize),
    /// Every row has a gap.
    #[error("all rows that were tried have missing readings, and the model does not accept them")]
    Gaps,
    /// The model failed at every row.
    #[error("the model fails on the rows that were tried: {0}")]
    Run(String),
    /// The model gives nothing that can be compared.
    #[error("the outputs of the model hold no finite numbers and no texts")]
    NoNumbers,
    /// The program was built without an engine.
    #[cfg(not(feature = "onnxruntime"))]
    #[error("this program was built without ONNX Runtime")]
    NotBuilt,
    /// The engine is not there or refuses the model.
    #[cfg(feature = "onnxruntime")]
    #[error(transparent)]
    Engine(#[from] super::onnxruntime::OnnxRuntimeError),
}

/// The cases, the engine that answered, and what rten makes of the model.
#[derive(Clone, Debug)]
pub struct SelfTest {
    /// The cases.
    pub cases: Vec<SelfTestCase>,
    /// Name and version of the engine.
    pub engine: String,
    /// What rten does otherwise, in words that follow its name; nothing when it agrees or was not asked.
    pub rten_differs: Option<String>,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct SelfTestOptions<'a> {
    /// Number of cases.
    pub cases: usize,
    /// How far an answer may be off.
    pub tolerance: Decimal,
    /// The output whose values should differ between the cases.
    pub deciding_output: Option<&'a str>,
    /// The library of the engine.
    pub library: Option<&'a Path>,
    /// Whether devices may run the model with rten.
    pub may_run_on_rten: bool,
}

/// Runs the model on some rows, and keeps those with the lowest, the highest and evenly chosen answers between. Where rows
/// have gaps and the model takes them, one such row is among them.
///
/// # Errors
/// When the rows do not fit the model, or no engine runs it.
#[cfg(feature = "onnxruntime")]
pub fn self_test(
    model: &[u8],
    inputs: &[FilledInput],
    rows: &Rows,
    wanted: &SelfTestOptions<'_>,
) -> Result<SelfTest, NoSelfTest> {
    let mut engine = super::onnxruntime::OnnxRuntime::load(wanted.library, model)?;
    let cases = cases(&mut engine, inputs, rows, wanted)?;
    let rten_differs =
        if wanted.may_run_on_rten { rten(model, &mut engine, inputs, rows, wanted) } else { None };
    let engine = format!("ONNX Runtime {}", engine.version).trim_end().to_owned();
    Ok(SelfTest { cases, engine, rten_differs })
}

/// Runs nothing.
///
/// # Errors
/// Always: there is no engine in this program.
#[cfg(not(feature = "onnxruntime"))]
pub fn self_test(
    _: &[u8],
    _: &[FilledInput],
    _: &Rows,
    _: &SelfTestOptions<'_>,
) -> Result<SelfTest, NoSelfTest> {
    Err(NoSelfTest::NotBuilt)
}

#[cfg(all(feature = "onnxruntime", feature = "rten"))]
fn rten(
    model: &[u8],
    first: &mut dyn Session,
    inputs: &[FilledInput],
    rows: &Rows,
    wanted: &SelfTestOptions<'_>,
) -> Option<String> {
    let tolerance = wanted.tolerance.to_f64().unwrap_or(0.0);
    let (whole, _) = candidates(rows, inputs);
    let mut rten = match super::rten::Rten::load(model) {
        Ok(rten) => rten?,
        Err(why) => return Some(why),
    };
    super::agreement::check(first, &mut rten, inputs, rows, &whole, tolerance).err()
}

#[cfg(all(feature = "onnxruntime", not(feature = "rten")))]
fn rten(
    _: &[u8],
    _: &mut dyn Session,
    _: &[FilledInput],
    _: &Rows,
    _: &SelfTestOptions<'_>,
) -> Option<String> {
    None
}

/// A row that was answered.
struct Answered {
    case: SelfTestCase,
    has_gap: bool,
}

fn cases(
    engine: &mut dyn Session,
    inputs: &[FilledInput],
    rows: &Rows,
    wanted: &SelfTestOptions<'_>,
) -> Result<Vec<SelfTestCase>, NoSelfTest> {
    for FilledInput { tensor, columns } in inputs {
        if shape_of_row(&tensor.shape, columns.len()).is_none() {
            let (name, shape) = (tensor.name.clone(), tensor.shape.clone());
            return Err(NoSelfTest::Shape { name, shape, columns: columns.len() });
        }
    }
    let columns: usize = inputs.iter().map(|input| input.columns.len()).sum();
    if columns == 0 {
        return Err(NoSelfTest::NoInput);
    }
    let most = VALUES_MAX / columns;
    if most == 0 {
        return Err(NoSelfTest::Long(columns));
    }
    let (whole, with_gaps) = candidates(rows, inputs);
    let (mut answered, mut failed) = (Vec::new(), None);
    for &row in whole.iter().chain(&with_gaps) {
        match answer(engine, inputs, rows, row, &wanted.tolerance) {
            Ok(found) => answered.extend(found),
            Err(why) => failed = Some(why),
        }
    }
    if answered.is_empty() {
        return Err(match failed {
            Some(why) if !whole.is_empty() => NoSelfTest::Run(why),
            _ if whole.is_empty() => NoSelfTest::Gaps,
            _ => NoSelfTest::NoNumbers,
        });
    }
    Ok(chosen(answered, wanted, most))
}

/// The answer to a row; nothing when it is no answer to compare with. A row with gaps counts only when the model answers
/// it as it answers others, with every output finite.
fn answer(
    engine: &mut dyn Session,
    inputs: &[FilledInput],
    rows: &Rows,
    row: usize,
    tolerance: &Decimal,
) -> Result<Option<Answered>, String> {
    let Some(tensors) = tensors(inputs, rows, &[row]) else { return Ok(None) };
    let has_gap = has_gap(&tensors);
    let outputs = engine.run(&tensors)?;
    if has_gap && !outputs.iter().all(NamedTensor::is_whole) {
        return Ok(None);
    }
    let given: Option<Vec<TensorValues>> = tensors.iter().map(NamedTensor::values).collect();
    let is_short = |values: &TensorValues| values.values.len().max(values.texts.len()) <= VALUES_MAX / 4;
    let outputs: Vec<TensorValues> = outputs
        .iter()
        .filter(|output| output.is_whole())
        .filter_map(NamedTensor::values)
        .filter(is_short)
        .take(16)
        .collect();
    let case = given.map(|inputs| SelfTestCase { inputs, outputs, tolerance: tolerance.clone() });
    Ok(case.filter(|case| !case.outputs.is_empty()).map(|case| Answered { case, has_gap }))
}

/// The cases that are kept, lowest answer first.
fn chosen(mut answered: Vec<Answered>, wanted: &SelfTestOptions<'_>, most: usize) -> Vec<SelfTestCase> {
    let first_of = |tensor: Option<&TensorValues>| {
        tensor.and_then(|tensor| tensor.values.first()?.to_f64().ok()).unwrap_or(0.0)
    };
    // Classifiers give the label first and scores behind it: of equal labels the scores tell more.
    let rank = |answered: &Answered| {
        let outputs = &answered.case.outputs;
        let deciding = outputs.iter().find(|tensor| Some(tensor.name.as_str()) == wanted.deciding_output);
        (first_of(deciding), first_of(outputs.last()))
    };
    answered.sort_by(|a, b| {
        let (a, b) = (rank(a), rank(b));
        a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))
    });
    let count = wanted.cases.min(most);
    let gap = answered.iter().position(|answered| answered.has_gap);
    let (whole, gaps): (Vec<_>, Vec<_>) = answered.into_iter().partition(|answered| !answered.has_gap);
    let of_gaps = usize::from(gap.is_some() && count > 1).max(if whole.is_empty() { count } else { 0 });
    let case = |answered: Answered| answered.case;
    let mut kept = spread(whole.into_iter().map(case).collect(), count - of_gaps.min(count));
    kept.extend(spread(gaps.into_iter().map(case).collect(), of_gaps));
    kept
}

/// Rows evenly spread over the table: those without gaps, and some with gaps.
fn candidates(rows: &Rows, inputs: &[FilledInput]) -> (Vec<usize>, Vec<usize>) {
    let is_whole = |&row: &usize| tensors(inputs, rows, &[row]).is_some_and(|tensors| !has_gap(&tensors));
    let has_gaps = |&row: &usize| tensors(inputs, rows, &[row]).is_some_and(|tensors| has_gap(&tensors));
    let mut spread: Vec<usize> = (0..CANDIDATES).map(|i| i * rows.count / CANDIDATES).collect();
    spread.dedup();
    let mut whole: Vec<usize> = spread.iter().copied().filter(is_whole).collect();
    if whole.is_empty() {
        whole.extend((0..rows.count).filter(is_whole).take(CANDIDATES));
    }
    let mut gaps: Vec<usize> = spread.iter().copied().filter(has_gaps).take(CANDIDATES_WITH_GAPS).collect();
    if gaps.is_empty() {
        gaps.extend((0..rows.count).filter(has_gaps).take(CANDIDATES_WITH_GAPS));
    }
    (whole, gaps)
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
    use modelfleet_crds::model_version::{Datatype, Tensor};

    use super::super::named_tensor::Data;
    use super::super::rows::{Cells, Column};

    /// Adds up a row; a gap comes out as a gap, or is nothing to it.
    struct Adds {
        takes_gaps: bool,
    }

    impl Session for Adds {
        fn run(&mut self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, String> {
            let Data::Numbers(numbers) = &inputs[0].data else { return Err("texts".into()) };
            let sum = numbers.iter().filter(|n| !(self.takes_gaps && n.is_nan())).sum();
            let (name, shape, data) = ("sum".into(), vec![1], Data::Numbers(vec![sum]));
            Ok(vec![NamedTensor { name, datatype: Datatype::Fp32, shape, data }])
        }
    }

    /// How many of the cases have a gap, of how many.
    fn gaps_in(numbers: &[f64], takes_gaps: bool) -> Result<(usize, usize), String> {
        let tensor = Tensor { name: "x".into(), datatype: Datatype::Fp32, shape: vec![-1, 1] };
        let column = Column { name: "x".into(), cells: Cells::Numbers(numbers.to_vec()) };
        let rows = Rows { count: numbers.len(), columns: vec![column] };
        let wanted = SelfTestOptions {
            cases: 3,
            tolerance: Decimal::from("0.0001"),
            deciding_output: None,
            library: None,
            may_run_on_rten: false,
        };
        let inputs = [FilledInput { tensor, columns: vec![0] }];
        let cases =
            cases(&mut Adds { takes_gaps }, &inputs, &rows, &wanted).map_err(|why| why.to_string())?;
        let has_gap = |case: &&SelfTestCase| case.inputs[0].values[0].as_str() == "NaN";
        Ok((cases.iter().filter(has_gap).count(), cases.len()))
    }

    #[test]
    fn rows_with_gaps_are_tested_where_the_model_takes_them() {
        let gap = f64::NAN;
        let mut one_gap: Vec<f64> = (0..100).map(f64::from).collect();
        one_gap[33] = gap;
        assert_eq!(
            gaps_in(&one_gap, true),
            Ok((1, 3)),
            "though it is none of the rows that are tried at first"
        );
        assert_eq!(gaps_in(&one_gap, false), Ok((0, 3)));
        assert_eq!(gaps_in(&[gap, gap], true), Ok((2, 2)));
        assert!(gaps_in(&[gap, gap], false).unwrap_err().contains("missing readings"));
        assert_eq!(gaps_in(&[1.0, 2.0, 3.0], true), Ok((0, 3)));
    }

    #[test]
    fn the_extremes_are_always_among_the_cases() {
        let case = |n: usize| SelfTestCase {
            inputs: vec![TensorValues {
                name: "x".into(),
                values: vec![n.to_string().as_str().into()],
                ..TensorValues::default()
            }],
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
