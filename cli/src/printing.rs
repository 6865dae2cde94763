//! What reaches a person: answers on standard output, notes and errors on standard error.

use std::error::Error;
use std::io::{self, Write};

use crate::table::one_line;

/// Longest cause that is printed: servers answer with whole pages.
const CAUSE_CHARS_MAX: usize = 600;

/// The answer did not reach its reader.
#[derive(Debug, thiserror::Error)]
#[error("write the answer")]
pub struct AnswerError(#[source] io::Error);

impl AnswerError {
    /// Whether the reader has closed the pipe, as `head` does; then there is no error to print.
    #[must_use]
    pub fn is_reader_gone(&self) -> bool {
        self.0.kind() == io::ErrorKind::BrokenPipe
    }
}

/// Writes an answer to standard output. `print!` would panic when the reader has closed the pipe.
///
/// # Errors
/// When it cannot be written to its end.
pub fn answer(text: &str) -> Result<(), AnswerError> {
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes()).and_then(|()| output.flush()).map_err(AnswerError)
}

/// Writes something worth knowing to standard error, so that what is on standard output stays an answer.
pub fn note(text: &str) {
    print_line("note", text);
}

/// Writes why nothing was done to standard error.
pub fn error(text: &str) {
    print_line("error", text);
}

fn print_line(level: &str, text: &str) {
    let lines: Vec<String> = text.lines().map(one_line).collect();
    // If standard error is closed, there is no place left to report that.
    let _ = writeln!(io::stderr(), "{level}: {}", lines.join("\n"));
}

/// Another program's words: on one line, and no whole page.
#[must_use]
pub fn cut(text: &str) -> String {
    one_line(text).chars().take(CAUSE_CHARS_MAX).collect()
}

/// An error with its causes. Libraries repeat the cause in their own words; what was printed is not repeated.
#[must_use]
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let words = cut(&next.to_string());
        if !text.contains(words.trim()) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = next.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{message}")]
    struct Failure {
        message: &'static str,
        source: Option<Box<Failure>>,
    }

    #[test]
    fn nothing_is_said_twice() {
        let last = Failure { message: "refused", source: None };
        let middle = Failure { message: "connect: refused\u{7}", source: Some(Box::new(last)) };
        let first = Failure { message: "list rollouts", source: Some(Box::new(middle)) };
        assert_eq!(with_causes(&first), "list rollouts: connect: refused ");
    }
}
