//! Tensors of the Open Inference Protocol as JSON.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::tensor::{Elements, NamedTensor, RANK_MAX, elements_of};

/// Most inputs of a request.
const INPUTS_MAX: usize = 32;

/// A request. Fields that are not looked at (`parameters`, `outputs`) are let pass.
#[derive(Deserialize)]
pub(super) struct InferRequest {
    pub(super) id: Option<String>,
    #[serde(deserialize_with = "few")]
    pub(super) inputs: Vec<JsonTensor>,
}

#[derive(Deserialize)]
pub(super) struct JsonTensor {
    name: String,
    shape: Vec<usize>,
    datatype: String,
    data: Value,
}

fn few<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<JsonTensor>, D::Error> {
    let inputs = Vec::<JsonTensor>::deserialize(from)?;
    if inputs.len() > INPUTS_MAX {
        return Err(serde::de::Error::custom(format!("at most {INPUTS_MAX} inputs are taken")));
    }
    Ok(inputs)
}

impl TryFrom<JsonTensor> for NamedTensor {
    type Error = String;

    fn try_from(json: JsonTensor) -> Result<NamedTensor, String> {
        let JsonTensor { name, shape, datatype, data } = json;
        let count =
            elements_of(&shape).ok_or_else(|| format!("input {name:?}: shape {shape:?} is too large"))?;
        let refuse = |reason: &str| format!("input {name:?}: {reason}");
        let data = if datatype == "BYTES" {
            let mut texts = Vec::new();
            flatten(&data, 0, &mut |value| value.as_str().map(|t| texts.push(t.to_owned())))
                .ok_or_else(|| refuse("data of BYTES are texts"))?;
            Elements::Text(texts)
        } else if datatype == "INT64" {
            // Not by way of f64, which is exact to 2^53 only.
            let mut numbers = Vec::new();
            flatten(&data, 0, &mut |value| value.as_i64().map(|n| numbers.push(n)))
                .ok_or_else(|| refuse("data of INT64 are whole numbers"))?;
            Elements::I64(numbers)
        } else {
            let mut numbers = Vec::new();
            let number = &mut |value: &Value| {
                let number = match value {
                    // JSON has no NaN: a missing value is null.
                    Value::Null => f64::NAN,
                    Value::Bool(truth) => f64::from(u8::from(*truth)),
                    other => other.as_f64()?,
                };
                numbers.push(number);
                Some(())
            };
            flatten(&data, 0, number).ok_or_else(|| refuse("data are numbers or null"))?;
            Elements::of_datatype(&datatype, &numbers)
                .ok_or_else(|| refuse(&format!("datatype {datatype:?} is not taken")))?
        };
        if data.len() != count {
            return Err(refuse(&format!("shape {shape:?} has {count} elements, data has {}", data.len())));
        }
        Ok(NamedTensor { name, shape, data })
    }
}

/// Data may be flat or nested as the shape is; both are in row-major order.
fn flatten(value: &Value, depth: usize, each: &mut impl FnMut(&Value) -> Option<()>) -> Option<()> {
    match value {
        Value::Array(values) if depth < RANK_MAX => values
            .iter()
            .try_for_each(|v| if v.is_array() { flatten(v, depth + 1, each) } else { each(v) }.ok_or(()))
            .ok(),
        _ => None,
    }
}

/// An output as JSON.
pub(super) fn output(tensor: &NamedTensor) -> Value {
    let data = match &tensor.data {
        Elements::F16(v) => json!(v.iter().map(|x| x.to_f32()).collect::<Vec<f32>>()),
        Elements::Bf16(v) => json!(v.iter().map(|x| x.to_f32()).collect::<Vec<f32>>()),
        Elements::F32(v) => json!(v),
        Elements::F64(v) => json!(v),
        Elements::I8(v) => json!(v),
        Elements::I16(v) => json!(v),
        Elements::I32(v) => json!(v),
        Elements::I64(v) => json!(v),
        Elements::U8(v) => json!(v),
        Elements::U16(v) => json!(v),
        Elements::U32(v) => json!(v),
        Elements::U64(v) => json!(v),
        Elements::Bool(v) => json!(v),
        Elements::Text(v) => json!(v),
    };
    json!({"name": tensor.name, "datatype": tensor.data.datatype(), "shape": tensor.shape, "data": data})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(shape: &str, datatype: &str, data: &str, expected: Option<Elements>) {
        let text = format!(r#"{{"name":"x","shape":{shape},"datatype":"{datatype}","data":{data}}}"#);
        let json: JsonTensor = serde_json::from_str(&text).unwrap();
        assert_eq!(NamedTensor::try_from(json).ok().map(|t| t.data), expected, "{text}");
    }

    #[test]
    fn data_come_flat_or_nested() {
        let expected = || Some(Elements::F32(vec![1.0, 2.0, 3.0, 4.0]));
        check("[2,2]", "FP32", "[1,2,3,4]", expected());
        check("[2,2]", "FP32", "[[1,2],[3,4]]", expected());
        check("[2,2]", "FP32", "[1,2,3]", None);
        check("[1]", "FP32", "[\"1\"]", None);
        check("[1]", "FP16", "[1]", None);
        check("[1]", "INT64", "[9007199254740993]", Some(Elements::I64(vec![9_007_199_254_740_993])));
        check("[1]", "BYTES", "[\"a\"]", Some(Elements::Text(vec!["a".into()])));
        check("[1]", "FP32", "[[[[[[[[[[1]]]]]]]]]]", None);
        check("[4294967296,4294967296,4294967296]", "FP32", "[1]", None);
    }

    #[test]
    fn null_is_a_missing_value() {
        let text = r#"{"name":"x","shape":[2],"datatype":"FP32","data":[1,null]}"#;
        let json: JsonTensor = serde_json::from_str(text).unwrap();
        let Elements::F32(values) = NamedTensor::try_from(json).unwrap().data else { panic!("FP32") };
        assert!(values[1].is_nan());
    }
}
