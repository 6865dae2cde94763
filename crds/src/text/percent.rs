//! Percents from 0 to 100: `5%`, `2.5%`, `0.01%`.

use super::{Malformed, scaled, string_form};

const WANTED: &str =
    "must be a percentage from 0% to 100% with at most four decimals, such as 5%, 2.5% or 0.01%";

string_form! {
    /// A percent as a person writes it: `5%`, `2.5%`, `0.01%`. Exact to one part per million.
    Percent, max: 8,
    "x-kubernetes-validations": [{
        "rule": r"self.matches('^(100(\\.0{1,4})?|[0-9]{1,2}(\\.[0-9]{1,4})?)%$')",
        "message": WANTED,
    }],
}

impl Percent {
    /// The value in parts per million, from 0 to 1 000 000.
    ///
    /// # Errors
    /// When the text is not a percent from 0 to 100.
    pub fn parts_per_million(&self) -> Result<i64, Malformed> {
        parse(self.as_str()).ok_or_else(|| Malformed::new(self.as_str(), WANTED))
    }
}

/// Parts per million of a percent from 0 to 100.
pub(super) fn parse(text: &str) -> Option<i64> {
    parse_unbounded(text).filter(|ppm| *ppm <= 1_000_000)
}

/// Parts per million of any percent: a bound relative to a baseline may be 110%.
pub(super) fn parse_unbounded(text: &str) -> Option<i64> {
    let number = text.strip_suffix('%')?;
    if number.split_once('.').is_some_and(|(_, fraction)| fraction.len() > 4) {
        return None;
    }
    scaled(number, 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_people_write() {
        for (text, ppm) in [("5%", 50_000), ("2.5%", 25_000), ("0.01%", 100), ("100%", 1_000_000), ("0%", 0)]
        {
            assert_eq!(Percent::from(text).parts_per_million(), Ok(ppm), "{text}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        for text in ["", "5", "%", "101%", "-1%", "1.23456%", ".5%", "5.%", "1e1%", " 5%"] {
            assert!(Percent::from(text).parts_per_million().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn is_exact(ppm in 0_i64..=1_000_000) {
            let text = format!("{}.{:04}%", ppm / 10_000, ppm % 10_000);
            prop_assert_eq!(Percent::from(text).parts_per_million(), Ok(ppm));
        }

        #[test]
        fn never_panics(text in ".{0,20}") {
            let _ = Percent::from(text).parts_per_million();
        }
    }
}
