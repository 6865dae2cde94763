//! Whether another engine answers as ONNX Runtime does: rows one by one, and in batches, which some engines mix up.

use super::inputs::FilledInput;
use super::named_tensor::{Data, NamedTensor, Session, tensors};
use super::rows::Rows;

/// Rows that go in together.
const BATCHES: [usize; 3] = [2, 5, 8];

/// Compares the answers of `other` with those of `first`, for each of some rows and for batches of them. Rows that `first`
/// does not take are left out. Says what differs first, in words that follow the other engine's name.
///
/// # Errors
/// When the other engine answers otherwise, or not.
pub fn check(
    first: &mut dyn Session,
    other: &mut dyn Session,
    inputs: &[FilledInput],
    rows: &Rows,
    candidates: &[usize],
    tolerance: f64,
) -> Result<(), String> {
    let mut taken = Vec::new();
    for &row in candidates {
        if compare(first, other, inputs, rows, &[row], tolerance)? {
            taken.push(row);
        }
    }
    for size in BATCHES.into_iter().filter(|size| *size <= taken.len()) {
        for batch in taken.chunks_exact(size) {
            compare(first, other, inputs, rows, batch, tolerance)?;
        }
    }
    Ok(())
}

/// Whether the first engine takes these rows together.
fn compare(
    first: &mut dyn Session,
    other: &mut dyn Session,
    inputs: &[FilledInput],
    rows: &Rows,
    indices: &[usize],
    tolerance: f64,
) -> Result<bool, String> {
    let Some(inputs) = tensors(inputs, rows, indices) else { return Ok(false) };
    let Ok(expected) = first.run(&inputs) else { return Ok(false) };
    let found = other.run(&inputs).map_err(|why| format!("fails on {}: {why}", of_rows(indices)))?;
    match expected.iter().find_map(|expected| difference(expected, &found, tolerance)) {
        Some(difference) => Err(format!("answers {} differently: {difference}", of_rows(indices))),
        None => Ok(true),
    }
}

fn of_rows(indices: &[usize]) -> String {
    match indices {
        [one] => format!("row {}", one + 1),
        several => format!("a batch of {} rows", several.len()),
    }
}

/// What differs from an expected output. NaN agrees with NaN: it is what the model answers.
fn difference(expected: &NamedTensor, found: &[NamedTensor], tolerance: f64) -> Option<String> {
    let name = &expected.name;
    let Some(found) = found.iter().find(|output| &output.name == name) else {
        return Some(format!("there is no output {name:?}"));
    };
    if found.shape != expected.shape {
        return Some(format!("output {name:?} has shape {:?}, not {:?}", found.shape, expected.shape));
    }
    let (Data::Numbers(found), Data::Numbers(expected)) = (&found.data, &expected.data) else {
        return (found.data != expected.data).then(|| format!("output {name:?} has different texts"));
    };
    let far = |(found, expected): &(&f64, &f64)| {
        let off = (*found - *expected).abs() / expected.abs().max(1.0);
        found.to_bits() != expected.to_bits()
            && !(found.is_nan() && expected.is_nan())
            && (off.is_nan() || off > tolerance)
    };
    let (found, expected) = found.iter().zip(expected).find(far)?;
    Some(format!("output {name:?} is {found}, not {expected} (tolerance {tolerance})"))
}

#[cfg(test)]
mod tests {
    use modelfleet_crds::model_version::{Datatype, Tensor};

    use super::super::rows::{Cells, Column};
    use super::*;

    /// An engine that adds up rows, and one that adds the first row of a batch to all of them.
    struct Adds {
        mixes: bool,
    }

    impl Session for Adds {
        fn run(&mut self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, String> {
            let Data::Numbers(numbers) = &inputs[0].data else { return Err("texts".into()) };
            let sum = |row: &[f64]| row.iter().sum::<f64>();
            let rows = numbers.chunks(2);
            let mixed = if self.mixes && numbers.len() > 2 { sum(&numbers[..2]) } else { 0.0 };
            let sums: Vec<f64> = rows.map(|row| sum(row) + mixed).collect();
            let shape = vec![i64::try_from(sums.len()).unwrap()];
            Ok(vec![NamedTensor {
                name: "sum".into(),
                datatype: Datatype::Fp32,
                shape,
                data: Data::Numbers(sums),
            }])
        }
    }

    fn message(leading: i64, mixes: bool) -> Result<(), String> {
        let tensor = Tensor { name: "x".into(), datatype: Datatype::Fp32, shape: vec![leading, 2] };
        let inputs = [FilledInput { tensor, columns: vec![0, 1] }];
        let column = |from: f64| Column {
            name: "c".into(),
            cells: Cells::Numbers((0..8).map(|row| from + f64::from(row)).collect()),
        };
        let rows = Rows { columns: vec![column(1.0), column(2.0)], count: 8 };
        let candidates: Vec<usize> = (0..8).collect();
        check(&mut Adds { mixes: false }, &mut Adds { mixes }, &inputs, &rows, &candidates, 1e-4)
    }

    #[test]
    fn what_is_right_row_by_row_and_wrong_in_batches_is_found() {
        assert_eq!(message(-1, false), Ok(()));
        let wrong = message(-1, true).unwrap_err();
        assert_eq!(
            wrong,
            "answers a batch of 2 rows differently: output \"sum\" is 6, not 3 (tolerance 0.0001)"
        );
        assert_eq!(message(1, true), Ok(()), "no batch goes into a model that takes one row");
    }
}
