//! Tensors as the local API and the engines exchange them.

pub(crate) mod bytes;

use half::{bf16, f16};
use modelfleet_protocol::model::Values;

/// Most dimensions of a tensor that comes from outside.
pub const RANK_MAX: usize = 8;

/// Most bytes of the elements of one answer.
pub const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A named tensor in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// Its name in the model.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its elements; as many as the shape says.
    pub data: Elements,
}

/// Elements of a tensor: each type that the Open Inference Protocol names, as it is, never by way of another.
#[derive(Clone, Debug, PartialEq)]
pub enum Elements {
    /// `FP16`.
    F16(Vec<f16>),
    /// `BF16`.
    Bf16(Vec<bf16>),
    /// `FP32`.
    F32(Vec<f32>),
    /// `FP64`.
    F64(Vec<f64>),
    /// `INT8`.
    I8(Vec<i8>),
    /// `INT16`.
    I16(Vec<i16>),
    /// `INT32`.
    I32(Vec<i32>),
    /// `INT64`.
    I64(Vec<i64>),
    /// `UINT8`.
    U8(Vec<u8>),
    /// `UINT16`.
    U16(Vec<u16>),
    /// `UINT32`.
    U32(Vec<u32>),
    /// `UINT64`.
    U64(Vec<u64>),
    /// `BOOL`.
    Bool(Vec<bool>),
    /// `BYTES`: texts, in UTF-8.
    Text(Vec<String>),
}

