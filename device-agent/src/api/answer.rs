//! An answer of the Open Inference Protocol: JSON, and behind it the outputs that are wanted as bytes.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;

use super::elements::Written;
use super::request::{BINARY_HEADER, Wanted};
use super::{Refusal, bodies};
use crate::serve::Answer;
use crate::tensor::{NamedTensor, bytes};

#[derive(Serialize)]
struct JsonAnswer<'a> {
    model_name: &'a str,
    model_version: &'a str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Instead<'a>>,
    outputs: Vec<JsonOutput<'a>>,
}

/// Told where the model did not answer itself.
#[derive(Serialize)]
struct Instead<'a> {
    fallback: bool,
    filtered_by: Option<&'a str>,
}

#[derive(Serialize)]
struct JsonOutput<'a> {
    name: &'a str,
    datatype: &'static str,
    shape: &'a [usize],
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Size>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Written<'a>>,
}

#[derive(Serialize)]
struct Size {
    binary_data_size: usize,
}

/// The answer with the outputs that are wanted.
///
/// # Errors
/// When it is too large.
pub(super) fn write(model: &str, id: &str, answer: &Answer, wanted: &Wanted) -> Result<Response, Refusal> {
    let mut bytes = Vec::new();
    let mut output = |tensor: &'_ NamedTensor, as_bytes: bool| {
        let before = bytes.len();
        if as_bytes {
            bytes::write(&tensor.data, &mut bytes);
        }
        as_bytes.then(|| Size { binary_data_size: bytes.len() - before })
    };
    let mut outputs = Vec::new();
    for tensor in &answer.outputs {
        let Some(as_bytes) = wanted.output(&tensor.name) else { continue };
        let parameters = output(tensor, as_bytes);
        let data = parameters.is_none().then_some(Written(&tensor.data));
        let NamedTensor { name, shape, .. } = tensor;
        outputs.push(JsonOutput { name, datatype: tensor.data.datatype(), shape, parameters, data });
    }
    let instead = Instead { fallback: true, filtered_by: answer.filtered_by.as_deref() };
    let json = bodies::written(&JsonAnswer {
        model_name: model,
        model_version: &answer.version,
        id,
        parameters: answer.fallback.then_some(instead),
        outputs,
    })?;
    if bytes.is_empty() {
        let kind = (CONTENT_TYPE, HeaderValue::from_static("application/json"));
        return Ok((StatusCode::OK, [kind], Body::from(json)).into_response());
    }
    let length = HeaderValue::from(json.len());
    let kind = (CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    let headers = [kind, (HeaderName::from_static(BINARY_HEADER), length)];
    let mut body = json;
    body.append(&mut bytes);
    Ok((StatusCode::OK, headers, Body::from(body)).into_response())
}
