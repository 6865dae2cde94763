//! What goes into a model and comes out of it, whatever the engine.

use modelfleet_crds::model_version::{Datatype, Tensor, TensorValues};
use modelfleet_crds::text::{Decimal, Reading};

use super::inputs::FilledInput;
use super::rows::{Cells, Rows};
use crate::decimal::{decimal, decimal_of_f32};

/// Elements of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Numbers; a missing reading is not a number.
    Numbers(Vec<f64>),
    /// Texts.
    Texts(Vec<String>),
}

/// A tensor that goes in or comes out.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// Its name.
    pub name: String,
    /// Type of its elements.
    pub datatype: Datatype,
    /// Its shape.
    pub shape: Vec<i64>,
    /// Its elements.
    pub data: Data,
}

/// A way to run the model.
pub trait Session {
    /// All outputs that consist of numbers or texts.
    ///
    /// # Errors
    /// Says in the engine's words why it fails.
    fn run(&mut self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, String>;
}

impl NamedTensor {
    /// The values as a ModelVersion has them; nothing when there are none, or one is beyond what the API carries.
    #[must_use]
    pub fn values(&self) -> Option<TensorValues> {
        let reading = |&value: &f64| match value {
            value if value.is_nan() => Some(Reading::from("NaN")),
            value => text(self.datatype, value).map(Reading::from),
        };
        let (mut values, mut texts) = (Vec::new(), Vec::new());
        match &self.data {
            Data::Numbers(numbers) => values = numbers.iter().map(reading).collect::<Option<Vec<_>>>()?,
            Data::Texts(all) => texts.clone_from(all),
        }
        let is_empty = values.is_empty() && texts.is_empty();
        (!is_empty).then(|| TensorValues { name: self.name.clone(), values, texts })
    }

    /// Whether every element is a finite number or a text.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        match &self.data {
            Data::Numbers(numbers) => numbers.iter().all(|number| number.is_finite()),
            Data::Texts(_) => true,
        }
    }
}

fn text(datatype: Datatype, value: f64) -> Option<Decimal> {
    match datatype {
        Datatype::Fp32 | Datatype::Fp16 | Datatype::Bf16 => decimal_of_f32(value as f32),
        _ => decimal(value),
    }
}

/// A number as a tensor of this type holds it.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "labels and counts stay far below 2^53")]
pub fn as_stored(value: f64, datatype: Datatype) -> f64 {
    match datatype {
        Datatype::Fp16 => half::f16::from_f64(value).to_f64(),
        Datatype::Bf16 => half::bf16::from_f64(value).to_f64(),
        Datatype::Fp32 => f64::from(value as f32),
        // No gap in what has no place for one.
        _ if value.is_nan() => value,
        Datatype::Bool => f64::from(u8::from(value != 0.0)),
        Datatype::Int8 => f64::from(value as i8),
        Datatype::Int16 => f64::from(value as i16),
        Datatype::Int32 => f64::from(value as i32),
        Datatype::Int64 => (value as i64) as f64,
        Datatype::Uint8 => f64::from(value as u8),
        Datatype::Uint16 => f64::from(value as u16),
        Datatype::Uint32 => f64::from(value as u32),
        Datatype::Uint64 => (value as u64) as f64,
        Datatype::Fp64 | Datatype::String => value,
    }
}

/// Whether a tensor of this type can hold a missing reading.
fn holds_gaps(datatype: Datatype) -> bool {
    matches!(datatype, Datatype::Fp16 | Datatype::Bf16 | Datatype::Fp32 | Datatype::Fp64)
}

/// The inputs of these rows, one after the other; nothing when a cell is missing that the input's type cannot leave out, or
/// the model takes one row at a time and these are more.
#[must_use]
pub fn tensors(inputs: &[FilledInput], rows: &Rows, indices: &[usize]) -> Option<Vec<NamedTensor>> {
    inputs.iter().map(|input| filling(input, inputs.len() > 1, rows, indices)).collect()
}

fn filling(input: &FilledInput, is_one_of_many: bool, rows: &Rows, indices: &[usize]) -> Option<NamedTensor> {
    let Tensor { name, datatype, shape } = &input.tensor;
    let mut shape = shape_of_row(shape, input.columns.len())?;
    if indices.len() > 1 {
        let takes_many = input.tensor.shape.first() == Some(&-1) && (shape.len() > 1 || is_one_of_many);
        *shape.first_mut().filter(|first| takes_many && **first == 1)? = i64::try_from(indices.len()).ok()?;
    }
    let cells = indices.iter().flat_map(|&row| input.columns.iter().map(move |&column| (row, column)));
    let data = if input.is_text() {
        let text = |(row, column): (usize, usize)| match &rows.columns.get(column)?.cells {
            Cells::Texts(texts) => texts.get(row)?.clone(),
            Cells::Numbers(_) => None,
        };
        Data::Texts(cells.map(text).collect::<Option<_>>()?)
    } else {
        let number = |(row, column): (usize, usize)| match &rows.columns.get(column)?.cells {
            Cells::Numbers(numbers) => {
                let number = as_stored(*numbers.get(row)?, *datatype);
                (holds_gaps(*datatype) || !number.is_nan()).then_some(number)
            }
            Cells::Texts(_) => None,
        };
        Data::Numbers(cells.map(number).collect::<Option<_>>()?)
    };
    Some(NamedTensor { name: name.clone(), datatype: *datatype, shape, data })
}

