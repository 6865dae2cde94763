//! Durations: `7d`, `1h30m`, `30s`, `500ms`.
//!
//! Parsed here and not by a crate, because it must take exactly what the CEL rule in the schema takes, which is less than
//! what their parsers take.

use super::{Malformed, digits, string_form};

const WANTED: &str = "must be a duration such as 7d, 1h30m, 30s or 500ms: whole numbers of at most six digits, each with its \
                      unit d, h, m, s or ms, from long to short, each unit at most once, without spaces";

/// Milliseconds in each unit, in the order they must be written.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

string_form! {
    /// A duration as a person writes it: `7d`, `1h30m`, `30s`, `500ms`.
    DurationText, max: 32,
    "x-kubernetes-validations": [{
        "rule": "size(self) > 1 && self.matches('^([0-9]{1,6}d)?([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?([0-9]{1,6}ms)?$')",
        "message": WANTED,
    }],
}

impl DurationText {
    /// The length in milliseconds.
    ///
    /// # Errors
    /// When the text is not a duration.
    pub fn milliseconds(&self) -> Result<u64, Malformed> {
        parse(self.as_str()).ok_or_else(|| Malformed::new(self.as_str(), WANTED))
    }

    /// The shortest text for this many milliseconds. Days beyond six digits are cut, which is 2 700 years.
    #[must_use]
    pub fn from_milliseconds(ms: u64) -> Self {
        let mut left = ms.min(999_999 * UNITS[0].1 + (UNITS[0].1 - 1));
        let mut text = String::new();
        for (unit, size) in UNITS {
            let count = left / size;
            left %= size;
            if count > 0 {
                text.push_str(&format!("{count}{unit}"));
            }
        }
        if text.is_empty() { Self::from("0s") } else { Self(text) }
    }
}

pub(super) fn parse(text: &str) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    let mut rest = text;
    let mut total: u64 = 0;
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(number_end);
        let unit_end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        // Going on with the same iterator is what refuses a repeated unit and a wrong order.
        let (_, size) = units.find(|(name, _)| *name == unit)?;
        if number.len() > 6 {
            return None;
        }
        total += u64::try_from(digits(number)?).ok()? * size;
        rest = tail;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_people_write() {
        for (text, ms) in
            [("7d", 604_800_000), ("1h30m", 5_400_000), ("30s", 30_000), ("500ms", 500), ("0s", 0)]
        {
            assert_eq!(DurationText::from(text).milliseconds(), Ok(ms), "{text}");
        }
    }

    #[test]
    fn refuses_the_rest_and_says_what_is_wanted() {
        for text in ["", "7", "d", "1.5h", "-1s", "1m1h", "1h1h", "1 h", "1w", "1234567s", "1h "] {
            let refused = DurationText::from(text).milliseconds().unwrap_err().to_string();
            assert!(refused.contains("1h30m"), "{refused}");
        }
    }

    proptest! {
        #[test]
        fn comes_back(ms in 0_u64..86_400_000 * 1_000_000) {
            prop_assert_eq!(DurationText::from_milliseconds(ms).milliseconds(), Ok(ms));
        }

        #[test]
        fn never_panics(text in ".{0,40}") {
            let _ = DurationText::from(text).milliseconds();
        }
    }
}
