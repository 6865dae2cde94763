//! The reference profile: what each feature looked like in training.
//!
//! Ten bins with as equal counts as ties allow, of readings as devices count them, in 32 bits. A border lies between two
//! neighbouring values and never on one. Counts are exact.

use std::collections::BTreeSet;

use modelfleet_crds::model_version::{Datatype, FeatureBaseline, MissingPolicy};
use modelfleet_crds::text::Decimal;
use modelfleet_protocol::bins::{Bins, as_counted};

use super::inputs::FilledInput;
use super::named_tensor::as_stored;
use super::rows::{Cells, Rows};
use crate::decimal::decimal;

/// Bins of a feature.
const BINS: usize = 10;
/// Most features of a profile.
pub const FEATURES_MAX: usize = 128;
/// The expected range is the observed one, and this share of it more on both sides, but not across zero.
pub const WIDENED_BY: f64 = 0.1;
/// Significant digits of the expected range.
const RANGE_DIGITS: usize = 4;

/// The reference profile of all inputs, and what is not watched.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    /// One entry for each element of a row: the inputs in order, without those of texts. An element without bins and range
    /// is not watched, and holds its place.
    pub features: Vec<FeatureBaseline>,
    /// What is not watched, and why, one sentence each.
    pub notes: Vec<String>,
}

/// The profile of what fills the inputs, as devices see it.
#[must_use]
pub fn profile(inputs: &[FilledInput], rows: &Rows) -> Profile {
    let mut profile = Profile::default();
    for input in inputs {
        for column in input.columns.iter().filter_map(|&column| rows.columns.get(column)) {
            let name = &column.name;
            let Cells::Numbers(numbers) = &column.cells else {
                profile.notes.push(format!("column {name:?} holds text; devices do not watch text yet"));
                continue;
            };
            let made = feature(name, numbers.iter().copied(), input.tensor.datatype);
            profile.features.push(made.unwrap_or_else(|why| {
                profile.notes.push(format!("column {name:?} {why}; devices do not watch it"));
                unwatched(name)
            }));
        }
    }
    if profile.features.iter().all(|feature| feature.edges.is_empty()) {
        profile.features.clear();
    }
    profile
}

/// A feature that only holds its place.
fn unwatched(name: &str) -> FeatureBaseline {
    FeatureBaseline {
        name: name.to_owned(),
        expected_min: None,
        expected_max: None,
        edges: Vec::new(),
        counts: Vec::new(),
        missing: MissingPolicy::Allowed,
    }
}

/// The profile of one feature, or what follows its name where it has none.
fn feature(
    name: &str,
    readings: impl Iterator<Item = f64>,
    datatype: Datatype,
) -> Result<FeatureBaseline, &'static str> {
    let all: Vec<f64> = readings.map(|value| as_device_sees(value, datatype)).collect();
    let mut sorted: Vec<f64> = all.iter().copied().filter(|value| !value.is_nan()).collect();
    sorted.sort_by(f64::total_cmp);
    let (Some(&least), Some(&most)) = (sorted.first(), sorted.last()) else {
        return Err("has no reading in any row");
    };
    let too_large = "has values too large for 32 bits";
    if !least.is_finite() || !most.is_finite() {
        return Err(too_large);
    }
    let borders = borders(&sorted);
    let mut counts = Bins::for_edges(borders.len());
    sorted.iter().for_each(|&value| counts.record(&borders, value));
    let (low, high) = expected_range(least, most);
    Ok(FeatureBaseline {
        name: name.to_owned(),
        expected_min: Some(decimal(low).ok_or(too_large)?),
        expected_max: Some(decimal(high).ok_or(too_large)?),
        edges: borders
            .iter()
            .map(|&edge| decimal(edge))
            .collect::<Option<Vec<Decimal>>>()
            .ok_or(too_large)?,
        counts: counts.0.iter().map(|&count| i64::try_from(count).unwrap_or(i64::MAX)).collect(),
        missing: if sorted.len() < all.len() { MissingPolicy::Allowed } else { MissingPolicy::Refused },
    })
}

