//! Tensors as the local API and the engines exchange them.

use modelfleet_protocol::model::Values;

/// Most dimensions of a tensor that comes from outside.
pub const RANK_MAX: usize = 8;

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

/// Elements of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum Elements {
    /// `FP32`.
    F32(Vec<f32>),
    /// `FP64`.
    F64(Vec<f64>),
    /// `INT64`.
    I64(Vec<i64>),
    /// `INT32`.
    I32(Vec<i32>),
    /// `UINT8`.
    U8(Vec<u8>),
    /// `BOOL`.
    Bool(Vec<bool>),
    /// `BYTES`: texts.
    Text(Vec<String>),
}

impl Elements {
    /// How many elements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Elements::F32(v) => v.len(),
            Elements::F64(v) => v.len(),
            Elements::I64(v) => v.len(),
            Elements::I32(v) => v.len(),
            Elements::U8(v) => v.len(),
            Elements::Bool(v) => v.len(),
            Elements::Text(v) => v.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element type in the words of the Open Inference Protocol.
    #[must_use]
    pub fn datatype(&self) -> &'static str {
        match self {
            Elements::F32(_) => "FP32",
            Elements::F64(_) => "FP64",
            Elements::I64(_) => "INT64",
            Elements::I32(_) => "INT32",
            Elements::U8(_) => "UINT8",
            Elements::Bool(_) => "BOOL",
            Elements::Text(_) => "BYTES",
        }
    }

    /// The elements as numbers into `into`, which is emptied first; a text that is no number becomes NaN.
    pub fn numbers(&self, into: &mut Vec<f64>) {
        into.clear();
        match self {
            Elements::F32(v) => into.extend(v.iter().map(|&x| f64::from(x))),
            Elements::F64(v) => into.extend_from_slice(v),
            // Labels and counts stay far below 2^53.
            #[allow(clippy::cast_precision_loss)]
            Elements::I64(v) => into.extend(v.iter().map(|&x| x as f64)),
            Elements::I32(v) => into.extend(v.iter().map(|&x| f64::from(x))),
            Elements::U8(v) => into.extend(v.iter().map(|&x| f64::from(x))),
            Elements::Bool(v) => into.extend(v.iter().map(|&x| f64::from(u8::from(x)))),
            Elements::Text(v) => into.extend(v.iter().map(|x| x.parse().unwrap_or(f64::NAN))),
        }
    }

    /// Elements of a datatype of the Open Inference Protocol from numbers; `None` for one that no engine takes.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn of_datatype(datatype: &str, numbers: &[f64]) -> Option<Elements> {
        Some(match datatype {
            "FP32" => Elements::F32(numbers.iter().map(|&x| x as f32).collect()),
            "FP64" => Elements::F64(numbers.to_vec()),
            "INT64" => Elements::I64(numbers.iter().map(|&x| x as i64).collect()),
            "INT32" => Elements::I32(numbers.iter().map(|&x| x as i32).collect()),
            "UINT8" => Elements::U8(numbers.iter().map(|&x| x as u8).collect()),
            "BOOL" => Elements::Bool(numbers.iter().map(|&x| x != 0.0).collect()),
            _ => return None,
        })
    }
}

/// How many elements a shape has; `None` when it has too many dimensions or the number overflows.
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
}