/// Does the same with the elements of any type.
macro_rules! each {
    ($elements:expr, $values:ident => $body:expr) => {
        match $elements {
            Elements::F16($values) => $body,
            Elements::Bf16($values) => $body,
            Elements::F32($values) => $body,
            Elements::F64($values) => $body,
            Elements::I8($values) => $body,
            Elements::I16($values) => $body,
            Elements::I32($values) => $body,
            Elements::I64($values) => $body,
            Elements::U8($values) => $body,
            Elements::U16($values) => $body,
            Elements::U32($values) => $body,
            Elements::U64($values) => $body,
            Elements::Bool($values) => $body,
            Elements::Text($values) => $body,
        }
    };
}
impl Elements {
    /// How many elements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        each!(self, values => values.len())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes the elements have.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Elements::Text(v) => v.iter().map(|text| text.len() + 4).sum(),
            _ => self.len() * self.width(),
        }
    }

    /// Bytes of one element; a text has none of its own.
    fn width(&self) -> usize {
        match self {
            Elements::Text(_) => 0,
            Elements::I8(_) | Elements::U8(_) | Elements::Bool(_) => 1,
            Elements::F16(_) | Elements::Bf16(_) | Elements::I16(_) | Elements::U16(_) => 2,
            Elements::F32(_) | Elements::I32(_) | Elements::U32(_) => 4,
            Elements::F64(_) | Elements::I64(_) | Elements::U64(_) => 8,
        }
    }

    /// The element type as the Open Inference Protocol names it.
    #[must_use]
    pub fn datatype(&self) -> &'static str {
        match self {
            Elements::F16(_) => "FP16",
            Elements::Bf16(_) => "BF16",
            Elements::F32(_) => "FP32",
            Elements::F64(_) => "FP64",
            Elements::I8(_) => "INT8",
            Elements::I16(_) => "INT16",
            Elements::I32(_) => "INT32",
            Elements::I64(_) => "INT64",
            Elements::U8(_) => "UINT8",
            Elements::U16(_) => "UINT16",
            Elements::U32(_) => "UINT32",
            Elements::U64(_) => "UINT64",
            Elements::Bool(_) => "BOOL",
            Elements::Text(_) => "BYTES",
        }
    }

    /// One element as a number, without looking at the others; a text that is no number is `None`.
    #[must_use]
    pub fn number(&self, index: usize) -> Option<f64> {
        each!(self, values => values.get(index)?.to_number())
    }

    /// The elements as numbers into `into`, which is emptied first; a text that is no number becomes NaN.
    pub fn numbers(&self, into: &mut Vec<f64>) {
        into.clear();
        each!(self, values => into.extend(values.iter().map(|x| x.to_number().unwrap_or(f64::NAN))));
    }

    /// Elements of a datatype of the Open Inference Protocol from numbers; `None` for one that is not made of numbers.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn of_datatype(datatype: &str, numbers: &[f64]) -> Option<Elements> {
        let n = numbers.iter();
        Some(match datatype {
            "FP16" => Elements::F16(n.map(|&x| f16::from_f64(x)).collect()),
            "BF16" => Elements::Bf16(n.map(|&x| bf16::from_f64(x)).collect()),
            "FP32" => Elements::F32(n.map(|&x| x as f32).collect()),
            "FP64" => Elements::F64(numbers.to_vec()),
            "INT8" => Elements::I8(n.map(|&x| x as i8).collect()),
            "INT16" => Elements::I16(n.map(|&x| x as i16).collect()),
            "INT32" => Elements::I32(n.map(|&x| x as i32).collect()),
            "INT64" => Elements::I64(n.map(|&x| x as i64).collect()),
            "UINT8" => Elements::U8(n.map(|&x| x as u8).collect()),
            "UINT16" => Elements::U16(n.map(|&x| x as u16).collect()),
            "UINT32" => Elements::U32(n.map(|&x| x as u32).collect()),
            "UINT64" => Elements::U64(n.map(|&x| x as u64).collect()),
            "BOOL" => Elements::Bool(n.map(|&x| x != 0.0).collect()),
            _ => return None,
        })
    }

    /// Adds the elements of another tensor behind these; false, and nothing is added, when they are of another type.
    #[must_use]
    pub fn append(&mut self, more: &Elements) -> bool {
        match (self, more) {
            (Elements::F16(v), Elements::F16(m)) => v.extend_from_slice(m),
            (Elements::Bf16(v), Elements::Bf16(m)) => v.extend_from_slice(m),
            (Elements::F32(v), Elements::F32(m)) => v.extend_from_slice(m),
            (Elements::F64(v), Elements::F64(m)) => v.extend_from_slice(m),
            (Elements::I8(v), Elements::I8(m)) => v.extend_from_slice(m),
            (Elements::I16(v), Elements::I16(m)) => v.extend_from_slice(m),
            (Elements::I32(v), Elements::I32(m)) => v.extend_from_slice(m),
            (Elements::I64(v), Elements::I64(m)) => v.extend_from_slice(m),
            (Elements::U8(v), Elements::U8(m)) => v.extend_from_slice(m),
            (Elements::U16(v), Elements::U16(m)) => v.extend_from_slice(m),
            (Elements::U32(v), Elements::U32(m)) => v.extend_from_slice(m),
            (Elements::U64(v), Elements::U64(m)) => v.extend_from_slice(m),
            (Elements::Bool(v), Elements::Bool(m)) => v.extend_from_slice(m),
            (Elements::Text(v), Elements::Text(m)) => v.extend_from_slice(m),
            _ => return false,
        }
        true
    }
}

/// An element that can be looked at as a number.
trait ToNumber {
    fn to_number(&self) -> Option<f64>;
}

macro_rules! to_number {
    ($($type:ty),*) => {
        $(impl ToNumber for $type {
            fn to_number(&self) -> Option<f64> {
                Some(f64::from(*self))
            }
        })*
    };
}
to_number!(f16, bf16, f32, f64, i8, i16, i32, u8, u16, u32);

// Labels and counts stay far below 2^53.
#[allow(clippy::cast_precision_loss)]
impl ToNumber for i64 {
    fn to_number(&self) -> Option<f64> {
        Some(*self as f64)
    }
}

#[allow(clippy::cast_precision_loss)]
impl ToNumber for u64 {
    fn to_number(&self) -> Option<f64> {
        Some(*self as f64)
    }
}

