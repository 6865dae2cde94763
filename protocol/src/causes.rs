//! An error and its causes in one line, for logs and for what people read.

use std::error::Error;

/// An error and all its causes, joined by colons. A cause whose words stand in the text already is left out: many errors
/// repeat what they rest on.
#[must_use]
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Told(&'static str, #[source] Option<Box<Told>>);

    #[test]
    fn every_cause_is_told_once() {
        let cause = Told("the disk is full", None);
        let middle = Told("write the plan: the disk is full", Some(Box::new(cause)));
        let error = Told("keep the plan", Some(Box::new(middle)));
        assert_eq!(with_causes(&error), "keep the plan: write the plan: the disk is full");
    }
}
