//! Numbers as the shortest decimal text that gives the same number back.

use modelfleet_crds::text::Decimal;

/// Digits that the API takes before and after the point.
const WHOLE_DIGITS_MAX: usize = 15;
const FRACTION_DIGITS_MAX: usize = 18;

/// The text of a double; nothing for what is not finite or not in the range of the API's decimals.
#[must_use]
pub fn decimal(value: f64) -> Option<Decimal> {
    if value != 0.0 && value.abs() < 1e-99 {
        return Some(Decimal::from("0"));
    }
    shorter(value == 0.0, value.is_finite(), &format!("{value}"), &format!("{value:e}"))
}

/// The text of a float: shorter than that of the same number as a double.
#[must_use]
pub fn decimal_of_f32(value: f32) -> Option<Decimal> {
    shorter(value == 0.0, value.is_finite(), &format!("{value}"), &format!("{value:e}"))
}

fn shorter(is_zero: bool, is_finite: bool, plain: &str, scientific: &str) -> Option<Decimal> {
    if is_zero {
        return Some(Decimal::from("0"));
    }
    let text = if fits(plain) && plain.len() <= scientific.len() + 2 { plain } else { scientific };
    let decimal = Decimal::from(text);
    (is_finite && decimal.to_f64().is_ok()).then_some(decimal)
}

fn fits(plain: &str) -> bool {
    let (whole, fraction) = plain.trim_start_matches('-').split_once('.').unwrap_or((plain, ""));
    whole.len() <= WHOLE_DIGITS_MAX && fraction.len() <= FRACTION_DIGITS_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_are_short() {
        for (value, text) in [(0.12, "0.12"), (-1.0, "-1"), (1.5e-7, "1.5e-7"), (-0.0, "0"), (1e20, "1e20")] {
            assert_eq!(decimal(value).unwrap().as_str(), text);
        }
        assert_eq!(decimal_of_f32(0.1).unwrap().as_str(), "0.1");
        assert_eq!(decimal(f64::NAN), None);
        assert_eq!(decimal(1e200), None);
    }

    proptest! {
        #[test]
        fn comes_back(value in -1e30_f64..1e30) {
            prop_assert_eq!(decimal(value).unwrap().to_f64().unwrap(), value);
        }

        #[test]
        fn a_float_comes_back(bits: u32) {
            let value = f32::from_bits(bits);
            prop_assume!(value.is_finite());
            prop_assert_eq!(decimal_of_f32(value).unwrap().to_f64().unwrap() as f32, value);
        }
    }
}
