//! Traces of what the controller does: reconciles with their steps, checks of artifacts, and attempts of rollouts from plan to
//! activation. Lines of the log carry the id of
//! the trace that they belong to; with `--otlp-endpoint` the spans are sent to a collector.
//!
//! The exporter is ours: OTLP over HTTP in JSON is a page of code, and every user would compile the crates of OpenTelemetry.

pub mod attempt;
pub mod export;
pub mod layer;
pub mod otlp;

/// Target of the spans that are traces. They have the level of errors, so that a quiet log still knows to which trace a line
/// belongs.
pub const TARGET: &str = "modelfleet::trace";

/// A new id of a trace: 32 hexadecimal digits, by chance.
#[must_use]
pub fn new_trace_id() -> String {
    format!("{:032x}", rand::random::<u128>().max(1))
}
