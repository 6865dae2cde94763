//! Fisher's exact test for a 2 x 2 table, one-sided.

use modelfleet_number::hypergeometric;

/// P(at least `bad_canaries` of the bad ones fall among the canaries), given the margins of the table.
///
/// Fisher, *The Design of Experiments*, 1935; equals `scipy.stats.fisher_exact(..., alternative="greater")`.
/// Bad counts above their group's size are cut to it.
pub fn fisher_greater(bad_canaries: u64, canaries: u64, bad_controls: u64, controls: u64) -> f64 {
    let bad_canaries = bad_canaries.min(canaries);
    let marked = bad_canaries.saturating_add(bad_controls.min(controls));
    hypergeometric::upper_tail(bad_canaries, canaries.saturating_add(controls), marked, canaries)
}

/// What a test at `level` can spend that looks each time one more canary turned bad, at its `bad_canaries`-th: the
/// largest p-value not above `level` that this count can come to, over all counts of bad controls; 0 when none is.
///
/// The table is discrete, so most of a level cannot be spent at all. The `k`-th bad canary is one moment, and the
/// p-value is below `level` there exactly when no more than so many controls were bad before: one event, whose
/// probability, given the margins, is this number.
pub fn attainable_level(bad_canaries: u64, canaries: u64, controls: u64, level: f64) -> f64 {
    let p = |bad_controls| fisher_greater(bad_canaries, canaries, bad_controls, controls);
    if p(0) > level {
        return 0.0;
    }
    // The p-value grows with the bad controls: the last count that stays within the level is searched by halves.
    let (mut within, mut beyond) = (0, controls.saturating_add(1));
    while beyond - within > 1 {
        let middle = within + (beyond - within) / 2;
        if p(middle) <= level { within = middle } else { beyond = middle }
    }
    p(within)
}

#[cfg(test)]
mod tests {
    use super::{attainable_level, fisher_greater};

    #[test]
    fn a_level_that_no_table_reaches_costs_nothing() {
        let alone = fisher_greater(2, 20, 0, 180);
        assert!((alone - 0.009_548).abs() < 1e-6, "{alone}");
        assert_eq!(attainable_level(2, 20, 180, 0.000_6), 0.0);
        assert_eq!(attainable_level(2, 20, 180, alone), alone);
        let four = attainable_level(4, 20, 180, 0.000_6);
        assert!(four == fisher_greater(4, 20, 1, 180) && four <= 0.000_6, "{four}");
        assert!(fisher_greater(4, 20, 2, 180) > 0.000_6);
    }

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

    /// Counts beyond any fleet are answered at once, and rightly.
    #[test]
    fn huge_tables_end() {
        assert_eq!(fisher_greater(1 << 40, 1 << 41, 1 << 39, 1 << 41), 0.0);
        assert_eq!(fisher_greater(1 << 62, 1 << 62, 0, 1 << 62), 0.0);
        assert_eq!(fisher_greater(u64::MAX, u64::MAX, u64::MAX, u64::MAX), 1.0);
        assert!((fisher_greater(1, 1 << 62, 1 << 61, 1 << 62) - 1.0).abs() < 1e-9);
        // Five bad ones of two equal halves: all five on one side.
        assert!((fisher_greater(5, u64::MAX / 2, 0, u64::MAX / 2) - 1.0 / 32.0).abs() < 1e-9);
        assert!(attainable_level(5, 1 << 40, 1 << 41, 1e-3) <= 1e-3);
    }
}