/// The input's shape for one row: a leading dimension of any size becomes 1, and one other may be any size.
#[must_use]
pub fn shape_of_row(shape: &[i64], columns: usize) -> Option<Vec<i64>> {
    let several = shape.len() > 1;
    let mut shape = shape.to_vec();
    if let Some(first) = shape.first_mut()
        && *first < 0
        && several
    {
        *first = 1;
    }
    let known = shape.iter().filter(|size| **size > 0).try_fold(1_i64, |all, size| all.checked_mul(*size))?;
    let columns = i64::try_from(columns).ok()?;
    let mut unknown = shape.iter_mut().filter(|size| **size < 0);
    match (unknown.next(), unknown.next()) {
        (None, _) if known == columns => Some(shape),
        (Some(size), None) if columns % known == 0 => {
            *size = columns / known;
            Some(shape)
        }
        _ => None,
    }
}

/// Whether the inputs of a row have a gap.
#[must_use]
pub fn has_gap(tensors: &[NamedTensor]) -> bool {
    tensors.iter().any(|input| matches!(&input.data, Data::Numbers(n) if n.iter().any(|v| v.is_nan())))
}

#[cfg(test)]
mod tests {
    use super::super::rows::Column;
    use super::*;

    fn filled(shape: &[i64], datatype: Datatype, columns: &[usize]) -> FilledInput {
        let tensor = Tensor { name: "x".into(), datatype, shape: shape.into() };
        FilledInput { tensor, columns: columns.into() }
    }

    fn rows() -> Rows {
        let column = |name: &str, cells| Column { name: name.into(), cells };
        let numbers = Cells::Numbers(vec![1.5, f64::NAN, 3.0]);
        let texts = Cells::Texts(vec![Some("vane".into()), Some("gear".into()), None]);
        Rows { columns: vec![column("rms", numbers), column("kind", texts)], count: 3 }
    }

    #[test]
    fn a_row_fills_the_input_or_is_refused() {
        for (shape, columns, row) in [
            (&[-1, 7][..], 7, &[1, 7][..]),
            (&[1, 7], 7, &[1, 7]),
            (&[-1, 6, 100], 600, &[1, 6, 100]),
            (&[-1, -1], 7, &[1, 7]),
            (&[-1], 7, &[7]),
            (&[], 1, &[]),
        ] {
            assert_eq!(shape_of_row(shape, columns).as_deref(), Some(row));
        }
        for (bad, columns) in [(&[-1, 7][..], 6), (&[2, 7], 7), (&[-1, -1, -1], 7), (&[i64::MAX, 4], 7)] {
            assert_eq!(shape_of_row(bad, columns), None, "{bad:?}");
        }
    }

    #[test]
    fn rows_go_in_together_where_the_model_takes_any_number_of_them() {
        let numbers = filled(&[-1, 1], Datatype::Fp32, &[0]);
        let both = tensors(std::slice::from_ref(&numbers), &rows(), &[0, 2]).unwrap();
        assert_eq!((both[0].shape.as_slice(), &both[0].data), (&[2, 1][..], &Data::Numbers(vec![1.5, 3.0])));
        let one_at_a_time = filled(&[1, 1], Datatype::Fp32, &[0]);
        assert_eq!(tensors(&[one_at_a_time], &rows(), &[0, 2]), None);
        let kind = filled(&[-1], Datatype::String, &[1]);
        let two = tensors(&[numbers, kind], &rows(), &[0, 1]).unwrap();
        assert_eq!(two[1].data, Data::Texts(vec!["vane".into(), "gear".into()]));
        assert_eq!(two[1].shape, [2]);
        assert!(has_gap(&two));
    }

    #[test]
    fn a_gap_goes_in_where_the_type_has_one() {
        let gap = tensors(&[filled(&[-1, 1], Datatype::Fp32, &[0])], &rows(), &[1]).unwrap();
        assert_eq!(gap[0].values().unwrap().values[0].as_str(), "NaN");
        for (datatype, column, row) in
            [(Datatype::Int64, 0, 1), (Datatype::Bool, 0, 1), (Datatype::String, 1, 2)]
        {
            assert_eq!(tensors(&[filled(&[-1, 1], datatype, &[column])], &rows(), &[row]), None);
        }
    }
}
