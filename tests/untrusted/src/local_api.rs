//! What a program on the device sends to the local API.

use modelfleet_agent::api::request::read;

/// How long the JSON before the bytes is, in the first line, as a header says it; the body behind. A request that is taken has
/// as many elements as its shapes say.
#[must_use]
pub fn request(bytes: &[u8]) -> bool {
    let at = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let length = std::str::from_utf8(&bytes[..at]).ok().and_then(|text| text.parse().ok());
    let body = bytes.get(at + 1..).unwrap_or_default();
    let Ok(asked) = read(body, length) else { return false };
    for input in &asked.inputs {
        let elements: usize = input.shape.iter().product();
        assert_eq!(input.data.len(), elements, "{}", input.name);
    }
    assert!(asked.inputs.len() <= 32 && (1..=128).contains(&asked.id.len()));
    for name in asked.wanted.names() {
        assert!(asked.wanted.output(name).is_some());
    }
    true
}
