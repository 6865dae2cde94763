//! A request of the Open Inference Protocol: JSON, and behind it the tensors that are sent as bytes.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{elements, python};
use crate::tensor::{Elements, NamedTensor, bytes, elements_of};

/// The header with the length of the JSON that stands before the bytes.
pub(super) const BINARY_HEADER: &str = "inference-header-content-length";
/// Most inputs of a request, and most outputs that it names.
const TENSORS_MAX: usize = 32;
/// Longest id of a prediction.
const ID_LEN_MAX: usize = 128;

/// What is asked.
pub struct Asked {
    /// Under which id the truth will be told.
    pub id: String,
    /// The inputs.
    pub inputs: Vec<NamedTensor>,
    /// Which outputs are wanted, and how.
    pub wanted: Wanted,
}

/// Which outputs are wanted, and whether as bytes.
#[derive(Default)]
pub struct Wanted {
    /// Name, and whether as bytes; none: all.
    named: Vec<(String, bool)>,
    /// Whether outputs that are not named come as bytes.
    binary: bool,
}

impl Wanted {
    /// Names of the outputs that are asked for one by one.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.named.iter().map(|(name, _)| name.as_str())
    }

    /// Whether this output is wanted, and then whether as bytes.
    pub fn output(&self, name: &str) -> Option<bool> {
        if self.named.is_empty() {
            return Some(self.binary);
        }
        self.named.iter().find(|(named, _)| named == name).map(|(_, binary)| *binary)
    }
}

#[derive(Deserialize)]
struct JsonRequest<'a> {
    id: Option<String>,
    #[serde(borrow)]
    inputs: Vec<JsonInput<'a>>,
    #[serde(default, deserialize_with = "or_default")]
    outputs: Vec<JsonOutput>,
    #[serde(default, deserialize_with = "or_default")]
    parameters: Parameters,
}

#[derive(Deserialize)]
struct JsonInput<'a> {
    name: String,
    shape: Vec<usize>,
    datatype: String,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "or_default")]
    parameters: Parameters,
}

#[derive(Deserialize)]
struct JsonOutput {
    name: String,
    #[serde(default, deserialize_with = "or_default")]
    parameters: Parameters,
}

/// What a request may say about itself, an input or an output; others are let pass.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Parameters {
    binary_data_size: Option<usize>,
    binary_data: Option<bool>,
    binary_data_output: bool,
    classification: Option<serde::de::IgnoredAny>,
    shared_memory_region: Option<serde::de::IgnoredAny>,
}

/// What is `null` is as if it were left out.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

/// Reads a request whose first `json_len` bytes are JSON; all of them where nothing is said.
///
/// # Errors
/// Says what is wrong with it.
pub fn read(body: &[u8], json_len: Option<usize>) -> Result<Asked, String> {
    let split = body.split_at_checked(json_len.unwrap_or(body.len()));
    let (json, mut bytes) = split
        .ok_or_else(|| format!("{} gives more bytes than the {} of the body", BINARY_HEADER, body.len()))?;
    let as_json;
    let unreadable = |e: serde_json::Error| format!("the request cannot be read: {e}");
    let request: JsonRequest<'_> = match serde_json::from_slice(json) {
        Ok(request) => request,
        Err(error) => {
            as_json = python::as_json(json).ok_or_else(|| unreadable(error))?;
            serde_json::from_slice(&as_json).map_err(unreadable)?
        }
    };
    if request.inputs.len().max(request.outputs.len()) > TENSORS_MAX {
        return Err(format!("at most {TENSORS_MAX} inputs and outputs are allowed"));
    }
    let id = match request.id {
        Some(id) if id.is_empty() || id.len() > ID_LEN_MAX => {
            return Err(format!("an id must have 1 to {ID_LEN_MAX} bytes"));
        }
        Some(id) => id,
        None => format!("{:016x}", rand::random::<u64>()),
    };
    let mut inputs = Vec::with_capacity(request.inputs.len());
    for input in request.inputs {
        let named = |reason: String| format!("input {:?}: {reason}", input.name);
        let data = input.elements(&mut bytes).map_err(named)?;
        inputs.push(NamedTensor { name: input.name, shape: input.shape, data });
    }
    if !bytes.is_empty() {
        return Err(format!("there are {} bytes after the last input", bytes.len()));
    }
    let all = request.parameters.binary_data_output;
    let named = request.outputs.into_iter().map(|output| {
        if output.parameters.classification.is_some() || output.parameters.shared_memory_region.is_some() {
            let name = output.name;
            return Err(format!("output {name:?}: classification and shared memory are not supported"));
        }
        Ok((output.name, output.parameters.binary_data.unwrap_or(all)))
    });
    let wanted = Wanted { named: named.collect::<Result<_, _>>()?, binary: all };
    Ok(Asked { id, inputs, wanted })
}