impl ToNumber for bool {
    fn to_number(&self) -> Option<f64> {
        Some(f64::from(u8::from(*self)))
    }
}

impl ToNumber for String {
    fn to_number(&self) -> Option<f64> {
        self.parse().ok()
    }
}

/// Number of elements of a shape; `None` if it has too many dimensions or the number overflows.
#[must_use]
pub fn elements_of(shape: &[usize]) -> Option<usize> {
    if shape.len() > RANK_MAX {
        return None;
    }
    shape.iter().try_fold(1_usize, |product, &dim| product.checked_mul(dim))
}

/// A tensor of the model's signature filled with golden numbers: sizes that the signature leaves open are
/// one, but for the last open one, which takes what is left. `None` when the numbers do not fit.
#[must_use]
pub fn shaped(signature: &modelfleet_protocol::model::Tensor, values: &Values) -> Option<NamedTensor> {
    let mut fixed = signature.shape.iter().filter(|&&dim| dim > 0);
    let fixed = fixed.try_fold(1_usize, |p, &dim| p.checked_mul(usize::try_from(dim).ok()?))?;
    let open = signature.shape.iter().rposition(|&dim| dim < 0);
    let count = values.values.len().max(values.texts.len());
    let rest = count.checked_div(fixed.max(1))?;
    let dim = |(index, &dim): (usize, &i64)| match usize::try_from(dim) {
        Ok(dim) => dim,
        Err(_) if Some(index) == open => rest,
        Err(_) => 1,
    };
    let shape: Vec<usize> = signature.shape.iter().enumerate().map(dim).collect();
    let data = match signature.datatype.as_str() {
        "BYTES" => Elements::Text(values.texts.clone()),
        datatype => Elements::of_datatype(datatype, &values.values)?,
    };
    (elements_of(&shape)? == data.len()).then(|| NamedTensor { name: values.name.clone(), shape, data })
}

#[cfg(test)]
mod tests {
    use super::*;
    use modelfleet_protocol::model::Tensor;

    fn check(shape: &[i64], count: usize, expected: Option<&[usize]>) {
        let signature = Tensor { name: "x".into(), datatype: "FP32".into(), shape: shape.to_vec() };
        let values = Values { name: "x".into(), values: vec![0.5; count], texts: Vec::new() };
        assert_eq!(shaped(&signature, &values).map(|t| t.shape).as_deref(), expected, "{shape:?} {count}");
    }

    #[test]
    fn golden_texts_are_texts() {
        let signature = Tensor { name: "kind".into(), datatype: "BYTES".into(), shape: vec![-1, 1] };
        let values = Values { name: "kind".into(), texts: vec!["vane".into()], ..Values::default() };
        let tensor = shaped(&signature, &values).unwrap();
        assert_eq!((tensor.shape, tensor.data), (vec![1, 1], Elements::Text(vec!["vane".into()])));
    }

    #[test]
    fn golden_numbers_take_the_shape_of_the_signature() {
        check(&[-1, 7], 7, Some(&[1, 7]));
        check(&[-1, 7], 14, Some(&[2, 7]));
        check(&[-1, -1], 7, Some(&[1, 7]));
        check(&[1, 7], 6, None);
        check(&[-1, 7], 6, None);
        check(&[], 1, Some(&[]));
    }

    #[test]
    fn every_datatype_is_made_of_numbers_and_read_as_numbers() {
        for datatype in [
            "FP16", "BF16", "FP32", "FP64", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32",
            "UINT64", "BOOL",
        ] {
            let elements = Elements::of_datatype(datatype, &[0.0, 1.0]).unwrap();
            assert_eq!((elements.datatype(), elements.len()), (datatype, 2));
            let mut numbers = Vec::new();
            elements.numbers(&mut numbers);
            assert_eq!(numbers, [0.0, 1.0]);
            assert_eq!(elements.number(1), Some(1.0));
        }
    }
}