/// A reading as the model gets it, and then as a device counts it.
fn as_device_sees(value: f64, datatype: Datatype) -> f64 {
    as_counted(as_stored(value, datatype))
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
    use modelfleet_crds::model_version::Tensor;
    use modelfleet_protocol::bins::psi_micros;

    use super::super::rows::{self, Column};
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

    fn filled(datatype: Datatype, columns: &[usize]) -> FilledInput {
        let tensor = Tensor { name: "x".into(), datatype, shape: vec![-1, -1] };
        FilledInput { tensor, columns: columns.into() }
    }

    #[test]
    fn gaps_in_training_are_allowed_later() {
        assert_eq!(of(&[1.0, f64::NAN, 2.0]).missing, MissingPolicy::Allowed);
        assert_eq!(of(&[1.0, 2.0]).missing, MissingPolicy::Refused);
    }

    #[test]
    fn what_cannot_be_watched_holds_its_place_and_is_told() {
        let column = |name: &str, cells| Column { name: name.into(), cells };
        let columns = vec![
            column("empty", Cells::Numbers(vec![f64::NAN; 3])),
            column("kind", Cells::Texts(vec![None, None, None])),
            column("rms", Cells::Numbers(vec![1.0, 2.0, 3.0])),
            column("huge", Cells::Numbers(vec![1e60, 1.0, 2.0])),
        ];
        let rows = Rows { columns, count: 3 };
        let inputs =
            [filled(Datatype::Fp32, &[0, 2]), filled(Datatype::String, &[1]), filled(Datatype::Fp64, &[3])];
        let profile = profile(&inputs, &rows);
        let names: Vec<(&str, bool)> =
            profile.features.iter().map(|f| (f.name.as_str(), f.edges.is_empty())).collect();
        assert_eq!(names, [("empty", true), ("rms", false), ("huge", true)]);
        assert_eq!(
            profile.notes,
            [
                "column \"empty\" has no reading in any row; devices do not watch it",
                "column \"kind\" holds text; devices do not watch text yet",
                "column \"huge\" has values too large for 32 bits; devices do not watch it",
            ]
        );
    }

    #[test]
    fn the_pumps_have_even_bins() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/pumps/training-rows.csv");
        let table = rows::open(std::fs::File::open(path).unwrap()).unwrap();
        let all: Vec<usize> = (0..table.names.len()).collect();
        let rows = table.rows(&all.iter().map(|&column| (column, false)).collect::<Vec<_>>()).unwrap();
        let features = profile(&[filled(Datatype::Fp32, &all)], &rows).features;
        assert_eq!(features.len(), 7);
        for feature in features {
            assert_eq!(feature.edges.len(), 9);
            assert!(feature.counts.iter().all(|&count| (76..=84).contains(&count)), "{:?}", feature.counts);
        }
    }

    /// The drift of rows from their own profile, in millionths, counted as a device counts it.
    fn drift_from_itself(values: &[f64], datatype: Datatype) -> Option<u64> {
        let baseline = feature("f", values.iter().copied(), datatype).ok()?;
        let edges: Vec<f64> = baseline.edges.iter().map(|e| e.to_f64().unwrap()).collect();
        let reference = Bins(baseline.counts.iter().map(|&count| u64::try_from(count).unwrap()).collect());
        let mut seen = Bins::for_edges(edges.len());
        // Devices hold readings as the model takes them, and count 32-bit numbers.
        let readings: Vec<f32> = values.iter().map(|&value| as_stored(value, datatype) as f32).collect();
        readings.iter().for_each(|&reading| seen.record(&edges, f64::from(reading)));
        assert_eq!(seen, reference, "{datatype:?}");
        psi_micros(&seen, &reference)
    }

    #[test]
    fn large_values_with_a_small_spread_do_not_drift_from_themselves() {
        let epoch: Vec<f64> = (0..300).map(|second| 1.7e9 + f64::from(second)).collect();
        for datatype in [Datatype::Fp64, Datatype::Int64, Datatype::Fp32, Datatype::Uint64] {
            assert_eq!(drift_from_itself(&epoch, datatype), Some(0), "{datatype:?}");
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
            let values: Vec<f64> = values.iter().map(|&value| as_counted(value)).collect();
            values.iter().for_each(|&value| bins.record(&edges, value));
            let counts: Vec<i64> = bins.0.iter().map(|&count| i64::try_from(count).unwrap()).collect();
            prop_assert_eq!(&counts, &baseline.counts);
            prop_assert_eq!(counts.iter().sum::<i64>(), i64::try_from(values.len()).unwrap());
            let low = baseline.expected_min.unwrap().to_f64().unwrap();
            let high = baseline.expected_max.unwrap().to_f64().unwrap();
            prop_assert!(values.iter().all(|&value| low <= value && value <= high));
        }

        #[test]
        fn rows_have_no_drift_from_their_own_profile(
            values in proptest::collection::vec(
                prop_oneof![-1e3_f64..1e3, 1.7e9_f64..1.700_001e9, -1e300_f64..1e300, Just(f64::NAN)], 2..100),
            datatype in 0_usize..13,
        ) {
            let all = [
                Datatype::Bool, Datatype::Int8, Datatype::Int16, Datatype::Int32, Datatype::Int64, Datatype::Uint8,
                Datatype::Uint16, Datatype::Uint32, Datatype::Uint64, Datatype::Fp16, Datatype::Bf16, Datatype::Fp32,
                Datatype::Fp64,
            ];
            if let Some(drift) = drift_from_itself(&values, all[datatype]) {
                prop_assert_eq!(drift, 0);
            }
        }
    }
}
