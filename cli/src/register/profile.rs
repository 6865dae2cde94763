//! The reference profile: what each feature looked like in training.
//!
//! Ten bins with as equal counts as ties allow. A border lies between two neighbouring values and never on one,
//! so that a device that rounds a reading to 32 bits counts it into the same bin. Counts are exact.

use std::collections::BTreeSet;

use modelfleet_crds::model_version::{Datatype, FeatureBaseline, MissingPolicy};
use modelfleet_crds::text::Decimal;
use modelfleet_protocol::bins::Bins;

use super::rows::Rows;
use crate::decimal::decimal;

/// Bins of a feature.
const BINS: usize = 10;
/// Most features of a profile.
pub const FEATURES_MAX: usize = 128;
/// The expected range is the observed one, and this share of it more on both sides, but not across zero.
pub const WIDENED_BY: f64 = 0.1;
/// Significant digits of the expected range.
const RANGE_DIGITS: usize = 4;

/// Why rows make no profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// A feature without a single reading.
    #[error("feature {0:?} has no reading in any row")]
    NoReading(String),
    /// Values that the API cannot carry.
    #[error("feature {0:?} has values beyond 1e99")]
    TooLarge(String),
}

/// The profile of each feature, as a device sees it that holds readings as `datatype`.
///
/// # Errors
/// When a feature has no readings, or readings that the API cannot carry.
pub fn profile(rows: &Rows, datatype: Datatype) -> Result<Vec<FeatureBaseline>, ProfileError> {
    let of = |(index, name): (usize, &String)| feature(name, rows.readings(index), datatype);
    rows.features.iter().enumerate().map(of).collect()
}

fn feature(
    name: &str,
    readings: impl Iterator<Item = f64>,
    datatype: Datatype,
) -> Result<FeatureBaseline, ProfileError> {
    let all: Vec<f64> = readings.map(|value| as_device_sees(value, datatype)).collect();
    let mut sorted: Vec<f64> = all.iter().copied().filter(|value| !value.is_nan()).collect();
    sorted.sort_by(f64::total_cmp);
    let (Some(&least), Some(&most)) = (sorted.first(), sorted.last()) else {
        return Err(ProfileError::NoReading(name.to_owned()));
    };
    let too_large = || ProfileError::TooLarge(name.to_owned());
    let borders = borders(&sorted);
    let mut counts = Bins::for_edges(borders.len());
    sorted.iter().for_each(|&value| counts.record(&borders, value));
    let (low, high) = expected_range(least, most);
    Ok(FeatureBaseline {
        name: name.to_owned(),
        expected_min: Some(decimal(low).ok_or_else(too_large)?),
        expected_max: Some(decimal(high).ok_or_else(too_large)?),
        edges: borders
            .iter()
            .map(|&edge| decimal(edge))
            .collect::<Option<Vec<Decimal>>>()
            .ok_or_else(too_large)?,
        counts: counts.0.iter().map(|&count| i64::try_from(count).unwrap_or(i64::MAX)).collect(),
        missing: if sorted.len() < all.len() { MissingPolicy::Allowed } else { MissingPolicy::Refused },
    })
}

fn as_device_sees(value: f64, datatype: Datatype) -> f64 {
    if datatype == Datatype::Fp32 { f64::from(value as f32) } else { value }
}

/// Inner borders of the bins of `sorted`, which has at least one value.
fn borders(sorted: &[f64]) -> Vec<f64> {
    let count = sorted.len();
    // Positions at which the value changes: a border can lie before each of them.
    let changes: Vec<usize> = (1..count).filter(|&i| sorted[i - 1] < sorted[i]).collect();
    if changes.is_empty() {
        return around(sorted[0]);
    }
    let mut chosen: BTreeSet<usize> = BTreeSet::new();
    for bin in 1..BINS {
        let wanted = (count * bin).div_ceil(BINS);
        let above = changes.partition_point(|&change| change < wanted);
        let near = [above.checked_sub(1), Some(above)].into_iter().flatten().filter_map(|i| changes.get(i));
        chosen.extend(near.copied().min_by_key(|change| change.abs_diff(wanted)));
    }
    chosen.into_iter().map(|change| between(sorted[change - 1], sorted[change])).collect()
}

/// Borders on both sides of the only value that a feature has, a thousandth of it away.
fn around(value: f64) -> Vec<f64> {
    let away = if value == 0.0 { 1e-3 } else { value.abs() * 1e-3 };
    vec![value - away, value + away]
}

/// The number with the fewest digits above `low` and below `high`; `high` itself when nothing is between.
fn between(low: f64, high: f64) -> f64 {
    let middle = low / 2.0 + high / 2.0;
    let rounded = (0..17).map(|digits| rounded(middle, digits));
    rounded.into_iter().find(|&value| low < value && value < high).unwrap_or(high)
}

fn rounded(value: f64, digits_after_first: usize) -> f64 {
    format!("{value:.digits_after_first$e}").parse().unwrap_or(value)
}

