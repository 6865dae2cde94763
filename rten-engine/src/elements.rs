//! Elements of tensors, and how they fit rten, which has none but 32-bit floats, 32-bit integers and bytes.

use std::borrow::Cow;

use rten::{Value, ValueOrView, ValueView};
use rten_tensor::prelude::*;

/// Elements of a tensor, of each type that rten takes or gives.
#[derive(Clone, Debug, PartialEq)]
pub enum Elements<'a> {
    /// 32-bit floats.
    F32(Cow<'a, [f32]>),
    /// 8-bit integers.
    I8(Cow<'a, [i8]>),
    /// 32-bit integers.
    I32(Cow<'a, [i32]>),
    /// 64-bit integers; rten computes with 32 bits, and one that does not fit is refused.
    I64(Cow<'a, [i64]>),
    /// Bytes.
    U8(Cow<'a, [u8]>),
    /// Truths.
    Bool(Cow<'a, [bool]>),
}

impl Elements<'_> {
    /// These elements as rten takes them, without a copy where it has the type.
    ///
    /// # Errors
    /// When they do not fill the shape, or one does not fit.
    pub(crate) fn taken(&self, shape: &[usize]) -> Result<ValueOrView<'_>, String> {
        macro_rules! view {
            ($values:expr) => {
                ValueView::from_shape(shape, $values.as_ref())
                    .map(ValueOrView::from)
                    .map_err(|e| e.to_string())
            };
        }
        macro_rules! value {
            ($values:expr) => {
                Value::from_shape(shape, $values).map(ValueOrView::from).map_err(|e| e.to_string())
            };
        }
        match self {
            Elements::F32(v) => view!(v),
            Elements::I32(v) => view!(v),
            Elements::U8(v) => view!(v),
            Elements::I8(v) => view!(v),
            Elements::I64(v) => value!(v.iter().copied().map(narrowed).collect::<Result<Vec<i32>, _>>()?),
            Elements::Bool(v) => value!(v.iter().map(|&x| i32::from(x)).collect::<Vec<i32>>()),
        }
    }
}

fn narrowed(value: i64) -> Result<i32, String> {
    i32::try_from(value).map_err(|_| format!("{value} does not fit 32 bits"))
}

/// Bytes of an output's elements, of which none in rten has more than four.
pub(crate) fn bytes(value: &Value) -> usize {
    value.shape().iter().copied().fold(4, usize::saturating_mul)
}

/// Shape and elements of an output, with the element type that the file gives it.
///
/// # Errors
/// When rten gives another one.
pub(crate) fn given(datatype: &str, value: Value) -> Result<(Vec<usize>, Elements<'static>), String> {
    Ok(match (datatype, value) {
        ("FP32", Value::FloatTensor(t)) => (t.shape().to_vec(), Elements::F32(t.to_vec().into())),
        ("INT32", Value::Int32Tensor(t)) => (t.shape().to_vec(), Elements::I32(t.to_vec().into())),
        ("INT64", Value::Int32Tensor(t)) => {
            (t.shape().to_vec(), Elements::I64(t.iter().map(|&x| x.into()).collect()))
        }
        ("BOOL", Value::Int32Tensor(t)) => {
            (t.shape().to_vec(), Elements::Bool(t.iter().map(|&x| x != 0).collect()))
        }
        ("UINT8", Value::UInt8Tensor(t)) => (t.shape().to_vec(), Elements::U8(t.to_vec().into())),
        ("INT8", Value::Int8Tensor(t)) => (t.shape().to_vec(), Elements::I8(t.to_vec().into())),
        (_, value) => return Err(format!("is {datatype} in the file, and {} in rten", value.dtype())),
    })
}
