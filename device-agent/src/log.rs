//! The log: its form, and how an error looks in it.

use crate::config::{CommonArgs, LogForm};

/// Starts the log on the standard error output.
pub fn start(common: &CommonArgs) {
    let log = tracing_subscriber::fmt().with_max_level(common.log_level).with_writer(std::io::stderr);
    match common.log {
        LogForm::Text => log.with_target(false).with_ansi(false).init(),
        LogForm::Json => log.json().flatten_event(true).init(),
    }
}

/// Longest text of an error and its sources, bytes: what came from outside may be in it, whatever its length.
const CHAIN_BYTES_MAX: usize = 1024;

/// An error and its sources on one line, cut and without control characters.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let end =
        text.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= CHAIN_BYTES_MAX).last();
    let cut = end.unwrap_or(0) < text.len();
    let mut line: String = text[..end.unwrap_or(0)].chars().map(plain).collect();
    if cut {
        line.push_str("...");
    }
    line
}
