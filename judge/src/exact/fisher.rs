//! Fisher's exact test for a 2 x 2 table, one-sided.

use crate::number::hypergeometric;

/// P(at least `bad_canaries` of the bad ones fall among the canaries), given the margins of the table.
///
/// Fisher, *The Design of Experiments*, 1935; equals `scipy.stats.fisher_exact(..., alternative="greater")`.
/// Bad counts above their group's size are cut to it.
pub fn fisher_greater(bad_canaries: u64, canaries: u64, bad_controls: u64, controls: u64) -> f64 {
    let bad_canaries = bad_canaries.min(canaries);
    let marked = bad_canaries.saturating_add(bad_controls.min(controls));
    hypergeometric::upper_tail(bad_canaries, canaries.saturating_add(controls), marked, canaries)
}

#[cfg(test)]
mod tests {
    use super::fisher_greater;

    /// anchors: 5 canaries against 195 controls, 2 bad canaries with 0, 2, 4, 10 bad controls.
    #[test]
    fn known_tables() {
        let p: Vec<f64> = [0, 2, 4, 10].iter().map(|&k| fisher_greater(2, 5, k, 195)).collect();
        for (got, want) in p.iter().zip([0.0005, 0.003, 0.007, 0.03]) {
            assert!((got - want).abs() < 0.1 * want + 0.0005, "{got} {want}");
        }
        assert!((fisher_greater(1, 5, 4, 195) - 0.12).abs() < 0.005);
        assert!((fisher_greater(5, 5, 0, 5) - 1.0 / 252.0).abs() < 1e-12);
    }

    #[test]
    fn nonsense_is_answered() {
        assert_eq!(fisher_greater(0, 0, 0, 0), 1.0);
        assert_eq!(fisher_greater(9, 0, 9, 0), 1.0);
        assert!(fisher_greater(u64::MAX, u64::MAX, 0, u64::MAX).is_finite());
    }
}