impl JsonInput<'_> {
    /// The elements, out of the JSON or from the beginning of the bytes behind it.
    fn elements(&self, bytes: &mut &[u8]) -> Result<Elements, String> {
        let count = elements_of(&self.shape).ok_or_else(|| format!("shape {:?} is too large", self.shape))?;
        if self.parameters.shared_memory_region.is_some() {
            return Err("shared memory is not offered".into());
        }
        let data = match (self.parameters.binary_data_size, self.data) {
            (Some(size), None) => {
                let split = bytes.split_at_checked(size);
                let (own, rest) = split.ok_or_else(|| {
                    format!("binary_data_size is {size}, {} bytes are left in the body", bytes.len())
                })?;
                *bytes = rest;
                bytes::read(&self.datatype, own, count)?
            }
            (None, Some(data)) => elements::read(&self.datatype, data, count)?,
            (Some(_), Some(_)) => return Err("it has both data and binary_data_size".into()),
            (None, None) => return Err("it has no data".into()),
        };
        if data.len() != count {
            return Err(format!("shape {:?} has {count} elements, data has {}", self.shape, data.len()));
        }
        Ok(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: &[u8], json_len: Option<usize>, part: &str) {
        let Err(error) = read(body, json_len) else { panic!("{} is taken", String::from_utf8_lossy(body)) };
        assert!(error.contains(part), "{part}: {error}");
    }

    #[test]
    fn tensors_come_in_json_or_as_bytes_behind_it() {
        let json = br#"{"id":"7","inputs":[
            {"name":"a","shape":[2],"datatype":"INT16","parameters":{"binary_data_size":4}},
            {"name":"b","shape":[1],"datatype":"FP32","data":[0.5]},
            {"name":"c","shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":6}}],
            "outputs":[{"name":"x","parameters":{"binary_data":true}},{"name":"y"}]}"#;
        let mut body = json.to_vec();
        body.extend_from_slice(&[1, 0, 2, 0, 2, 0, 0, 0, b'h', b'i']);
        let asked = read(&body, Some(json.len())).unwrap();
        assert_eq!(asked.id, "7");
        let data: Vec<&Elements> = asked.inputs.iter().map(|input| &input.data).collect();
        let text = Elements::Text(vec!["hi".into()]);
        assert_eq!(data, [&Elements::I16(vec![1, 2]), &Elements::F32(vec![0.5]), &text]);
        let wanted = |name| asked.wanted.output(name);
        assert_eq!((wanted("x"), wanted("y"), wanted("z")), (Some(true), Some(false), None));

        body.push(0);
        refused(&body, Some(json.len()), "there are 1 bytes after");
        refused(&body[..json.len() + 3], Some(json.len()), "binary_data_size is 4, 3 bytes are left");
        refused(&body, Some(100_000), "more bytes than");
        refused(&body, None, "cannot be read");
    }

    #[test]
    fn numbers_that_python_writes_and_json_has_not_are_taken() {
        let body = br#"{"id": "NaN", "outputs": null, "parameters": null, "inputs": [{"name": "x", "datatype": "FP32",
            "shape": [3], "parameters": null, "data": [NaN, -Infinity, Infinity]}]}"#;
        let asked = read(body, None).unwrap();
        let Elements::F32(found) = &asked.inputs[0].data else { panic!("{:?}", asked.inputs) };
        assert!(found[0].is_nan() && found[1..] == [f32::NEG_INFINITY, f32::INFINITY], "{found:?}");
        assert_eq!((asked.id.as_str(), asked.wanted.output("y")), ("NaN", Some(false)));
        refused(
            br#"{"inputs": [{"name": "x", "datatype": "INT8", "shape": [1], "data": [NaN]}]}"#,
            None,
            "INT8",
        );
        refused(b"[NaN", None, "cannot be read");
    }

    #[test]
    fn all_outputs_come_as_bytes_where_the_request_says_so() {
        let body = br#"{"inputs":[],"parameters":{"binary_data_output":true}}"#;
        assert_eq!(read(body, None).unwrap().wanted.output("x"), Some(true));
        assert!(!read(body, None).unwrap().id.is_empty());
    }

    #[test]
    fn what_cannot_be_taken_is_refused() {
        let input = |more: &str| format!(r#"{{"inputs":[{{"name":"x","datatype":"FP32",{more}}}]}}"#);
        let check = |more: &str, part: &str| refused(input(more).as_bytes(), None, part);
        check(r#""shape":[2],"data":[1]"#, "shape [2] has 2 elements, data has 1");
        check(r#""shape":[1]"#, "no data");
        check(r#""shape":[1],"data":[1],"parameters":{"binary_data_size":4}"#, "both");
        check(r#""shape":[4294967296,4294967296,4294967296],"data":[1]"#, "too large");
        check(r#""shape":[1],"data":[1],"parameters":{"shared_memory_region":"r"}"#, "shared memory");
        let classes = br#"{"inputs":[],"outputs":[{"name":"x","parameters":{"classification":3}}]}"#;
        refused(classes, None, "classification");
        refused(b"not json", None, "cannot be read");
        refused(b"{}", None, "inputs");
    }
}
