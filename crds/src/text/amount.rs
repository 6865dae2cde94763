//! A number of devices: a count (`5`) or a share of them (`2.5%`).

use super::{Malformed, digits, percent, string_form};

const WANTED: &str = "must be a number of devices such as 5, or a percentage from 0% to 100% with at \
                      most four decimals such as 2.5%";

string_form! {
    /// A number of devices as a person writes it: `5` or `2.5%`.
    Amount, max: 9,
    "minLength": 1,
    "x-kubernetes-validations": [{
        "rule": r"self.matches('^((100(\\.0{1,4})?|[0-9]{1,2}(\\.[0-9]{1,4})?)%|0|[1-9][0-9]{0,8})$')",
        "message": WANTED,
    }],
}

/// A number of devices, parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountOrShare {
    /// So many devices.
    Count(i64),
    /// So many parts per million of the devices, from 0 to 1 000 000.
    PartsPerMillion(i64),
}

impl CountOrShare {
    /// How many of `total` devices this is at least: a started device counts as a whole one. Fits sizes: 2.5
    /// % of 50 devices is 2 devices, and 1 % of 5 is one. Never more than `total`.
    #[must_use]
    pub fn round_up(self, total: i64) -> i64 {
        self.of(total, 999_999)
    }

    /// How many of `total` devices this is at most: a started device does not count. Fits limits: 5 % of 50
    /// devices is 2 devices. Never more than `total`.
    #[must_use]
    pub fn round_down(self, total: i64) -> i64 {
        self.of(total, 0)
    }

    fn of(self, total: i64, extra: i128) -> i64 {
        let total = total.max(0);
        match self {
            Self::Count(count) => count.min(total),
            Self::PartsPerMillion(ppm) => {
                let exact = (i128::from(total) * i128::from(ppm) + extra) / 1_000_000;
                i64::try_from(exact).unwrap_or(total).min(total)
            }
        }
    }
}

impl Amount {
    /// The value, parsed.
    ///
    /// # Errors
    /// When the text is neither a count nor a percent from 0 to 100.
    pub fn value(&self) -> Result<CountOrShare, Malformed> {
        let text = self.as_str();
        let parsed = if text.ends_with('%') {
            percent::parse(text).map(CountOrShare::PartsPerMillion)
        } else {
            let canonical = text == "0" || !text.starts_with('0');
            digits(text).filter(|n| canonical && *n <= 999_999_999).map(CountOrShare::Count)
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
        assert_eq!(Amount::from("5").value(), Ok(CountOrShare::Count(5)));
        assert_eq!(Amount::from("2.5%").value(), Ok(CountOrShare::PartsPerMillion(25_000)));
        for text in ["", "05", "-5", "5.5", "101%", "1000000000", "five"] {
            assert!(Amount::from(text).value().is_err(), "{text}");
        }
    }

    #[test]
    fn rounds_sizes_up_and_limits_down() {
        let share = CountOrShare::PartsPerMillion(25_000);
        assert_eq!((share.round_up(200), share.round_down(200)), (5, 5));
        assert_eq!((share.round_up(201), share.round_down(201)), (6, 5));
        assert_eq!((share.round_up(0), CountOrShare::Count(9).round_up(3)), (0, 3));
    }

    proptest! {
        #[test]
        fn stays_within_the_total(ppm in 0_i64..=1_000_000, total in 0_i64..10_000_000) {
            let share = CountOrShare::PartsPerMillion(ppm);
            let (low, high) = (share.round_down(total), share.round_up(total));
            prop_assert!(0 <= low && low <= high && high <= total && high - low <= 1);
        }

        #[test]
        fn never_panics(text in ".{0,20}") {
            let _ = Amount::from(text).value();
        }
    }
}
