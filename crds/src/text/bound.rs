//! The bound of a service level objective: `1%`, `0.2`, `500ms`.

use super::{Malformed, duration, percent, scaled, string_form};

const WANTED: &str = "must be a percentage such as 1%, a decimal number such as 0.2 (at most six decimals), or \
                      for a latency a time such as 500ms or 2s";

string_form! {
    /// The bound of a service level objective as a person writes it: `1%`, `0.2`, `500ms`.
    Bound, max: 16,
    "minLength": 1,
    "x-kubernetes-validations": [{
        "rule": r"self.matches('^([0-9]{1,4}(\\.[0-9]{1,4})?%|[0-9]{1,6}(\\.[0-9]{1,6})?|[0-9]{1,6}(ms|s))$')",
        "message": WANTED,
    }],
}

/// A bound, parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoundValue {
    /// A ratio or score in millionths: `1%` and `0.01` are both 10 000.
    Millionths(i64),
    /// A time in milliseconds.
    Milliseconds(i64),
}

impl Bound {
    /// The value, parsed.
    ///
    /// # Errors
    /// When the text is none of a percent, a decimal number and a time.
    pub fn value(&self) -> Result<BoundValue, Malformed> {
        let text = self.as_str();
        let parsed = if text.ends_with('%') {
            percent::parse_unbounded(text).map(BoundValue::Millionths)
        } else if text.ends_with('s') {
            duration::parse(text).and_then(|ms| i64::try_from(ms).ok()).map(BoundValue::Milliseconds)
        } else {
            scaled(text, 6).map(BoundValue::Millionths)
        };
        parsed.ok_or_else(|| Malformed::new(text, WANTED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_people_write() {
        for (text, value) in [
            ("1%", BoundValue::Millionths(10_000)),
            ("0.01", BoundValue::Millionths(10_000)),
            ("110%", BoundValue::Millionths(1_100_000)),
            ("0.2", BoundValue::Millionths(200_000)),
            ("500ms", BoundValue::Milliseconds(500)),
            ("2s", BoundValue::Milliseconds(2_000)),
        ] {
            assert_eq!(Bound::from(text).value(), Ok(value), "{text}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        for text in ["", "-1%", "1.", "0.0000001", "s", "ms", "1 s", "1e3", "fast"] {
            assert!(Bound::from(text).value().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,20}") {
            let _ = Bound::from(text).value();
        }
    }
}
