//! What a detector costs in a year and what it saves: the arithmetic of its alarms, in whole cents.
//!
//! Of the events that matter a detector finds some and misses the others, and it raises false alarms. Each has its cost.
//! Without a detector every event costs what a missed one costs.

/// Milliseconds of a year of 365 days.
pub const YEAR_MS: u64 = 365 * 86_400_000;

/// What each outcome costs, cents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Costs {
    /// An event that was missed: the repair and the downtime of an unplanned failure.
    pub missed_cents: u64,
    /// An event that was found: the repair that was planned.
    pub found_cents: u64,
    /// A false alarm: a technician's visit.
    pub false_alarm_cents: u64,
    /// What the detector cost to make, once.
    pub development_cents: u64,
}

/// Outcomes of a year, in thousandths of one: what was seen in five years need not be whole in one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Year {
    /// Events found.
    pub found_milli: u64,
    /// Events missed.
    pub missed_milli: u64,
    /// False alarms.
    pub false_alarms_milli: u64,
}

/// What a detector saves in a year.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Savings {
    /// What the events would cost without it, cents.
    pub without_cents: u64,
    /// What they and its alarms cost with it, cents.
    pub with_cents: u64,
    /// The difference, cents; negative where it costs more than it saves.
    pub saved_cents: i64,
    /// The same, millionths of the cost without it; `None` where that is nothing.
    pub saved_ppm: Option<i64>,
    /// The same, millionths of what the detector cost to make; `None` where that is not known.
    pub return_ppm: Option<i64>,
}

/// What so many thousandths cost, to the nearest cent.
fn cost(milli: u64, cents: u64) -> u64 {
    let exact = (u128::from(milli) * u128::from(cents) + 500) / 1_000;
    u64::try_from(exact).unwrap_or(u64::MAX)
}

fn signed(cents: u64) -> i64 {
    i64::try_from(cents).unwrap_or(i64::MAX)
}

fn share_ppm(part: i64, whole: u64) -> Option<i64> {
    let exact = i128::from(part) * 1_000_000;
    (whole > 0).then(|| i64::try_from(exact / i128::from(whole)).unwrap_or(i64::MAX))
}

impl Costs {
    /// What a year with the detector costs, cents.
    #[must_use]
    pub fn of(&self, year: Year) -> u64 {
        [
            cost(year.found_milli, self.found_cents),
            cost(year.missed_milli, self.missed_cents),
            cost(year.false_alarms_milli, self.false_alarm_cents),
        ]
        .into_iter()
        .fold(0, u64::saturating_add)
    }

    /// What the detector saves in a year.
    #[must_use]
    pub fn savings(&self, year: Year) -> Savings {
        let events = year.found_milli.saturating_add(year.missed_milli);
        let (without_cents, with_cents) = (cost(events, self.missed_cents), self.of(year));
        let saved_cents = signed(without_cents).saturating_sub(signed(with_cents));
        Savings {
            without_cents,
            with_cents,
            saved_cents,
            saved_ppm: share_ppm(saved_cents, without_cents),
            return_ppm: share_ppm(saved_cents, self.development_cents),
        }
    }
}

/// Counts that were seen in so many milliseconds as thousandths of a year's; `None` where no time was observed.
#[must_use]
pub fn a_year_milli(count: u64, observed_ms: u64) -> Option<u64> {
    let exact = u128::from(count) * u128::from(YEAR_MS) * 1_000;
    let observed = u128::from(observed_ms);
    (observed > 0).then(|| u64::try_from((exact + observed / 2) / observed).unwrap_or(u64::MAX))
}

/// False alarms a year of one device, in thousandths, that a specificity means for a detector that is asked so often a day.
#[must_use]
pub fn false_alarms_milli(specificity_ppb: u64, asked_a_day: u64) -> u64 {
    let wrong_ppb = u128::from(1_000_000_000_u64.saturating_sub(specificity_ppb));
    let exact = wrong_ppb * u128::from(asked_a_day) * 365;
    u64::try_from((exact + 500_000) / 1_000_000).unwrap_or(u64::MAX)
}

/// The least specificity, in billionths, with which a detector that is asked so often a day raises at most so many
/// thousandths of a false alarm a year; `None`: with any.
#[must_use]
pub fn specificity_for_ppb(most_milli: u64, asked_a_day: u64) -> Option<u64> {
    let asked = u128::from(asked_a_day) * 365;
    let wrong_ppb = (u128::from(most_milli) * 1_000_000).checked_div(asked)?;
    Some(1_000_000_000_u64.saturating_sub(u64::try_from(wrong_ppb).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUMPS: Costs = Costs {
        missed_cents: 1_500_000,
        found_cents: 300_000,
        false_alarm_cents: 50_000,
        development_cents: 1_500_000,
    };

    /// Reference 000, 7.7.3: 12 failures a year of 200 pumps.
    #[test]
    fn the_thresholds_of_the_pumps_cost_what_the_text_says() {
        for (missed_milli, false_alarms, dollars) in
            [(0, 80, 76_000), (600, 35, 60_700), (1_000, 18, 57_000), (2_000, 8, 64_000)]
        {
            let year = Year {
                found_milli: 12_000 - missed_milli,
                missed_milli,
                false_alarms_milli: false_alarms * 1_000,
            };
            assert_eq!(PUMPS.of(year), dollars * 100);
        }
    }

    /// Reference 000, 7.7.6: "Annual cost reduction $123,000 (68% savings)", "ROI 820% (cost: $15,000 development)".
    #[test]
    fn the_savings_of_the_pumps_are_those_of_the_text() {
        let year = Year { found_milli: 11_000, missed_milli: 1_000, false_alarms_milli: 18_000 };
        let savings = PUMPS.savings(year);
        assert_eq!((savings.without_cents, savings.with_cents), (18_000_000, 5_700_000));
        assert_eq!(savings.saved_cents, 12_300_000);
        assert_eq!((savings.saved_ppm, savings.return_ppm), (Some(683_333), Some(8_200_000)));
        let worse = PUMPS.savings(Year { false_alarms_milli: 400_000, ..year });
        assert_eq!(worse.saved_cents, -6_800_000, "more visits than repairs");
    }

    /// Reference 000, 7.4: an event every ten seconds in 16 hours of a day, and 99.9 % specificity.
    #[test]
    fn a_rare_event_makes_a_good_specificity_bad() {
        let asked_a_day = 16 * 3_600 / 10;
        assert_eq!((asked_a_day, asked_a_day * 365), (5_760, 2_102_400), "\"~2.1M\"");
        assert_eq!(
            false_alarms_milli(999_000_000, asked_a_day),
            2_102_400,
            "\"2,100 false alarms per user per year\""
        );
        assert_eq!(false_alarms_milli(1_000_000_000, asked_a_day), 0);
        // 1.5 a year, as after the three stages.
        let wanted = specificity_for_ppb(1_500, asked_a_day).unwrap();
        assert_eq!(wanted, 999_999_287);
        assert!(false_alarms_milli(wanted, asked_a_day) <= 1_500);
        assert!(false_alarms_milli(wanted - 1_000, asked_a_day) > 1_500);
        assert_eq!(specificity_for_ppb(1_500, 0), None);
    }

    #[test]
    fn counts_of_five_years_need_not_be_whole_in_one() {
        assert_eq!(a_year_milli(3, 5 * YEAR_MS), Some(600));
        assert_eq!(a_year_milli(1, YEAR_MS / 365), Some(365_000));
        assert_eq!(a_year_milli(1, 0), None);
    }
}