/// The range in which a device expects readings.
fn expected_range(least: f64, most: f64) -> (f64, f64) {
    let span = if most > least { most - least } else { most.abs().max(10.0 * WIDENED_BY) };
    let (mut low, mut high) = (least - span * WIDENED_BY, most + span * WIDENED_BY);
    // A quantity that is never negative does not become so by widening.
    if least >= 0.0 {
        low = low.max(0.0);
    }
    if most <= 0.0 {
        high = high.min(0.0);
    }
    (-rounded_up(-low), rounded_up(high))
}

/// `value` with few digits, and not less than it.
fn rounded_up(value: f64) -> f64 {
    let near = rounded(value, RANGE_DIGITS - 1);
    if near >= value || value == 0.0 {
        return near;
    }
    let digits = i32::try_from(RANGE_DIGITS).unwrap_or(i32::MAX) - 1;
    let last_place = 10_f64.powi(value.abs().log10().floor() as i32 - digits);
    rounded(near + last_place, RANGE_DIGITS - 1)
}

#[cfg(test)]
mod tests {
    use super::super::rows;
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[f64]) -> FeatureBaseline {
        feature("f", values.iter().copied(), Datatype::Fp64).unwrap()
    }

    fn texts(decimals: &[Decimal]) -> Vec<&str> {
        decimals.iter().map(Decimal::as_str).collect()
    }

    #[test]
    fn a_hundred_different_values_make_ten_equal_bins() {
        let values: Vec<f64> = (0..100).map(f64::from).collect();
        let baseline = of(&values);
        assert_eq!(baseline.counts, [10; 10]);
        assert_eq!(texts(&baseline.edges)[..3], ["9.5", "19.5", "29.5"]);
        assert_eq!(
            (baseline.expected_min.unwrap().as_str(), baseline.expected_max.unwrap().as_str()),
            ("0", "108.9")
        );
    }

    #[test]
    fn ties_stay_together_and_a_constant_has_its_own_bin() {
        let switch = of(&[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
        assert_eq!((texts(&switch.edges), switch.counts), (vec!["0.5"], vec![7, 3]));
        let constant = of(&[5.0; 20]);
        assert_eq!((texts(&constant.edges), constant.counts), (vec!["4.995", "5.005"], vec![0, 20, 0]));
        assert_eq!(constant.expected_min.unwrap().as_str(), "4.5");
        let zero = of(&[0.0]);
        assert_eq!(zero.counts, [0, 1, 0]);
    }

    #[test]
    fn gaps_in_training_are_allowed_later_and_a_feature_without_readings_is_refused() {
        assert_eq!(of(&[1.0, f64::NAN, 2.0]).missing, MissingPolicy::Allowed);
        assert_eq!(of(&[1.0, 2.0]).missing, MissingPolicy::Refused);
        let nothing = feature("f", [f64::NAN].into_iter(), Datatype::Fp64);
        assert!(matches!(nothing, Err(ProfileError::NoReading(_))));
    }

    #[test]
    fn the_pumps_have_even_bins() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/pumps/training-rows.csv");
        let rows = rows::read(std::fs::File::open(path).unwrap(), &[]).unwrap();
        let features = profile(&rows, Datatype::Fp32).unwrap();
        assert_eq!(features.len(), 7);
        for feature in features {
            assert_eq!(feature.edges.len(), 9);
            assert!(feature.counts.iter().all(|&count| (76..=84).contains(&count)), "{:?}", feature.counts);
        }
    }

    proptest! {
        #[test]
        fn every_reading_is_counted_once_and_in_range(values in proptest::collection::vec(-1e12_f64..1e12, 1..200)) {
            let baseline = of(&values);
            let edges: Vec<f64> = baseline.edges.iter().map(|e| e.to_f64().unwrap()).collect();
            prop_assert_eq!(baseline.counts.len(), edges.len() + 1);
            prop_assert!(edges.len() < BINS);
            prop_assert!(edges.is_sorted_by(|a, b| a < b));
            // The bins that a device makes of the texts hold the same counts.
            let mut bins = Bins::for_edges(edges.len());
            values.iter().for_each(|&value| bins.record(&edges, value));
            let counts: Vec<i64> = bins.0.iter().map(|&count| i64::try_from(count).unwrap()).collect();
            prop_assert_eq!(&counts, &baseline.counts);
            prop_assert_eq!(counts.iter().sum::<i64>(), i64::try_from(values.len()).unwrap());
            let low = baseline.expected_min.unwrap().to_f64().unwrap();
            let high = baseline.expected_max.unwrap().to_f64().unwrap();
            prop_assert!(values.iter().all(|&value| low <= value && value <= high));
        }

        #[test]
        fn rounding_to_32_bits_changes_no_bin(values in proptest::collection::vec(-1e6_f64..1e6, 2..100)) {
            let wide = feature("f", values.iter().copied(), Datatype::Fp32).unwrap();
            let edges: Vec<f64> = wide.edges.iter().map(|e| e.to_f64().unwrap()).collect();
            let mut bins = Bins::for_edges(edges.len());
            values.iter().for_each(|&value| bins.record(&edges, f64::from(value as f32)));
            let counts: Vec<i64> = bins.0.iter().map(|&count| i64::try_from(count).unwrap()).collect();
            prop_assert_eq!(counts, wide.counts);
        }
    }
}
