//! Days of the calendar, in UTC: the folders of history.

/// Milliseconds of a day.
pub const DAY_MS: u64 = 86_400_000;

/// A date of the Gregorian calendar, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    /// Year.
    pub year: i64,
    /// Month, from 1.
    pub month: u8,
    /// Day of the month, from 1.
    pub day: u8,
}

impl Date {
    /// The date of a moment, milliseconds since 1970.
    #[must_use]
    pub fn of(ms: u64) -> Date {
        // Days since 0000-03-01, in eras of 400 years (Howard Hinnant, "chrono-compatible low-level date algorithms").
        let days = i64::try_from(ms / DAY_MS).unwrap_or(0) + 719_468;
        let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let from_march = (5 * of_year + 2) / 153;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let day = of_year - (153 * from_march + 2) / 5 + 1;
        let small = |number: i64| u8::try_from(number).unwrap_or(0);
        Date { year: year + era * 400 + i64::from(month <= 2), month: small(month), day: small(day) }
    }

    /// When the day begins, milliseconds since 1970; zero for days before.
    #[must_use]
    pub fn start_ms(self) -> u64 {
        let year = if self.month <= 2 { self.year - 1 } else { self.year };
        let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let from_march = (i64::from(self.month) + 9) % 12;
        let of_year = (153 * from_march + 2) / 5 + i64::from(self.day) - 1;
        let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
        u64::try_from(days).unwrap_or(0).saturating_mul(DAY_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_four_centuries_has_its_own_date() {
        let mut before = Date { year: 1969, month: 12, day: 31 };
        for day in 0..146_097_u64 {
            let date = Date::of(day * DAY_MS + DAY_MS - 1);
            assert!(date > before, "{date:?}");
            assert_eq!(date.start_ms(), day * DAY_MS);
            before = date;
        }
        assert_eq!(Date::of(1_709_164_800_000), Date { year: 2024, month: 2, day: 29 });
        assert_eq!(Date::of(1_796_083_200_000), Date { year: 2026, month: 12, day: 1 });
    }
}
