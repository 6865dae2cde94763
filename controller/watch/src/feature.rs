//! The values of a feature, or the confidence of answers, against the reference profile.

use modelfleet_monitor::distance::{DriftGate, DriftVerdict};

use crate::reading::{Seen, Share};
use crate::stream::Stream;

/// Share of windows that may differ from the training data: the rhythm of a day takes values away from their mean for half of
/// it.
const DRIFTED_ALLOWED_PPM: u32 = 500_000;
/// A shift of a tenth of a deviation of normal values, as a difference of the mean place: it does not matter in practice.
const SMALL_PPM: u32 = 28_000;

/// What a window says of a feature: whether the drift gate (chi-squared and PSI) calls it drifted, and where its values lie
/// among those of the reference on average (0 the lowest, half of it where they are alike). That place is the statistic of
/// Mann and Whitney: it adds up over windows, and heavy tails do not move it. `None` where there are too few values.
#[must_use]
pub fn feature_seen(stream: Stream, reference: &[u64], current: &[u64]) -> Option<Seen> {
    let drift = gate(reference, current).drift?;
    let level = Share { bad: u64::from(drift), known: 1, allowed_ppm: DRIFTED_ALLOWED_PPM };
    let position_ppm = place_ppm(reference, current);
    Some(Seen { stream, level: Some(level), position_ppm, small_ppm: SMALL_PPM })
}

/// The drift gate's verdict, for the evidence.
#[must_use]
pub fn gate(reference: &[u64], current: &[u64]) -> DriftVerdict {
    DriftGate::default().judge(reference, current)
}

/// The mean place of the current values among the reference's, values of one bin in its middle, millionths.
fn place_ppm(reference: &[u64], current: &[u64]) -> Option<u32> {
    let all: u128 = reference.iter().map(|count| u128::from(*count)).sum();
    let seen: u128 = current.iter().map(|count| u128::from(*count)).sum();
    let mut below = 0_u128;
    let mut sum = 0_u128;
    for (own, now) in reference.iter().zip(current) {
        // Twice the place, so that half a bin is a whole number.
        sum += u128::from(*now) * (2 * below + u128::from(*own));
        below += u128::from(*own);
    }
    let place = sum.saturating_mul(500_000).checked_div(all.checked_mul(seen)?)?;
    u32::try_from(place).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_the_middle_for_equal_shares_and_moves_with_the_values() {
        let reference = [100, 100, 100, 100];
        assert_eq!(place_ppm(&reference, &[10, 10, 10, 10]), Some(500_000));
        assert_eq!(place_ppm(&reference, &[40, 0, 0, 0]), Some(125_000));
        assert_eq!(place_ppm(&reference, &[0, 0, 0, 40]), Some(875_000));
        assert_eq!(place_ppm(&reference, &[0, 0, 0, 0]), None);
        assert_eq!(place_ppm(&[0, 0], &[1, 1]), None);
    }

    #[test]
    fn too_few_values_say_nothing() {
        assert_eq!(feature_seen(Stream::Feature(0), &[100; 10], &[1; 10]), None);
        let seen = feature_seen(Stream::Feature(0), &[100; 10], &[0, 0, 0, 0, 0, 0, 0, 0, 0, 90]).unwrap();
        assert_eq!(seen.level.map(|level| level.bad), Some(1));
    }
}
