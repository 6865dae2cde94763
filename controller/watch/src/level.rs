//! Levels: whether more is bad than is allowed, window by window.

use modelfleet_monitor::detect::EDetector;

use crate::reading::Share;

/// A share that may be bad at the least: with nothing allowed there would be nothing to bet by.
const ALLOWED_MIN_PPM: u32 = 1_000;

/// How far a window is beyond the allowed, from -1 (nothing bad) over 0 (as much as allowed) to 1 (twice as much or more).
/// Cut at twice the allowed, so that one hour in which everything is down weighs no more than any other bad hour.
#[must_use]
pub fn score(share: &Share) -> Option<f64> {
    let allowed = share.allowed_ppm.max(ALLOWED_MIN_PPM);
    Some((f64::from(share.ppm()?) / f64::from(allowed) - 1.0).min(1.0))
}

/// Takes a window.
pub fn update(detector: &mut EDetector, share: &Share, most_nats: f64) {
    if let Some(score) = score(share) {
        detector.update(score, most_nats);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bad: u64, known: u64, allowed_ppm: u32) -> Option<f64> {
        score(&Share { bad, known, allowed_ppm })
    }

    #[test]
    fn the_score_is_nothing_at_the_allowed_and_cut_at_twice_as_much() {
        assert_eq!(of(0, 100, 50_000), Some(-1.0));
        assert_eq!(of(5, 100, 50_000), Some(0.0));
        assert_eq!(of(10, 100, 50_000), Some(1.0));
        assert_eq!(of(100, 100, 50_000), Some(1.0));
        assert_eq!(of(0, 0, 50_000), None, "nothing is known");
        assert_eq!(of(1, 100, 0), Some(1.0), "nothing is allowed");
    }
}
