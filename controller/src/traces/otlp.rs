//! Spans in the form of OTLP, as JSON.

use serde_json::{Value, json};

/// Path of the spans below an endpoint.
pub const PATH: &str = "v1/traces";
/// Most characters of an attribute.
const TEXT_MAX: usize = 256;

/// What an attribute says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// A text.
    Text(String),
    /// A number.
    Number(i64),
    /// Whether something is so.
    Flag(bool),
}

/// One span that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpanRecord {
    /// Its trace: 32 hexadecimal digits.
    pub trace_id: String,
    /// Itself.
    pub span_id: u64,
    /// The span in which it began.
    pub parent: Option<u64>,
    /// What it is about.
    pub name: &'static str,
    /// When it began, nanoseconds since 1970.
    pub start_ns: u64,
    /// When it ended.
    pub end_ns: u64,
    /// What is known of it.
    pub attributes: Vec<(&'static str, Attribute)>,
    /// What went wrong, if something did.
    pub error: Option<String>,
}

fn cut(text: &str) -> String {
    text.chars().take(TEXT_MAX).collect()
}

fn attribute(key: &str, value: &Attribute) -> Value {
    let value = match value {
        Attribute::Text(text) => json!({ "stringValue": cut(text) }),
        // 64 bits are a text in this form.
        Attribute::Number(number) => json!({ "intValue": number.to_string() }),
        Attribute::Flag(flag) => json!({ "boolValue": flag }),
    };
    json!({ "key": key, "value": value })
}

fn span(span: &SpanRecord) -> Value {
    let attributes: Vec<Value> = span.attributes.iter().map(|(key, value)| attribute(key, value)).collect();
    let mut form = json!({
        "traceId": span.trace_id,
        "spanId": format!("{:016x}", span.span_id),
        "name": span.name,
        // Internal: neither asked for by a client nor asking a server.
        "kind": 1,
        "startTimeUnixNano": span.start_ns.to_string(),
        "endTimeUnixNano": span.end_ns.max(span.start_ns).to_string(),
        "attributes": attributes,
    });
    if let Some(parent) = span.parent {
        form["parentSpanId"] = format!("{parent:016x}").into();
    }
    if let Some(error) = &span.error {
        form["status"] = json!({ "code": 2, "message": cut(error) });
    }
    form
}

/// The body of a request with these spans, of the process with this name.
#[must_use]
pub fn request(instance: &str, spans: &[SpanRecord]) -> Value {
    let about = |key: &str, text: &str| attribute(key, &Attribute::Text(text.to_owned()));
    json!({
        "resourceSpans": [{
            "resource": { "attributes": [
                about("service.name", "modelfleet-controller"),
                about("service.version", env!("CARGO_PKG_VERSION")),
                about("service.instance.id", instance),
            ] },
            "scopeSpans": [{
                "scope": { "name": "modelfleet" },
                "spans": spans.iter().map(span).collect::<Vec<_>>(),
            }],
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_the_form_of_the_standard() {
        let record = SpanRecord {
            trace_id: "5b8efff798038103d269b633813fc60c".into(),
            span_id: 0xeee1_9b7e_c3c1_b174,
            parent: Some(0xeee1_9b7e_c3c1_b173),
            name: "decide",
            start_ns: 1_544_712_660_000_000_000,
            end_ns: 1_544_712_661_000_000_000,
            attributes: vec![
                ("model", Attribute::Text("m".repeat(300))),
                ("rollouts", Attribute::Number(3)),
                ("sent", Attribute::Flag(true)),
            ],
            error: Some("the API server is away".into()),
        };
        let form = request("pod-1", &[record]);
        let span = &form["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
        let expected = json!({
            "traceId": "5b8efff798038103d269b633813fc60c",
            "spanId": "eee19b7ec3c1b174",
            "parentSpanId": "eee19b7ec3c1b173",
            "name": "decide",
            "kind": 1,
            "startTimeUnixNano": "1544712660000000000",
            "endTimeUnixNano": "1544712661000000000",
            "attributes": [
                { "key": "model", "value": { "stringValue": "m".repeat(256) } },
                { "key": "rollouts", "value": { "intValue": "3" } },
                { "key": "sent", "value": { "boolValue": true } },
            ],
            "status": { "code": 2, "message": "the API server is away" },
        });
        assert_eq!(span, &expected);
        let service = &form["resourceSpans"][0]["resource"]["attributes"][0];
        assert_eq!(service["value"]["stringValue"], "modelfleet-controller");
    }
}
