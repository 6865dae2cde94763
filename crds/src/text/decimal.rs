//! Decimal numbers: `0.85`, `-1`, `1.5e-7`.

use super::{Malformed, digits, scaled, string_form};

const WANTED: &str = "must be a decimal number such as 0.85, -1 or 1.5e-7";
const MILLIONTHS_WANTED: &str =
    "must be a decimal number with at most six decimals, such as 0.85, -1 or 0.000001";

string_form! {
    /// A decimal number as a person writes it: `0.85`, `-1`, `1.5e-7`.
    // A pattern and no rule: these stand in lists of thousands, too many for the budget that rules have.
    Decimal, max: 40,
    "pattern": r"^-?[0-9]{1,15}(\.[0-9]{1,18})?([eE][+-]?[0-9]{1,2})?$",
}

string_form! {
    /// A reading: a decimal number, or `NaN` where it is missing.
    Reading, max: 40,
    "pattern": r"^(NaN|-?[0-9]{1,15}(\.[0-9]{1,18})?([eE][+-]?[0-9]{1,2})?)$",
}

impl Reading {
    /// The nearest binary number, or not-a-number for a missing reading.
    ///
    /// # Errors
    /// When the text is neither.
    pub fn to_f64(&self) -> Result<f64, Malformed> {
        if self.as_str() == "NaN" { Ok(f64::NAN) } else { Decimal::from(self.as_str()).to_f64() }
    }
}

impl From<Decimal> for Reading {
    fn from(decimal: Decimal) -> Reading {
        Reading(decimal.0)
    }
}

impl Decimal {
    /// The value in millionths, exactly: `0.85` is 850 000.
    ///
    /// # Errors
    /// When the text is no decimal number, has an exponent, more than six decimals, or is too large.
    pub fn millionths(&self) -> Result<i64, Malformed> {
        let text = self.as_str();
        let (negative, size) = match text.strip_prefix('-') {
            Some(size) => (true, size),
            None => (false, text),
        };
        let value = scaled(size, 6).ok_or_else(|| Malformed::new(text, MILLIONTHS_WANTED))?;
        Ok(if negative { -value } else { value })
    }

    /// The nearest binary number, for tensors: the values a model takes and gives are binary anyway.
    ///
    /// # Errors
    /// When the text is no decimal number.
    pub fn to_f64(&self) -> Result<f64, Malformed> {
        let text = self.as_str();
        // Rust's own parser would also take `inf`, `nan`, `.5` and `+1`.
        well_formed(text).then(|| text.parse().ok()).flatten().ok_or_else(|| Malformed::new(text, WANTED))
    }
}

fn well_formed(text: &str) -> bool {
    let size = text.strip_prefix('-').unwrap_or(text);
    let (number, exponent) = match size.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (size, None),
    };
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (number, None),
    };
    let holds = |text: &str, most: usize| text.len() <= most && digits(text).is_some();
    holds(whole, 15) && fraction.is_none_or(|f| holds(f, 18)) && exponent.is_none_or(|e| holds(e, 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_people_write() {
        for (text, millionths) in
            [("0.85", 850_000), ("-1", -1_000_000), ("0.000001", 1), ("1.50", 1_500_000)]
        {
            assert_eq!(Decimal::from(text).millionths(), Ok(millionths), "{text}");
        }
        assert_eq!(Decimal::from("1.5e-7").to_f64(), Ok(1.5e-7));
    }

    #[test]
    fn a_reading_may_be_missing() {
        assert!(Reading::from("NaN").to_f64().unwrap().is_nan());
        assert_eq!(Reading::from("1.5").to_f64(), Ok(1.5));
        assert!(Reading::from("nan").to_f64().is_err() && Reading::from("inf").to_f64().is_err());
    }

    #[test]
    fn refuses_the_rest() {
        for text in ["", "-", ".5", "5.", "+1", "1,5", "inf", "NaN", "1e", "1e100", "0x1", "--1"] {
            assert!(Decimal::from(text).to_f64().is_err(), "{text}");
        }
        for text in ["0.0000001", "1e3", "9999999999999999"] {
            assert!(Decimal::from(text).millionths().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn millionths_are_exact(value in -999_999_999_999_i64..=999_999_999_999) {
            let sign = if value < 0 { "-" } else { "" };
            let text = format!("{sign}{}.{:06}", value.abs() / 1_000_000, value.abs() % 1_000_000);
            prop_assert_eq!(Decimal::from(text).millionths(), Ok(value));
        }

        #[test]
        fn both_readings_agree(text in "-?[0-9]{1,6}(\\.[0-9]{1,6})?") {
            let decimal = Decimal::from(text);
            let exact = decimal.millionths().unwrap() as f64 / 1e6;
            prop_assert!((exact - decimal.to_f64().unwrap()).abs() < 1e-6);
        }

        #[test]
        fn never_panics(text in ".{0,45}") {
            let _ = (Decimal::from(text.clone()).millionths(), Decimal::from(text).to_f64());
        }
    }
}
