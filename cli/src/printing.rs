//! Errors as a person reads them.

use std::error::Error;

use crate::table::one_line;

/// Longest cause that is shown: servers answer with whole pages.
const CAUSE_CHARS_MAX: usize = 600;

/// An error with its causes. Libraries repeat the cause in their own words; what was said is not said again.
#[must_use]
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let words: String = one_line(&next.to_string()).chars().take(CAUSE_CHARS_MAX).collect();
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
    #[error("{said}")]
    struct Said {
        said: &'static str,
        source: Option<Box<Said>>,
    }

    #[test]
    fn nothing_is_said_twice() {
        let last = Said { said: "refused", source: None };
        let middle = Said { said: "connect: refused\u{7}", source: Some(Box::new(last)) };
        let first = Said { said: "list rollouts", source: Some(Box::new(middle)) };
        assert_eq!(with_causes(&first), "list rollouts: connect: refused ");
    }
}
