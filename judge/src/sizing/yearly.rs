//! Rare events by device and year: what a stage can show of a limit such as "under 25 false alarms a year".
//!
//! Exact, by the Poisson distribution: a limit is shown where so few events, or fewer, would come in one of twenty
//! stages at most, were the rate at the limit. Without one event that takes three expected events at the limit (the rule
//! of three).

use libm::{ceil, expm1, floor};
use modelfleet_number::poisson;

/// A year, milliseconds: 365.25 days.
const YEAR_MS: f64 = 31_557_600_000.0;
/// How often a rate at the limit may be taken for one below it.
const WRONG: f64 = 0.05;
/// How surely a rate below the limit is to be shown as such.
const SURE: f64 = 0.8;
/// Where this many events would have to be counted, the rate is too near its limit.
const MOST_EVENTS: u64 = 2_000;

/// Events per device and year, in thousandths.
pub type PerYearMilli = u64;

/// What a count of events over an exposure says of the rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct YearlyRate {
    /// The rate that was seen.
    pub estimate_milli: PerYearMilli,
    /// Lower limit of Garwood's exact 95 % interval.
    pub low_milli: PerYearMilli,
    /// Upper limit of it.
    pub high_milli: PerYearMilli,
}

/// The rate after `events` over `device_ms` (devices times milliseconds), with its exact interval.
pub fn yearly_rate(events: u64, device_ms: u64) -> YearlyRate {
    let years = (device_ms as f64 / YEAR_MS).max(1e-9);
    let (low, high) = poisson::interval(events, 0.95);
    YearlyRate {
        estimate_milli: libm::round(events as f64 / years * 1e3) as u64,
        low_milli: floor(low / years * 1e3) as u64,
        high_milli: ceil(high / years * 1e3) as u64,
    }
}

/// Bad windows that are expected of so many at a limit: in a window of one device something comes at least once.
pub fn expected_in(windows: u64, window_ms: u64, limit_milli: PerYearMilli) -> f64 {
    -expm1(-(limit_milli as f64 * 1e-3 * window_ms as f64 / YEAR_MS)) * windows as f64
}

/// Whether so few, or fewer, would come in one of twenty cases at most where `mean` are expected.
pub fn is_below(events: u64, mean: f64) -> bool {
    poisson::lower_tail(events, mean) <= WRONG
}

/// Whether `events` over `device_ms` show that the rate is below the limit (exact one-sided test at 5 %).
pub fn is_shown_below(events: u64, device_ms: u64, limit_milli: PerYearMilli) -> bool {
    let mean = limit_milli as f64 * 1e-3 * device_ms as f64 / YEAR_MS;
    is_below(events, mean)
}

/// Whether `events` over `device_ms` show that the rate is above the limit (exact one-sided test at 5 %).
pub fn is_shown_above(events: u64, device_ms: u64, limit_milli: PerYearMilli) -> bool {
    let mean = limit_milli as f64 * 1e-3 * device_ms as f64 / YEAR_MS;
    poisson::upper_tail(events, mean) <= WRONG
}

/// The lowest limit that `device_ms` can show, without a single event.
pub fn lowest_shown_milli(device_ms: u64) -> PerYearMilli {
    let years = (device_ms as f64 / YEAR_MS).max(1e-9);
    ceil(poisson::mean_with_lower_tail(0, WRONG) / years * 1e3) as u64
}

/// The exposure (devices times milliseconds) in which the limit is shown without a single event.
pub fn least_device_ms(limit_milli: PerYearMilli) -> u64 {
    exposure(poisson::mean_with_lower_tail(0, WRONG), limit_milli)
}

/// The exposure in which a rate of `expected_milli` is shown to be below the limit in four stages of five; `None`: none,
/// because it is not below it, or too near.
pub fn device_ms_to_show(limit_milli: PerYearMilli, expected_milli: PerYearMilli) -> Option<u64> {
    if limit_milli == 0 || expected_milli >= limit_milli {
        return None;
    }
    let part = expected_milli as f64 / limit_milli as f64;
    let shows = |events: u64| {
        let at_limit = poisson::mean_with_lower_tail(events, WRONG);
        (poisson::lower_tail(events, at_limit * part) >= SURE).then(|| exposure(at_limit, limit_milli))
    };
    (0..MOST_EVENTS).find_map(shows)
}

fn exposure(events: f64, limit_milli: PerYearMilli) -> u64 {
    ceil(events / (limit_milli.max(1) as f64 * 1e-3) * YEAR_MS) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: u64 = 86_400_000;

    /// Five pumps, under 25 a year: 44 days of one device without an event, so nine days of five.
    #[test]
    fn five_pumps_cannot_show_under_25_a_year_in_seven_days() {
        assert!(!is_shown_below(0, 5 * 7 * DAY_MS, 25_000));
        assert!(is_shown_below(0, 5 * 9 * DAY_MS, 25_000));
        let days = least_device_ms(25_000) as f64 / DAY_MS as f64;
        assert!((days - 43.77).abs() < 0.01, "{days}");
        let lowest = lowest_shown_milli(5 * 7 * DAY_MS);
        assert!((31_200..31_300).contains(&lowest), "{lowest}");
    }

    /// Played out: in the exposure that is named, four stages of five show the limit at the expected rate, and at most one
    /// in twenty does at the limit itself.
    #[test]
    fn the_exposure_is_the_least_that_is_enough() {
        for (limit, expected) in [(25_000, 10_000), (25_000, 0), (1_000, 500), (25_000, 20_000)] {
            let needed = device_ms_to_show(limit, expected).unwrap();
            let shown = |rate: u64, device_ms: u64| -> f64 {
                let mean = rate as f64 * 1e-3 * device_ms as f64 / YEAR_MS;
                let most = (0..5_000).take_while(|k| is_shown_below(*k, device_ms, limit)).last();
                most.map_or(0.0, |k| poisson::lower_tail(k, mean))
            };
            assert!(shown(expected, needed) >= SURE - 1e-9, "{limit} {expected}");
            assert!(shown(limit, needed) <= WRONG + 1e-9, "{limit} {expected}");
            assert!(shown(expected, needed * 9 / 10) < SURE + 0.08, "{limit} {expected}");
        }
        assert_eq!(device_ms_to_show(25_000, 25_000), None);
        assert_eq!(device_ms_to_show(0, 0), None);
    }

    #[test]
    fn the_interval_holds_the_rate_and_the_tests_agree_with_it() {
        let rate = yearly_rate(10, 365 * DAY_MS);
        assert!(rate.low_milli < rate.estimate_milli && rate.estimate_milli < rate.high_milli);
        assert!((10_000..10_020).contains(&rate.estimate_milli), "{rate:?}");
        assert!(is_shown_above(10, 365 * DAY_MS, 4_000) && !is_shown_above(10, 365 * DAY_MS, 8_000));
        assert!(is_shown_below(10, 365 * DAY_MS, 20_000) && !is_shown_below(10, 365 * DAY_MS, 15_000));
    }
}
